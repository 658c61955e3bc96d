"""The layers that are shipped, and the tools that keep a registry.

names           how counties are written
places          the counties of the US: codes, names and boxes
shipped         the layers that are shipped, each read when it is asked for
openaddresses   a table or a tree of source files -> what they say of parcel layers
entries         what they say -> registry entries, and what was left out and why
addresses       which columns hold the address of the lot, and not of its owner
writing         registry files written as a whole
importing       the two of them, at once
editing         changes to a registry file that leave the rest as it is
verify          whether an entry still holds
guess           which columns hold what
add             a new entry for a layer
"""

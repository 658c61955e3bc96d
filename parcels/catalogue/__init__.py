"""Tools that maintain a registry: import, verify, add.

openaddresses          an OpenAddresses source tree or table -> its parcel layers
openaddresses_entries  those layers -> registry entries, and a reason for each one left out
address_columns        which columns hold the site address and not the owner's
write_registry         writes a complete registry file
import_layers          `lotline registry import`
edit_registry          changes single keys of a registry file and keeps its comments
verify                 `lotline registry verify`: whether an entry still works
column_guess           guesses the column mapping from names and sample values
add_county             `lotline registry add`: a new entry for a layer
"""

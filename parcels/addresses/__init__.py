"""US street addresses: parsing, normalization and comparison.

site            SiteAddress: the address columns of a parcel row
street_address  an address line -> house number, street, city, ZIP code
street_name     a street's direction, name and suffix in one spelling
house_number    numbers with letters, fractions, ranges and leading zeros
matching        whether a site address is the wanted address
"""

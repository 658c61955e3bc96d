"""US street addresses: parsing, normalization and comparison.

site              SiteAddress: the address columns of a parcel row
parsed_site       the parts of a site address
street_address    an address line -> house number, street, city, ZIP code
address_line      splits a line into its parts
street_end        where the street ends and the city begins
house_number      numbers with letters, fractions, ranges, grids and leading zeros
street_name       a street's direction, name and suffix in one spelling
numbered_road     highways, county and farm roads
street_words      tables: directions, suffixes, ordinals, saints
street_agreement  how well two streets agree
matching          whether a site address is the wanted address
"""

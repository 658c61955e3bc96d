"""US street addresses: taken apart, written one way, and compared.

streetaddress   what people type -> house number, street, city, ZIP
streetname      a street's direction, name and suffix in one spelling
housenumber     numbers with letters, fractions, ranges and leading zeros
agreement       whether a lot's address is the one that is wanted
"""

"""The shipped US parcel layers, and the tools that maintain a registry.

shipped_layers         the shipped layers, each parsed on first use
us_counties            the counties of the US: FIPS codes, names and bounding boxes
us_states              the states: postal codes, FIPS codes and names
county_names           name spellings: "St. Johns County, FL" and st-johns-fl
county_search          a county's name -> its key in the registry
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

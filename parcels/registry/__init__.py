"""registry.yaml -> validated counties.

shipped_layers  the US layers that are shipped, each parsed on first use
county_search   a county's name -> its key
county_names    name spellings: "St. Johns County, FL" and st-johns-fl
us_counties     the counties of the US: FIPS codes, names and bounding boxes
us_states       the states: postal codes, FIPS codes and names
load            the registry file, merged over the shipped US layers
yaml_file       reads YAML safely and with line numbers
entry           validates one entry; one line for each mistake
county_source   what ground an entry describes, to recognise another entry with the same key
county          what an entry may contain: County and its parts
unparsed_value  the keys that `detection` owns, carried as written
entry_model     the base of those models
validators      checks of URLs, paths, headers and host names
"""

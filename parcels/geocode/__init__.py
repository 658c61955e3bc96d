"""An address -> a point, with its source and confidence.

geocoder          queries the stages in order; each gets what the ones before did not find
geocode_result    the result of a stage for an address
parcel_addresses  stage 1: the county's own parcels, by house number and street
geocode_server    stage 2: the county's ArcGIS GeocodeServer, if the registry entry has one
candidates        the best of a GeocodeServer's candidates
census            stage 3: the US Census geocoder, in batches
"""

from parcels.geocode.geocoder import Geocoder

__all__ = ["Geocoder"]

"""An address -> a point, with who said so and how sure that is.

geocoder         asks one stage after the other, each only for what the one before left
finding          what a stage says of an address
parcel_layer     the county's own parcels, by house number and street
geocode_server   the county's ArcGIS GeocodeServer, where the registry entry names one
candidates       which of its answers is the house
census           the US Census geocoder, in batches
"""

from parcels.geocode.geocoder import Geocoder

__all__ = ["Geocoder"]

"""Parcels of an ArcGIS layer: the one ArcGIS client.

client    one HTTP call: time-outs, size, retries
network   which addresses a server may have
answers   what an answer says, whatever its status and content type say
breaker   stops asking a service that has failed again and again
layer     what a layer says of itself
query     one layer: the rows at a point, or with an id
source    a county: its layer, then its alternates
"""

from parcels.arcgis.source import ArcGISSource

__all__ = ["ArcGISSource"]

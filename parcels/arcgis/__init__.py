"""Parcels from ArcGIS layers: by id, address and point, or a complete harvest.

http/               the HTTP client: retry, rate limit, circuit breaker, tokens, SSRF guard
arcgis_source       a county's layer, with fallback to its alternates
query               one layer: a query in, its rows out
layer_info          a layer's metadata
requested_columns   the columns that queries request
geometry_crs        the CRS of geometry in queries and responses
where               SQL conditions, quoted and escaped
batches             many queries in few concurrent calls; a failed batch is split
multipoint          rows at or near points
attribute_queries   rows by parcel id, and candidate rows by address
object_ids          all object ids of a query, also by keyset pagination or a quadtree
pages               the rows of object ids, page by page, checked for completeness
harvest             every row of a layer
"""

from parcels.arcgis.arcgis_source import ArcGISSource

__all__ = ["ArcGISSource"]

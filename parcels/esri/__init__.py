"""Esri JSON geometry -> shapely polygons in EPSG:4326.

polygons           Esri JSON -> MultiPolygons, many at a time
spatial_reference  Esri spatial reference -> pyproj CRS
curves             true curves (arcs, ellipses, Béziers) -> points
rings              rings -> polygons, by the even-odd rule
self_intersection  rings that cross themselves, and a limit to their complexity
"""

from parcels.esri.polygons import polygon_from_esri, polygons_from_esri, polygons_in_own_crs
from parcels.esri.spatial_reference import crs_from_esri

__all__ = ["crs_from_esri", "polygon_from_esri", "polygons_from_esri", "polygons_in_own_crs"]

"""Esri JSON polygons and spatial references -> shapely in EPSG:4326."""

from parcels.esri.polygons import polygon_from_esri, polygons_from_esri
from parcels.esri.spatial_reference import crs_from_esri

__all__ = ["crs_from_esri", "polygon_from_esri", "polygons_from_esri"]

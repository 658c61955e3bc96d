"""Cached parcels: query results, or a snapshot of a complete layer.

    from parcels.cache import FolderCache

    service = ParcelBoundaryService(county, cache=FolderCache(Path("parcel-cache")))

interface        ParcelCache and CachedLayer: what a cache (a folder, a database) implements
cached_source    a ParcelSource with a cache in front: hits, misses, TTL, layer version
fetch_layer      `lotline parcels fetch`: downloads a snapshot of a layer, resumable
layer_snapshot   a complete copy of a layer, and the queries on it
memory_snapshot  a snapshot in memory with an R-tree
file_snapshot    a snapshot of a large local file, so that it is not held in memory
folder_cache     FolderCache: a cache of GeoParquet files, with
                 layer_folder, folder_results, folder_snapshot, geoparquet_rows

A cache can be deleted at any time: it holds only data of the county.
"""

from parcels.cache.cached_source import CachedSource
from parcels.cache.folder_cache import FolderCache
from parcels.cache.interface import CachedLayer, LayerKey, ParcelCache

__all__ = ["CachedLayer", "CachedSource", "FolderCache", "LayerKey", "ParcelCache"]

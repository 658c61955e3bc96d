"""Parcels that are kept: answers as they come, or a layer as a whole.

    from parcels.cache import FolderCache

    service = ParcelBoundaryService(county, cache=FolderCache(Path("parcels-kept")))

A county's long file is kept in the same way (`files`), so that it is not held in memory.

A cache may be thrown away at any time: it holds nothing that the county does not.
"""

from parcels.cache.cached_source import CachedSource
from parcels.cache.folder_cache import FolderCache
from parcels.cache.interface import CachedLayer, LayerKey, ParcelCache

__all__ = ["CachedLayer", "CachedSource", "FolderCache", "LayerKey", "ParcelCache"]

"""FolderCache: cached parcels in a folder of GeoParquet files."""

from __future__ import annotations

import re
from pathlib import Path

from parcels.cache.interface import CachedLayer, LayerKey
from parcels.errors import CacheError


class FolderCache:
    """A ParcelCache in a folder; any number of processes may use it at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def layer(self, key: LayerKey) -> CachedLayer:
        """The cached data of a layer.

        Raises:
            CacheError: the key would lead outside the folder.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*/[0-9a-f]+", f"{key.county}/{key.digest}"):
            raise CacheError(
                f"{key.county!r} cannot be a folder name: use the county's key in the registry"
            )
        # Imported late: only a folder cache needs pyarrow.
        from parcels.cache.layer_folder import LayerFolder

        return LayerFolder(self.folder / key.county / key.digest, key.origin)

"""Parcels kept in a folder: FolderCache."""

from __future__ import annotations

import re
from pathlib import Path

from parcels.cache.interface import CachedLayer, LayerKey
from parcels.errors import CacheError


class FolderCache:
    """Keeps parcels in a folder as GeoParquet, for as many processes at once as there are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def layer(self, key: LayerKey) -> CachedLayer:
        """What is kept of a layer.

        Raises:
            CacheError: the key would lead out of the folder, or pyarrow is not installed.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*/[0-9a-f]+", f"{key.county}/{key.digest}"):
            raise CacheError(
                f"{key.county!r} is no name for a folder: use a county's key of the registry"
            )
        try:
            # Imported late: who keeps no parcels needs no pyarrow.
            from parcels.cache.layer_folder import LayerFolder
        except ImportError:
            raise CacheError(
                "parcels are kept as GeoParquet, which needs pyarrow: "
                'pip install "lotline[geoparquet]"'
            ) from None
        return LayerFolder(self.folder / key.county / key.digest, key.origin)

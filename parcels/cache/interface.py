"""ParcelCache and CachedLayer: what a cache of parcels stores, and its guarantees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.errors import CacheError, SourceMisconfigured
from parcels.parcel_source import HarvestableLayer, LayerVersion, Page, QueryResult
from parcels.registry.county import County

# Incremented when the code reads other rows from the same layer: older entries are then ignored.
_FORMAT_VERSION = 3
# The same for files alone.
_FILE_FORMAT_VERSION = 4


@dataclass(frozen=True, slots=True)
class LayerKey:
    """The cache key of a layer: the layer and everything that determines its rows.

    Attributes:
        county: the county's key.
        origin: the layer's URL with its number, or the path of a file.
        digest: 32 hexadecimal digits of a hash of the layer, its alternates, the mapped columns
            and `where`; of a file also of the CRS, the layer and the encoding in its entry.
    """

    county: str
    origin: str
    digest: str

    @classmethod
    def of(cls, county: County) -> LayerKey:
        """The key of a county's ArcGIS layer.

        Raises:
            SourceMisconfigured: it has none.
        """
        if not county.layers:
            raise SourceMisconfigured(
                f"county {county.key!r} has no 'url' and 'layer', so there is no layer to cache"
            )
        layers = [[layer.url, layer.layer] for layer in county.layers]
        first = county.layers[0]
        return cls(county.key, f"{first.url}/{first.layer}", _digest(county, layers=layers))

    @classmethod
    def of_file(cls, county: County) -> LayerKey:
        """The key of a county's file."""
        path = str(county.path)
        read_as = {"crs": county.crs, "layer": county.layer, "encoding": county.encoding}
        digest = _digest(county, path=path, file_form=_FILE_FORMAT_VERSION, **read_as)
        return cls(county.key, path, digest)


def _digest(county: County, **source: object) -> str:
    determines = {
        "form": _FORMAT_VERSION,
        **source,
        "fields": county.fields.model_dump(),
        "where": county.where,
    }
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:32]


def version_text(layer_version: LayerVersion) -> str:
    """A layer version as a name for files and rows; unique for each version.

    Raises:
        CacheError: it has values that are not integers.
    """
    values = (layer_version.last_edit_ms, layer_version.count, layer_version.highest_id)
    if not all(value is None or type(value) is int for value in values):
        # A server controls these values: they must never form a path.
        raise CacheError(
            f"{layer_version} is not a layer version: its values must be whole numbers"
        )
    return "stamp_" + "_".join("" if value is None else str(value) for value in values)


def parse_version(text: str) -> LayerVersion:
    """The layer version with this `version_text`."""
    edited, count, highest = (int(part) if part else None for part in text.split("_")[1:])
    return LayerVersion(edited, count, highest)


class SnapshotInProgress(Protocol):
    """A snapshot in progress, by one process at a time; added pages survive a crash.

    Attributes:
        after_object_id: keyset cursor: the object id of the last row added; None at the beginning.
        rows: number of rows added.
        without_geometry: number of them without a valid geometry.
    """

    @property
    def after_object_id(self) -> int | None: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def without_geometry(self) -> int: ...  # noqa: D102

    def add(self, page: Page) -> None:
        """Store the next page; it is durable when this returns."""
        ...

    def finish(self) -> None:
        """Replace the previous snapshot with this one."""
        ...

    def discard(self) -> None:
        """Delete the added pages; the next snapshot starts from the beginning."""
        ...


class CachedLayer(Protocol):
    """The cached data of one layer. Several processes may use it at the same time.

    Results that cannot be read count as misses, and those that cannot be written are lost; both
    are logged. Only making a snapshot raises.
    """

    def last_version(self) -> LayerVersion | None:
        """The last recorded version of the layer; None if it was never recorded."""
        ...

    def record_version(self, layer_version: LayerVersion) -> None:
        """Record the current version of the layer."""
        ...

    def read_results(
        self, queries: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """The stored results of these queries for this layer version; misses are left out."""
        ...

    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """Store results of queries for this layer version."""
        ...

    def evict_before(self, instant: datetime) -> None:
        """Evict results that were fetched before this time.

        Also evicts the county's data under other digests that was not used since: its entry was
        changed. This layer counts as used now.
        """
        ...

    def snapshot_version(self) -> LayerVersion | None:
        """The layer version of the snapshot; None if there is no snapshot."""
        ...

    def snapshot(self) -> LayerSnapshot | None:
        """The snapshot, if there is one."""
        ...

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """Begin a snapshot of this layer version, or resume an interrupted one.

        `origin` is the layer that the rows come from; it may be an alternate.

        Raises:
            SnapshotLocked: another process makes it.
            CacheError: the cache cannot be written.
        """
        ...


class SnapshotLayer(HarvestableLayer, Protocol):
    """A layer that a snapshot can be made of."""

    @property
    def snapshot_origin(self) -> str:
        """The layer or alternate that `layer_version` and `harvest` refer to.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        ...


class ParcelCache(Protocol):
    """Where layers are cached: a folder, a database."""

    def layer(self, key: LayerKey) -> CachedLayer:
        """The cached data of a layer; it may be empty.

        Raises:
            CacheError: the key is not valid.
        """
        ...

"""What keeps a county's parcels: answers one by one, and a copy of the whole layer."""

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

# Raised when the same county would give other rows: what was kept before is then left alone.
_FORM = 1


@dataclass(frozen=True, slots=True)
class LayerKey:
    """Which layer is meant, and everything that shapes its answers.

    Attributes:
        county: the county's key.
        origin: the layer's URL with its number, or the path of a file.
        digest: 32 hexadecimal digits of the layer, its alternates, the mapped columns and `where`;
            of a file also of the CRS that the entry gives it.
    """

    county: str
    origin: str
    digest: str

    @classmethod
    def of(cls, county: County) -> LayerKey:
        """The key of a county's ArcGIS layer.

        Raises:
            SourceMisconfigured: the county has none.
        """
        if not county.layers:
            raise SourceMisconfigured(
                f"county {county.key!r} has no 'url' and 'layer': there is nothing to keep a copy "
                "of"
            )
        layers = [[layer.url, layer.layer] for layer in county.layers]
        first = county.layers[0]
        return cls(county.key, f"{first.url}/{first.layer}", _digest(county, layers=layers))

    @classmethod
    def of_file(cls, county: County) -> LayerKey:
        """The key of a county's file."""
        path = str(county.path)
        return cls(county.key, path, _digest(county, path=path, crs=county.crs))


def _digest(county: County, **where_from: object) -> str:
    shapes = {
        "form": _FORM,
        **where_from,
        "fields": county.fields.model_dump(),
        "where": county.where,
    }
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:32]


def version_text(layer_version: LayerVersion) -> str:
    """A stamp as a name for files and rows: equal stamps, and no others, have the same.

    Raises:
        CacheError: something else than whole numbers is in it.
    """
    said = (layer_version.last_edit_ms, layer_version.count, layer_version.highest_id)
    if not all(value is None or type(value) is int for value in said):
        # Never a path.
        raise CacheError(f"{layer_version} is no state of a layer: whole numbers are")
    return "stamp_" + "_".join("" if value is None else str(value) for value in said)


def version_of(text: str) -> LayerVersion:
    """The stamp with this `version_text`."""
    edited, count, highest = (int(part) if part else None for part in text.split("_")[1:])
    return LayerVersion(edited, count, highest)


class SnapshotInProgress(Protocol):
    """A copy that is being made, by one process at a time; what was added survives its death.

    Attributes:
        after_object_id: the last row that is in it; None at the beginning.
        rows: how many there are.
        without_geometry: how many of them have none that can be used.
    """

    @property
    def after_object_id(self) -> int | None: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def without_geometry(self) -> int: ...  # noqa: D102

    def add(self, page: Page) -> None:
        """Keep the next page, for good when this returns."""
        ...

    def finish(self) -> None:
        """Put the copy in the place of the one before it."""
        ...

    def discard(self) -> None:
        """Forget what was added: the next copy begins anew."""
        ...


class CachedLayer(Protocol):
    """What is kept of one layer. Several processes may use it at once.

    Answers that cannot be read are as good as none, and those that cannot be kept are lost; either
    is logged. Only a copy that was asked for has to succeed.
    """

    def last_version(self) -> LayerVersion | None:
        """The state in which the layer was last seen; None where it never was."""
        ...

    def record_version(self, layer_version: LayerVersion) -> None:
        """The layer is in this state now."""
        ...

    def read_results(
        self, questions: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """What the layer said to these questions while it was in this state."""
        ...

    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """Keep what it said."""
        ...

    def evict_before(self, instant: datetime) -> None:
        """Make room: answers that were given earlier are not needed any more.

        Nor is all that is kept of the county under another digest, where nobody used it since: its
        entry was changed. This layer itself is in use.
        """
        ...

    def snapshot_version(self) -> LayerVersion | None:
        """The state of the layer when its copy was made; None where there is no copy."""
        ...

    def snapshot(self) -> LayerSnapshot | None:
        """The copy, if there is one."""
        ...

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """Begin a copy of the layer in this state, or go on with the one that was stopped.

        `origin` is the layer that the rows come from, which may be an alternate.

        Raises:
            SnapshotLocked: another process is at it.
            CacheError: the place cannot be written.
        """
        ...


class SnapshotLayer(HarvestableLayer, Protocol):
    """A layer that can be copied, and says where the copy comes from."""

    @property
    def snapshot_origin(self) -> str:
        """The layer, or the alternate, that `layer_version` and `harvest` speak of.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        ...


class ParcelCache(Protocol):
    """A place where layers are kept: a folder, a database."""

    def layer(self, key: LayerKey) -> CachedLayer:
        """What is kept of a layer, if only nothing yet.

        Raises:
            CacheError: the key is none.
        """
        ...

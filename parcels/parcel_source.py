"""ParcelSource: queries by id, point or address -> rows of a county's parcel layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.errors import GeometryError, ParcelsError
from parcels.measure import on_earth, polygonal

Extent = tuple[float, float, float, float]
_Query = TypeVar("_Query")


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """One row of a parcel layer.

    Attributes:
        parcel_id: exactly as written by the county; None if empty.
        geometry: EPSG:4326, valid and normalized, so that the same lot has the same bytes; None
            if it cannot be repaired.
        object_id: the row's key in its layer; in a file, its position from 1.
        site: None if no address columns are mapped.
        parcel_type: the county's word for what it is (lot, right of way, water); None if unknown.
        lacks_id: it has no id, in a layer where lots have one.
    """

    parcel_id: str | None
    geometry: MultiPolygon | None
    object_id: int | None = None
    site: SiteAddress | None = None
    parcel_type: str | None = None
    lacks_id: bool = False


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows for one query, maybe none, and the URL or file they come from.

    `fetched_at` is the time of the source's response, also for a cached result.
    """

    rows: tuple[ParcelRow, ...]
    origin: str
    fetched_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


class ParcelSource(Protocol):
    """Queries a parcel layer; results are in query order, with an error for each failed query."""

    def check(self) -> None:
        """Open the source.

        Raises:
            SourceUnavailable: it is unavailable.
            SourceMisconfigured, GeometryError: its registry entry must be corrected.
        """
        ...

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these parcel ids."""
        ...

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        ...

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        ...

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """Candidate rows for these addresses, a superset: the caller compares them.

        A source without address columns returns `SourceMisconfigured` errors.
        """
        ...

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all its parcels; None if unknown.

        Raises:
            ParcelsError: as `check`.
        """
        ...


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """The version of a layer as it reports it: equal versions have equal parcels.

    The last edit date alone is enough; without it, count and highest object id are used. All
    None: the layer reports nothing, so that cached data only expires by age.
    """

    last_edit_ms: int | None = None
    count: int | None = None
    highest_id: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the layer reports a version at all."""
        return self != LayerVersion()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a harvest, in object id order.

    Attributes:
        rows: its rows, including those without a valid geometry (None).
        last_object_id: keyset cursor: an interrupted harvest resumes after it.
        done: number of rows so far, including those before `after_object_id`.
        total: number of rows of the layer.
    """

    rows: tuple[ParcelRow, ...]
    last_object_id: int
    done: int
    total: int


class HarvestableLayer(Protocol):
    """A source whose rows can all be downloaded."""

    def layer_version(self) -> LayerVersion:
        """The current version of the layer; two or three requests.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        ...

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        """Every row of the layer once, by keyset pagination; resumes after `after_object_id`.

        Raises:
            SourceUnavailable: it is unavailable; the pages yielded so far are good.
            IncompleteResponse: the rows disagree with the count that it reports.
            SourceMisconfigured.
        """
        ...


def query_all(
    query: Callable[[Sequence[_Query]], Sequence[QueryResult | ParcelsError]],
    queries: Sequence[_Query],
) -> list[QueryResult | ParcelsError]:
    """The results of all queries; if the call itself fails, its error for each query.

    Without queries, nothing is called.
    """
    if not queries:
        return []
    try:
        return list(query(queries))
    except ParcelsError as error:
        return [error] * len(queries)


def unique_rows(rows: Sequence[ParcelRow]) -> list[ParcelRow]:
    """The rows, each once: a server may send a row twice.

    A joined layer repeats an object id for each account on a parcel: these rows differ in their id
    or address and are all kept, as are rows without an object id.
    """
    by_object_id: dict[int, list[ParcelRow]] = defaultdict(list)
    unique: list[ParcelRow] = []
    for row in rows:
        if row.object_id is not None:
            same = by_object_id[row.object_id]
            if row in same:
                continue
            same.append(row)
        unique.append(row)
    return unique


def lot_geometry(geometry: BaseGeometry | None) -> MultiPolygon | None:
    """The geometry normalized for a `ParcelRow`; None if no area on Earth is left."""
    if geometry is None or not on_earth(np.asarray([geometry], dtype=object))[0]:
        return None
    try:
        return shapely.normalize(polygonal(geometry))
    except GeometryError:
        return None


def lot_geometries(
    geometries: NDArray[np.object_],
    rebuild: Callable[[NDArray[np.object_]], NDArray[np.object_]] | None = None,
) -> tuple[NDArray[np.object_], int]:
    """`lot_geometry` of (n,) geometries, vectorized; and how many of them were repaired.

    Args:
        rebuild: makes those that are not valid (m,) anew, before the repair.
    """
    polygons = on_earth(geometries) & np.isin(shapely.get_type_id(geometries), (3, 6))
    valid = np.flatnonzero(polygons & shapely.is_valid(geometries))
    valid = valid[shapely.area(geometries[valid]) > 0]
    parts, owners = shapely.get_parts(geometries[valid], return_index=True)
    not_empty = ~shapely.is_empty(parts)
    lots = np.full(len(geometries), None, dtype=object)
    if len(valid):
        lots[valid] = shapely.normalize(
            shapely.multipolygons(parts[not_empty], indices=owners[not_empty])
        )
    others = np.setdiff1d(np.arange(len(geometries)), valid)
    doubtful = geometries[others]
    if rebuild is not None and len(others):
        doubtful = rebuild(doubtful)
    for i, geometry in zip(others.tolist(), doubtful, strict=True):
        lots[i] = lot_geometry(geometry)
    repaired = [i for i in others if lots[i] is not None]
    return lots, len(repaired)

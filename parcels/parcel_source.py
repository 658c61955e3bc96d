"""What a source of parcels is: ids or points in, the county's polygons out."""

from __future__ import annotations

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
_Question = TypeVar("_Question")


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """One row of a parcel layer.

    Attributes:
        parcel_id: exactly as the county writes it; None where it has none.
        geometry: EPSG:4326, valid and normalised, so that the same lot twice is equal byte for
            byte; None where it cannot be repaired.
        object_id: the row's key in its layer; of a file, its place there, from 1.
        site: None where no column of addresses is mapped.
    """

    parcel_id: str | None
    geometry: MultiPolygon | None
    object_id: int | None = None
    site: SiteAddress | None = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The rows that a source has for one question (none is an answer too), and its address.

    `fetched_at` is when the source itself said so, however long a cache has kept it since.
    """

    rows: tuple[ParcelRow, ...]
    origin: str
    fetched_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


class ParcelSource(Protocol):
    """Answers in the order of the questions; a question that failed has its error instead."""

    def check(self) -> None:
        """Open the source.

        Raises:
            SourceUnavailable: it does not answer now.
            SourceMisconfigured, GeometryError: its registry entry must be mended.
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
        """Rows that may have these addresses, more rather than fewer: the caller compares.

        A source without columns of addresses answers with `SourceMisconfigured`.
        """
        ...

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all its parcels; None where it is not known.

        Raises:
            ParcelsError: as `check`.
        """
        ...


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """What a layer says of its state: as long as it is the same, so are the parcels.

    A layer that says when it was last edited needs no more; else the count and the highest
    object id stand in for that. All None: the layer says nothing, and only age can tell.
    """

    last_edit_ms: int | None = None
    count: int | None = None
    highest_id: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether two equal stamps mean anything."""
        return self != LayerVersion()


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a layer on its way into a copy, in the order of the object ids.

    Attributes:
        rows: its rows; those without a usable geometry are among them, with None.
        last_object_id: a harvest that was stopped goes on after it.
        done: rows so far, those before `after_object_id` included.
        total: rows that the layer has.
    """

    rows: tuple[ParcelRow, ...]
    last_object_id: int
    done: int
    total: int


class HarvestableLayer(Protocol):
    """A source that can be copied as a whole."""

    def layer_version(self) -> LayerVersion:
        """What the layer says of its state now; two or three calls at most.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        ...

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        """Every row of the layer once; with `after_object_id` only those that come after it.

        Raises:
            SourceUnavailable: it does not answer now; what was yielded is good.
            IncompleteResponse: what it sent does not agree with what it says it has.
            SourceMisconfigured.
        """
        ...


def query_all(
    ask: Callable[[Sequence[_Question]], Sequence[QueryResult | ParcelsError]],
    questions: Sequence[_Question],
) -> list[QueryResult | ParcelsError]:
    """A source's answers; where it fails as a whole, that error for each question.

    Nothing is asked where there are no questions.
    """
    if not questions:
        return []
    try:
        return list(ask(questions))
    except ParcelsError as error:
        return [error] * len(questions)


def lot_geometry(geometry: BaseGeometry | None) -> MultiPolygon | None:
    """The geometry as a `ParcelRow` holds it; None where nothing with an area on Earth is left."""
    if geometry is None or not on_earth(np.asarray([geometry], dtype=object))[0]:
        return None
    try:
        return shapely.normalize(polygonal(geometry))
    except GeometryError:
        return None


def lot_geometries(geometries: NDArray[np.object_]) -> tuple[NDArray[np.object_], int]:
    """`lot_geometry` of each of (n,), at once; and how many of them had to be mended."""
    polygons = on_earth(geometries) & np.isin(shapely.get_type_id(geometries), (3, 6))
    good = np.flatnonzero(polygons & shapely.is_valid(geometries))
    good = good[shapely.area(geometries[good]) > 0]
    parts, owners = shapely.get_parts(geometries[good], return_index=True)
    whole = ~shapely.is_empty(parts)
    lots = np.full(len(geometries), None, dtype=object)
    if len(good):
        lots[good] = shapely.normalize(shapely.multipolygons(parts[whole], indices=owners[whole]))
    others = np.setdiff1d(np.arange(len(geometries)), good)
    for i in others:
        lots[i] = lot_geometry(geometries[i])
    mended = [i for i in others if lots[i] is not None]
    return lots, len(mended)

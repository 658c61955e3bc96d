"""A source of synthetic lots that counts what it is asked, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import shapely
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.errors import ParcelsError, SourceUnavailable
from parcels.measure import buffer_m
from parcels.parcel_source import Extent, LayerVersion, Page, ParcelRow, QueryResult

ORIGIN = "https://gis.example.gov/arcgis/rest/services/Synthetic/FeatureServer/0"
WEST, SOUTH, STEP = -90.0, 35.1, 0.001


def synthetic_hits(count: int = 20) -> list[ParcelRow]:
    """A row of square lots from west to east, a gap after each; the last without a geometry."""
    hits = [
        ParcelRow(
            f"{number:03d}  00007",
            shapely.normalize(MultiPolygon([shapely.box(x, SOUTH, x + STEP * 0.8, SOUTH + STEP)])),
            number,
            SiteAddress(line=f"{100 + 2 * number} O'Brien St", postcode="00000"),
        )
        for number, x in ((n, WEST + n * STEP) for n in range(1, count))
    ]
    return [*hits, ParcelRow("lost", None, count, SiteAddress())]


def inside(number: int) -> Point:
    """A point in the lot with this number."""
    return Point(WEST + (number + 0.4) * STEP, SOUTH + STEP / 2)


class AskedSource:
    """See `ParcelSource` and `HarvestableLayer`.

    Attributes:
        asked: every question, in order.
        down: raised instead of any answer, while it is set.
        broken: questions that get an error of their own.
        clock: what time it is when it answers.
    """

    def __init__(self, hits: Sequence[ParcelRow] | None = None) -> None:
        self.rows = list(synthetic_hits() if hits is None else hits)
        self.last_version = LayerVersion(last_edit_ms=1)
        self.snapshot_origin = ORIGIN
        self.asked: list[object] = []
        self.stamps = 0
        self.down: ParcelsError | None = None
        self.broken: set[object] = set()
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.page_size = 6
        self.after: list[int | None] = []

    def check(self) -> None:
        self._answer()

    def extent(self) -> Extent | None:
        self._answer()
        return (-180.0, -90.0, 180.0, 90.0)

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        return [self._found(i, lambda hit, i=i: hit.parcel_id == i) for i in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        return [self._found(p, lambda hit, p=p: _meets(hit, p)) for p in points]

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        circles = [buffer_m(point, distance_m) for point in points]
        return [
            self._found(p, lambda hit, circle=circle: _meets(hit, circle))
            for p, circle in zip(points, circles, strict=True)
        ]

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        return [
            self._found(a, lambda hit, a=a: (hit.site.line or "").startswith(f"{a.house_number} "))
            for a in addresses
        ]

    def layer_version(self) -> LayerVersion:
        self._answer()
        self.stamps += 1
        return self.last_version

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        self.after.append(after_object_id)
        rest = [hit for hit in self.rows if (hit.object_id or 0) > (after_object_id or 0)]
        done = len(self.rows) - len(rest)
        for start in range(0, len(rest), self.page_size):
            self._answer()
            hits = tuple(rest[start : start + self.page_size])
            done += len(hits)
            yield Page(hits, hits[-1].object_id or 0, done, len(self.rows))

    def _answer(self) -> None:
        if self.down is not None:
            raise self.down

    def _found(
        self, question: object, meets: Callable[[ParcelRow], bool]
    ) -> QueryResult | ParcelsError:
        self.asked.append(question)
        self._answer()
        if question in self.broken:
            return SourceUnavailable("this one is broken: try again later")
        return QueryResult(tuple(hit for hit in self.rows if meets(hit)), ORIGIN, self.clock())


def _meets(hit: ParcelRow, place: BaseGeometry) -> bool:
    return hit.geometry is not None and bool(hit.geometry.intersects(place))

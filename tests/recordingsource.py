"""A parcel source of synthetic lots that records its queries, and fails on request."""

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


def synthetic_rows(count: int = 20) -> list[ParcelRow]:
    """Square lots from west to east with gaps between them; the last row has no geometry."""
    rows = [
        ParcelRow(
            f"{number:03d}  00007",
            shapely.normalize(MultiPolygon([shapely.box(x, SOUTH, x + STEP * 0.8, SOUTH + STEP)])),
            number,
            SiteAddress(line=f"{100 + 2 * number} O'Brien St", postcode="00000"),
        )
        for number, x in ((n, WEST + n * STEP) for n in range(1, count))
    ]
    return [*rows, ParcelRow("lost", None, count, SiteAddress())]


def inside(number: int) -> Point:
    """A point in the lot with this number."""
    return Point(WEST + (number + 0.4) * STEP, SOUTH + STEP / 2)


class RecordingSource:
    """See `ParcelSource` and `HarvestableLayer`.

    Attributes:
        queries: every query, in order.
        down: the error that every call raises while it is set.
        broken: queries that return an error.
        clock: the time of a result.
    """

    def __init__(self, rows: Sequence[ParcelRow] | None = None) -> None:
        self.rows = list(synthetic_rows() if rows is None else rows)
        self.last_version = LayerVersion(last_edit_ms=1)
        self.snapshot_origin = ORIGIN
        self.queries: list[object] = []
        self.version_checks = 0
        self.down: ParcelsError | None = None
        self.broken: set[object] = set()
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.page_size = 6
        self.after: list[int | None] = []

    def check(self) -> None:
        self._raise_if_down()

    def extent(self) -> Extent | None:
        self._raise_if_down()
        return (-180.0, -90.0, 180.0, 90.0)

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        return [self._result(i, lambda row, i=i: row.parcel_id == i) for i in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        return [self._result(p, lambda row, p=p: _intersects(row, p)) for p in points]

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        circles = [buffer_m(point, distance_m) for point in points]
        return [
            self._result(p, lambda row, circle=circle: _intersects(row, circle))
            for p, circle in zip(points, circles, strict=True)
        ]

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        return [
            self._result(a, lambda row, a=a: (row.site.line or "").startswith(f"{a.house_number} "))
            for a in addresses
        ]

    def layer_version(self) -> LayerVersion:
        self._raise_if_down()
        self.version_checks += 1
        return self.last_version

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        self.after.append(after_object_id)
        remaining = [row for row in self.rows if (row.object_id or 0) > (after_object_id or 0)]
        done = len(self.rows) - len(remaining)
        for start in range(0, len(remaining), self.page_size):
            self._raise_if_down()
            rows = tuple(remaining[start : start + self.page_size])
            done += len(rows)
            yield Page(rows, rows[-1].object_id or 0, done, len(self.rows))

    def _raise_if_down(self) -> None:
        if self.down is not None:
            raise self.down

    def _result(
        self, query: object, matches: Callable[[ParcelRow], bool]
    ) -> QueryResult | ParcelsError:
        self.queries.append(query)
        self._raise_if_down()
        if query in self.broken:
            return SourceUnavailable("this one is broken: try again later")
        return QueryResult(tuple(row for row in self.rows if matches(row)), ORIGIN, self.clock())


def _intersects(row: ParcelRow, place: BaseGeometry) -> bool:
    return row.geometry is not None and bool(row.geometry.intersects(place))

"""ParcelBoundaryService: a point or a parcel id -> the county's lot, else the 30 m buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import shapely
from pyproj import Geod
from shapely import MultiPolygon, Point

from parcels.boundary import (
    Answer,
    Boundary,
    Lot,
    Method,
    NoBoundary,
    NoLot,
    Property,
    Unavailable,
)
from parcels.county import County
from parcels.errors import ParcelsError, SourceMisconfigured, SourceUnavailable
from parcels.measure import area_m2, areas_m2, buffer_m, polygonal
from parcels.source import Extent, Found, ParcelSource

BUFFER_M = 30.0
# A point so far from every parcel of the county was meant for another one, or is mistyped.
_OUTSIDE_M = 50_000.0
_GEOD = Geod(ellps="WGS84")

WhenUnavailable = Literal["defer", "buffer"]
_Question = TypeVar("_Question", str, Point)


class ParcelBoundaryService:
    """Finds the boundary of each property in a county's parcels.

    A parcel id goes before the point; the point is used where the county does not know the id.
    Of several lots at a point, those with the same geometry are one boundary with many ids;
    else the smallest that strictly contains the point is taken.
    """

    def __init__(self, county: County, source: ParcelSource | None = None) -> None:
        """`source` replaces the one that the county names (a cache, a test).

        Raises:
            SourceMisconfigured: the county is synthetic and has not been generated.
        """
        self.county = county
        self._source = source if source is not None else _source_of(county)

    def check(self) -> None:
        """Open the county's source, to learn of a mistake before any property is looked up.

        Raises:
            SourceUnavailable: it does not answer now.
            SourceMisconfigured, GeometryError: the registry entry must be mended.
        """
        self._source.check()

    def look_up(self, prop: Property) -> Answer:
        """See `look_up_many`."""
        return self.look_up_many([prop])[0]

    def look_up_many(self, props: Sequence[Property]) -> list[Answer]:
        """For each property, in order: its lot, that there is none, or that nobody can say.

        It does not raise for a source that fails: the answer is `Unavailable`, with the reason.
        """
        answers: list[Answer] = [NoLot()] * len(props)
        ids = {i: prop.parcel_id for i, prop in enumerate(props) if prop.parcel_id}
        found = self._ask(self._source.with_ids, list(ids.values()))
        for (i, parcel_id), rows in zip(ids.items(), found, strict=True):
            answers[i] = _answer_for_id(parcel_id, rows)
        points = {
            i: point
            for i, prop in enumerate(props)
            if isinstance(answers[i], NoLot) and (point := prop.point) is not None
        }
        found = self._ask(self._source.at_points, list(points.values()))
        for (i, point), rows in zip(points.items(), found, strict=True):
            answers[i] = _answer_at_point(point, rows)
        return answers

    def boundaries(
        self, props: Sequence[Property], when_unavailable: WhenUnavailable = "defer"
    ) -> list[Boundary | NoBoundary]:
        """For each property, in order: what to measure, or why there is nothing to measure.

        A point without a lot gets its 30 m buffer. Where the source does not answer, "defer"
        leaves the property for later, and "buffer" takes the buffer, marked `unavailable`.
        """
        return [
            self._boundary(prop, answer, when_unavailable)
            for prop, answer in zip(props, self.look_up_many(props), strict=True)
        ]

    def _boundary(
        self, prop: Property, answer: Answer, when_unavailable: WhenUnavailable
    ) -> Boundary | NoBoundary:
        if isinstance(answer, Lot):
            return answer.boundary
        if isinstance(answer, Unavailable) and (
            answer.reason != "unavailable" or when_unavailable == "defer" or prop.point is None
        ):
            return NoBoundary(answer.reason, answer.detail)
        if prop.point is None:
            return NoBoundary(
                "not_found",
                f"parcel id {prop.parcel_id!r} is not known in {self.county.name}; check it "
                "(white space and dashes count), or give longitude and latitude",
            )
        far = self._outside(prop.point)
        if far is not None:
            return far
        method: Method = "no_lot" if isinstance(answer, NoLot) else "unavailable"
        circle = buffer_m(prop.point, BUFFER_M)
        return Boundary(circle, "buffer_30m", area_m2(circle), method, self._origin)

    @property
    def _origin(self) -> str:
        layers = self.county.layers
        return f"{layers[0].url}/{layers[0].layer}" if layers else str(self.county.path)

    def _outside(self, point: Point) -> NoBoundary | None:
        try:
            extent, limit_m = self.county.extent, 0.0
            if extent is None:
                extent, limit_m = self._source.extent(), _OUTSIDE_M
        except ParcelsError:
            return None  # nobody can say where the county lies
        distance_m = 0.0 if extent is None else _distance_m(point, extent)
        if distance_m <= limit_m:
            return None
        return NoBoundary(
            "outside_county",
            f"longitude {point.x}, latitude {point.y} lies {distance_m / 1000:,.1f} km outside "
            f"{self.county.name}; check the county, and that longitude and latitude are not "
            "swapped",
        )

    def _ask(
        self,
        ask: Callable[[Sequence[_Question]], list[Found | ParcelsError]],
        questions: list[_Question],
    ) -> list[Found | ParcelsError]:
        """The source's answers; where it fails as a whole, that error for each question."""
        if not questions:
            return []
        try:
            return ask(questions)
        except ParcelsError as error:
            return [error] * len(questions)


def _source_of(county: County) -> ParcelSource:
    if county.source == "synthetic":
        raise SourceMisconfigured(
            f"county {county.key!r} is synthetic and has to be generated first; `make batch "
            f"COUNTY={county.key}` does so"
        )
    # Imported late: geopandas takes a second, which only a county with a file has to pay.
    if county.source == "file":
        from parcels.files import FileSource

        return FileSource(county)
    from parcels.arcgis import ArcGISSource

    return ArcGISSource(county)


def _answer_for_id(parcel_id: str, rows: Found | ParcelsError) -> Answer:
    if isinstance(rows, ParcelsError):
        return _unavailable(rows)
    own = [hit for hit in rows.hits if hit.parcel_id == parcel_id]
    if not own:
        return NoLot()
    whole = [hit.geometry for hit in own if hit.geometry is not None]
    if not whole:
        return _bad_geometry(f"parcel id {parcel_id!r}", rows)
    lot = whole[0]
    if any(other != lot for other in whole):
        # A lot of several pieces, each in a row of its own.
        lot = shapely.normalize(polygonal(shapely.union_all(whole)))
    return _lot(lot, rows, "parcel_id", parcel_id)


def _answer_at_point(point: Point, rows: Found | ParcelsError) -> Answer:
    if isinstance(rows, ParcelsError):
        return _unavailable(rows)
    if not rows.hits:
        return NoLot()
    lots = [hit.geometry for hit in rows.hits if hit.geometry is not None]
    if not lots:
        return _bad_geometry(f"longitude {point.x}, latitude {point.y}", rows)
    # On a shared edge nothing contains the point strictly: then every lot that it touches.
    inside = [lot for lot in lots if shapely.contains_properly(lot, point)] or lots
    smallest = inside[int(areas_m2(inside).argmin())] if len(inside) > 1 else inside[0]
    return _lot(smallest, rows, "point")


def _lot(lot: MultiPolygon, rows: Found, method: Method, parcel_id: str | None = None) -> Lot:
    ids = {hit.parcel_id for hit in rows.hits if hit.geometry == lot} | {parcel_id}
    return Lot(
        Boundary(
            geometry=lot,
            source="lot",
            area_m2=area_m2(lot),
            method=method,
            origin=rows.origin,
            parcel_ids=tuple(sorted(i for i in ids if i is not None)),
        )
    )


def _unavailable(error: ParcelsError) -> Unavailable:
    for_now = isinstance(error, SourceUnavailable)
    return Unavailable(str(error), "unavailable" if for_now else "misconfigured")


def _bad_geometry(what: str, rows: Found) -> Unavailable:
    return Unavailable(
        f"{rows.origin}: the lot of {what} has a geometry that cannot be repaired; "
        "report it to the county",
        "bad_geometry",
    )


def _distance_m(point: Point, extent: Extent) -> float:
    """The geodesic distance from a point to a box; 0 inside it."""
    west, south, east, north = extent
    nearest_x, nearest_y = min(max(point.x, west), east), min(max(point.y, south), north)
    return float(_GEOD.inv(point.x, point.y, nearest_x, nearest_y)[2])

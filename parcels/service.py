"""ParcelBoundaryService: parcel id, point or address -> the county's lot, else the 30 m buffer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from shapely import Point

from parcels.addresses.street_address import StreetAddress, parse_address, read_address
from parcels.boundary import (
    Boundary,
    Located,
    LookupResult,
    Lot,
    NoBoundary,
    NoLot,
    NotLocated,
    Property,
    Unavailable,
)
from parcels.county_extent import ExtentCheck
from parcels.errors import ParcelsError, PropertyError, SourceMisconfigured
from parcels.fallback_buffer import fallback_buffer
from parcels.lookup import NEAR_LOT_RADIUS_M, LotLookup, SearchPoint, as_unavailable
from parcels.lot_selection import distances_m
from parcels.measure import area_m2
from parcels.parcel_source import ParcelSource
from parcels.registry.county import County

if TYPE_CHECKING:
    from parcels.cache import ParcelCache
    from parcels.geocode import Geocoder

# A point so far from every parcel of the county was meant for another one, or is mistyped.
_OUTSIDE_M = 50_000.0
# A point at the gate or the letter box is still that of its lot; farther off it is another's.
_FAR_FROM_THE_LOT_M = 100.0

WhenUnavailable = Literal["defer", "buffer"]


class ParcelBoundaryService:
    """Finds the boundary of each property in a county's parcels.

    A parcel id goes before the point, and the point before the address; the next one is used
    where the county does not know the id. Of several lots at a point, those with the same
    geometry are one boundary with many ids; else the lot that strictly contains the point, has
    the address's house number, or is the smallest, in this order. A point in the street takes
    the nearest lot with the house number, within 40 m. A geocoder's point along the street
    counts only where a lot's house number agrees. Rows of one id are the pieces of one lot.
    """

    def __init__(
        self,
        county: County,
        source: ParcelSource | None = None,
        geocoder: Geocoder | None = None,
        cache: ParcelCache | None = None,
    ) -> None:
        """`source` replaces the one that the county names; `cache` keeps what the latter says.

        A county with a file of its own needs no cache, and leaves it alone, as a `source` that
        is given does: wrap that in a `CachedSource`.

        Raises:
            SourceMisconfigured: the county is synthetic and has not been generated.
        """
        self.county = county
        self._source = source if source is not None else _source_of(county, cache)
        self._given_geocoder = geocoder
        self._look_up = LotLookup(county, self._source)
        self._outside = ExtentCheck(county, self._source)

    def check(self) -> None:
        """Open the county's source, to learn of a mistake before any property is looked up.

        Raises:
            SourceUnavailable: it does not answer now.
            SourceMisconfigured, GeometryError: the registry entry must be mended.
        """
        self._source.check()

    def look_up(self, prop: Property) -> LookupResult:
        """See `look_up_many`."""
        return self.look_up_many([prop])[0]

    def look_up_many(self, props: Sequence[Property]) -> list[LookupResult]:
        """For each property, in order: its lot, that there is none, or why nobody can say.

        It does not raise for a source that fails: the answer is `Unavailable`, with the reason.
        """
        answers: list[LookupResult] = [NoLot()] * len(props)
        ids = {i: prop.parcel_id for i, prop in enumerate(props) if prop.parcel_id}
        by_id = self._look_up.by_id(list(ids.values()))
        _fill(answers, ids, [self._of_id(props[i], by) for i, by in zip(ids, by_id, strict=True)])
        spots = self._given_spots(props, answers) | self._geocoded_spots(props, answers)
        _fill(answers, spots, self._look_up.at(list(spots.values())))
        return answers

    def _of_id(self, prop: Property, answer: LookupResult) -> LookupResult:
        """The answer, unless it is a lot so far away that its coordinates must be wrong."""
        if not isinstance(answer, Lot):
            return answer
        detail = self._outside.detail(answer.boundary.geometry.representative_point(), _OUTSIDE_M)
        if detail is None:
            return _with_distance(prop, answer)
        return NotLocated(
            "outside_county",
            f"the lot of parcel id {prop.parcel_id!r} at {detail}; its coordinates "
            f"are not in the CRS that {answer.boundary.origin} says, or belong to another county",
        )

    def _given_spots(
        self, props: Sequence[Property], answers: list[LookupResult]
    ) -> dict[int, SearchPoint]:
        """Where those with coordinates are that have no lot yet; an answer for those beyond."""
        spots: dict[int, SearchPoint] = {}
        for i, prop in enumerate(props):
            if not isinstance(answers[i], NoLot) or prop.longitude is None or prop.latitude is None:
                continue
            place = Located(prop.longitude, prop.latitude)
            beyond = self._beyond(_point(place)) if self.county.extent is not None else None
            if beyond is not None:
                answers[i] = beyond
            else:
                wanted = parse_address(prop.address) if prop.address else None
                spots[i] = SearchPoint(place, wanted)
        return spots

    def _geocoded_spots(
        self, props: Sequence[Property], answers: list[LookupResult]
    ) -> dict[int, SearchPoint]:
        """Where those with an address alone are; an answer for those that cannot be found."""
        wanted: dict[int, StreetAddress] = {}
        for i, prop in enumerate(props):
            if not isinstance(answers[i], NoLot) or prop.longitude is not None or not prop.address:
                continue
            try:
                wanted[i] = read_address(prop.address)
            except PropertyError as error:
                answers[i] = NotLocated("address_not_found", str(error))
        if not wanted:
            return {}
        spots: dict[int, SearchPoint] = {}
        located = self._geocoder.locate_many(list(wanted.values()))
        for (i, address), place in zip(wanted.items(), located, strict=True):
            if isinstance(place, Located):
                spots[i] = SearchPoint(place, address)
            else:
                answers[i] = as_unavailable(place) if isinstance(place, ParcelsError) else place
        return spots

    @cached_property
    def _geocoder(self) -> Geocoder:
        # Imported late: most properties come with coordinates.
        from parcels.geocode import Geocoder

        return self._given_geocoder or Geocoder(self.county, self._source)

    def boundaries(
        self, props: Sequence[Property], when_unavailable: WhenUnavailable = "defer"
    ) -> list[Boundary | NoBoundary]:
        """For each property, in order: what to measure, or why there is nothing to measure.

        A point without a lot gets its 30 m buffer, but never a point reckoned along the street.
        Where the source does not answer, "defer" leaves the property for later, and "buffer"
        takes the buffer about given coordinates, marked `unavailable`.
        """
        return [
            self._boundary(prop, answer, when_unavailable)
            for prop, answer in zip(props, self.look_up_many(props), strict=True)
        ]

    def _boundary(
        self, prop: Property, answer: LookupResult, when_unavailable: WhenUnavailable
    ) -> Boundary | NoBoundary:
        if isinstance(answer, Lot):
            return answer.boundary
        if isinstance(answer, NotLocated):
            return NoBoundary(answer.reason, answer.detail)
        if isinstance(answer, Unavailable):
            if answer.reason != "unavailable" or when_unavailable == "defer" or prop.point is None:
                return NoBoundary(answer.reason, answer.detail)
            return self._buffer(Located(prop.point.x, prop.point.y), "unavailable")
        if answer.located is None:
            return NoBoundary(
                "not_found",
                f"parcel id {prop.parcel_id!r} is that of no lot in {self.county.name}; check it "
                "(white space and dashes count), or give longitude and latitude",
            )
        return self._buffer(answer.located, "no_lot", self._why_no_lot(prop))

    def _why_no_lot(self, prop: Property) -> str:
        """What to say of a point beside the lots whose address did not help; else empty."""
        can_tell = self._look_up.has_house_numbers and prop.point is not None
        if not can_tell or not prop.address or parse_address(prop.address) is None:
            return ""
        return (
            f"no lot within {NEAR_LOT_RADIUS_M:.0f} m of the point has the address {prop.address!r}"
        )

    def _buffer(
        self, located: Located, method: Literal["no_lot", "unavailable"], note: str = ""
    ) -> Boundary | NoBoundary:
        point = _point(located)
        beyond = self._beyond(point)
        if beyond is not None:
            return NoBoundary(beyond.reason, beyond.detail)
        circle = fallback_buffer(point)
        if circle.is_empty:
            where = f"longitude {point.x}, latitude {point.y}"
            return NoBoundary("outside_county", f"{where} is a pole, where no county is")
        return Boundary(
            circle, "buffer_30m", area_m2(circle), method, self._origin, located=located, note=note
        )

    @property
    def _origin(self) -> str:
        layers = self.county.layers
        return f"{layers[0].url}/{layers[0].layer}" if layers else str(self.county.path)

    def _beyond(self, point: Point) -> NotLocated | None:
        detail = self._outside.detail(point, _OUTSIDE_M)
        if detail is None:
            return None
        return NotLocated(
            "outside_county",
            f"{detail}; check the county, and that longitude and latitude are not swapped",
        )


def _point(located: Located) -> Point:
    return Point(located.longitude, located.latitude)


def _with_distance(prop: Property, lot: Lot) -> Lot:
    """The lot of the parcel id, with a note where the given point lies far from it."""
    if prop.point is None:
        return lot
    away_m = float(distances_m(prop.point, [lot.boundary.geometry])[0])
    if not away_m > _FAR_FROM_THE_LOT_M:
        return lot
    away = f"{away_m:,.0f} m" if away_m < 10_000 else f"about {away_m / 1000:,.0f} km"
    note = (
        f"the point lies {away} from the lot of parcel id {prop.parcel_id!r}, which was "
        "taken: one of the two is wrong"
    )
    return Lot(replace(lot.boundary, note=note))


def _fill(answers: list[LookupResult], asked: Iterable[int], found: Sequence[LookupResult]) -> None:
    for i, answer in zip(asked, found, strict=True):
        answers[i] = answer


def _source_of(county: County, cache: ParcelCache | None) -> ParcelSource:
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

    source = ArcGISSource(county)
    if cache is None:
        return source
    from parcels.cache import CachedSource, LayerKey

    return CachedSource(source, cache, LayerKey.of(county))

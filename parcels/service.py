"""ParcelBoundaryService: parcel id, point or address -> the lot, else the fallback buffer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from shapely import Point

from parcels.addresses.street_address import StreetAddress, parse_address, try_parse_address
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
from parcels.lot_sample import LotSample
from parcels.lot_selection import distances_m
from parcels.measure import area_m2
from parcels.parcel_source import ParcelSource
from parcels.placeholders import is_placeholder
from parcels.registry.county import County

if TYPE_CHECKING:
    from parcels.cache import ParcelCache
    from parcels.geocode import Geocoder

# A point farther than this from the county's parcels is mistyped, or in another county.
_OUTSIDE_COUNTY_M = 50_000.0
# A point at the gate or mailbox still belongs to its lot; a point farther away is suspicious.
_FAR_FROM_LOT_M = 100.0

WhenUnavailable = Literal["defer", "buffer"]


class ParcelBoundaryService:
    """Finds the boundary of each property in a county's parcels.

    The parcel id is tried first, then the point, then the address. Of several lots at a point,
    those with the same geometry are one boundary with several ids; otherwise the lot is chosen
    that strictly contains the point, then that has the house number, then that is smallest. A
    point in the street takes the nearest lot with the address within 40 m; lots whose addresses
    differ in a part that was not given make it ambiguous. An interpolated geocoder point counts
    only if a lot's house number matches. Rows with one id are pieces of one lot.

    Threads may share a service: it keeps no state between calls but its source's connections,
    indexes and caches, which are locked where that is needed. Other processes need their own.
    """

    def __init__(
        self,
        county: County,
        source: ParcelSource | None = None,
        geocoder: Geocoder | None = None,
        cache: ParcelCache | None = None,
    ) -> None:
        """`source` replaces the county's own; `cache` caches the queries to the county's server.

        A county with a local file does not use the cache, nor does a given `source`: wrap that in
        a `CachedSource`.

        Raises:
            SourceMisconfigured: the county is synthetic and has not been generated.
        """
        self.county = county
        self._source = source if source is not None else _source_of(county, cache)
        self._given_geocoder = geocoder
        self._lookup = LotLookup(county, self._source)
        self._extent_check = ExtentCheck(county, self._source)
        self._sample = LotSample(county)

    def check(self) -> None:
        """Open the county's source, to find a configuration error before any lookup.

        Raises:
            SourceUnavailable: it is unavailable.
            SourceMisconfigured, GeometryError: the registry entry must be corrected.
        """
        self._source.check()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not plausible about the county's lots, such as a wrong CRS; also logged.

        Known after `check` for a file, and after the first lookups for a server.
        """
        return (*getattr(self._source, "warnings", ()), *self._sample.warnings)

    def look_up(self, prop: Property) -> LookupResult:
        """See `look_up_many`."""
        return self.look_up_many([prop])[0]

    def look_up_many(self, props: Sequence[Property]) -> list[LookupResult]:
        """For each property, in order: its lot, no lot, or why it is not known.

        A failed source does not raise: the result is `Unavailable` with the reason.

        Raises:
            PropertyError: one of them is no `Property`.
        """
        for prop in props:
            if not isinstance(prop, Property):
                raise PropertyError(
                    f"{prop!r} ({type(prop).__name__}) is no Property; give Property objects in a "
                    "list"
                )
        results: list[LookupResult] = [NoLot()] * len(props)
        ids = {i: prop.parcel_id for i, prop in enumerate(props) if prop.parcel_id}
        lots = self._lookup.by_id(list(ids.values()))
        checked = [self._check_distance(props[i], lot) for i, lot in zip(ids, lots, strict=True)]
        _fill(results, ids, checked)
        search_points = self._points_from_coordinates(props, results)
        search_points |= self._points_from_geocoder(props, results)
        at_points = self._lookup.at(list(search_points.values()))
        noted = [_with_id_note(props[i], r) for i, r in zip(search_points, at_points, strict=True)]
        _fill(results, search_points, noted)
        for i, result in enumerate(results):
            if isinstance(result, NoLot) and result.located is not None:
                results[i] = self._outside_county(_point(result.located)) or result
        if self.county.source == "arcgis":  # a file's lots were checked when it was opened
            self._sample.add(results)
        return results

    def _check_distance(self, prop: Property, result: LookupResult) -> LookupResult:
        """The result, unless the lot is so far away that its coordinates must be wrong."""
        if not isinstance(result, Lot):
            return result
        inside = result.boundary.geometry.representative_point()
        problem = self._extent_check.problem(inside, _OUTSIDE_COUNTY_M)
        if problem is None:
            return _with_distance_note(prop, result)
        return NotLocated(
            "outside_county",
            f"the lot of parcel id {prop.parcel_id!r} at {problem}; its coordinates "
            f"are not in the CRS of {result.boundary.origin}, or belong to another county",
        )

    def _points_from_coordinates(
        self, props: Sequence[Property], results: list[LookupResult]
    ) -> dict[int, SearchPoint]:
        """The points of properties without a lot so far; a result for those outside the county."""
        search_points: dict[int, SearchPoint] = {}
        for i, prop in enumerate(props):
            if not isinstance(results[i], NoLot) or prop.longitude is None or prop.latitude is None:
                continue
            place = Located(prop.longitude, prop.latitude)
            # Without an extent, a lot at the point comes first: the parcels' extent is a guess.
            has_limit = self.county.extent is not None
            outside = self._outside_county(_point(place)) if has_limit else None
            if outside is not None:
                results[i] = outside
            else:
                wanted = try_parse_address(prop.address) if prop.address else None
                search_points[i] = SearchPoint(place, wanted)
        return search_points

    def _points_from_geocoder(
        self, props: Sequence[Property], results: list[LookupResult]
    ) -> dict[int, SearchPoint]:
        """The geocoded points of properties with only an address; a result for those not found."""
        wanted: dict[int, StreetAddress] = {}
        for i, prop in enumerate(props):
            if not isinstance(results[i], NoLot) or prop.longitude is not None or not prop.address:
                continue
            try:
                wanted[i] = parse_address(prop.address)
            except PropertyError as error:
                results[i] = NotLocated("address_not_found", str(error))
        if not wanted:
            return {}
        search_points: dict[int, SearchPoint] = {}
        located = self._geocoder.locate_many(list(wanted.values()))
        for (i, address), place in zip(wanted.items(), located, strict=True):
            if isinstance(place, Located):
                search_points[i] = SearchPoint(place, address)
            else:
                results[i] = as_unavailable(place) if isinstance(place, ParcelsError) else place
        return search_points

    @cached_property
    def _geocoder(self) -> Geocoder:
        # Imported late: most properties come with coordinates.
        from parcels.geocode import Geocoder

        return self._given_geocoder or Geocoder(self.county, self._source)

    def boundaries(
        self, props: Sequence[Property], when_unavailable: WhenUnavailable = "defer"
    ) -> list[Boundary | NoBoundary]:
        """For each property, in order: its boundary, or why there is none.

        A point without a lot gets the fallback buffer, but an interpolated point never does. If
        the source is unavailable, "defer" leaves the property for later, and "buffer" uses the
        fallback buffer around given coordinates, marked `unavailable`.
        """
        return [
            self._boundary(prop, result, when_unavailable)
            for prop, result in zip(props, self.look_up_many(props), strict=True)
        ]

    def _boundary(
        self, prop: Property, result: LookupResult, when_unavailable: WhenUnavailable
    ) -> Boundary | NoBoundary:
        if isinstance(result, Lot):
            return result.boundary
        if isinstance(result, NotLocated):
            return NoBoundary(result.reason, result.detail)
        if isinstance(result, Unavailable):
            if result.reason != "unavailable" or when_unavailable == "defer" or prop.point is None:
                return NoBoundary(result.reason, result.detail)
            return self._buffer(Located(prop.point.x, prop.point.y), "unavailable")
        if result.located is None:
            problem = f"; {result.detail}" if result.detail else ""
            advice = (
                f"{problem}; check it (white space and dashes count), or give longitude and "
                "latitude"
                if not result.similar_ids
                else ", and several have it with leading zeros: "
                f"{', '.join(result.similar_ids)}; give one of these"
            )
            return NoBoundary(
                "not_found",
                f"no lot in {self.county.name} has parcel id {prop.parcel_id!r}{advice}",
            )
        notes = (result.detail, self._no_lot_note(prop))
        return self._buffer(result.located, "no_lot", "; ".join(filter(None, notes)))

    def _no_lot_note(self, prop: Property) -> str:
        """A note if no lot near the point has the given address; else empty."""
        can_compare = self._lookup.has_house_numbers and prop.point is not None
        if not can_compare or not prop.address or try_parse_address(prop.address) is None:
            return ""
        return (
            f"no lot within {NEAR_LOT_RADIUS_M:.0f} m of the point has the address {prop.address!r}"
        )

    def _buffer(
        self, located: Located, method: Literal["no_lot", "unavailable"], note: str = ""
    ) -> Boundary | NoBoundary:
        point = _point(located)
        outside = self._outside_county(point)
        if outside is not None:
            return NoBoundary(outside.reason, outside.detail)
        buffer = fallback_buffer(point)
        if buffer.is_empty:
            where = f"longitude {point.x}, latitude {point.y}"
            return NoBoundary("outside_county", f"{where} is a pole, which is in no county")
        return Boundary(
            buffer, "buffer_30m", area_m2(buffer), method, self._origin, located=located, note=note
        )

    @property
    def _origin(self) -> str:
        layers = self.county.layers
        return f"{layers[0].url}/{layers[0].layer}" if layers else str(self.county.path)

    def _outside_county(self, point: Point) -> NotLocated | None:
        problem = self._extent_check.problem(point, _OUTSIDE_COUNTY_M)
        if problem is None:
            return None
        return NotLocated(
            "outside_county",
            f"{problem}; check the county, and that longitude and latitude are not swapped",
        )


def _point(located: Located) -> Point:
    return Point(located.longitude, located.latitude)


def _with_id_note(prop: Property, result: LookupResult) -> LookupResult:
    """A lot found by its place says so if the property's parcel id was not found."""
    if not prop.parcel_id or is_placeholder(prop.parcel_id) or not isinstance(result, Lot):
        return result
    boundary = result.boundary
    what = "address" if prop.longitude is None else "point"
    note = f"parcel id {prop.parcel_id!r} was not found: the lot at the {what} was used"
    return Lot(replace(boundary, note="; ".join(filter(None, (note, boundary.note)))))


def _with_distance_note(prop: Property, lot: Lot) -> Lot:
    """The lot of the parcel id, with a note if the given point is far from it."""
    if prop.point is None:
        return lot
    distance_m = float(distances_m(prop.point, [lot.boundary.geometry])[0])
    if not distance_m > _FAR_FROM_LOT_M:
        return lot
    distance = (
        f"{distance_m:,.0f} m" if distance_m < 10_000 else f"about {distance_m / 1000:,.0f} km"
    )
    note = (
        f"the point is {distance} from the lot of parcel id {prop.parcel_id!r}, which was "
        "used: one of the two is wrong"
    )
    notes = filter(None, (lot.boundary.note, note))
    return Lot(replace(lot.boundary, note="; ".join(notes)))


def _fill(
    results: list[LookupResult], indexes: Iterable[int], found: Sequence[LookupResult]
) -> None:
    for i, result in zip(indexes, found, strict=True):
        results[i] = result


def _source_of(county: County, cache: ParcelCache | None) -> ParcelSource:
    if county.source == "synthetic":
        raise SourceMisconfigured(
            f"county {county.key!r} is synthetic: its parcels are generated by a batch, and the "
            "service needs a county with a 'path' or a 'url'"
        )
    # Imported late: importing pyarrow and GDAL takes a moment, and only a file needs them.
    if county.source == "file":
        from parcels.files import FileSource

        return FileSource(county)
    from parcels.arcgis import ArcGISSource

    source = ArcGISSource(county)
    if cache is None:
        return source
    from parcels.cache import CachedSource, LayerKey

    return CachedSource(source, cache, LayerKey.of(county))

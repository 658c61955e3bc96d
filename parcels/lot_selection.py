"""From the rows at a point, or near it, to one lot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from parcels.addresses.matching import (
    has_house_number,
    is_other_city,
    is_other_unit,
    match_rank,
    may_match,
)
from parcels.addresses.street_address import StreetAddress
from parcels.errors import GeometryError
from parcels.measure import area_m2, areas_m2, buffer_m, polygonal
from parcels.parcel_source import ParcelRow

# A centimetre from north to south, and less from east to west: the noise of coordinates that
# were projected, rounded, or drawn twice. No two lots are so alike.
SAME_PLACE_DEGREES = 9e-8
# Further from its point a lot is not at it: a server asked for what it has in a bounding box may
# say so all the same. Less than this is a datum step.
_AT_POINT_M = 2.0
# What stands where there is no id: no lot is told from another by it.
_PLACEHOLDER = re.compile(
    r"[\W_0]*|R/?O?/?W|RIGHTS?[ -]?OF[ -]?WAY|ROADS?|STREETS?|ALLEYS?|HIGHWAYS?|RAIL(ROAD|WAY)|RR"
    r"|WATER|HYDRO|RIVER|LAKE|UNKNOWN|N/A",
    re.IGNORECASE,
)
# Of more pieces, or such as lie some 2 km from the largest, the id is that of many lots.
_MOST_PIECES = 20
_FARTHEST_DEGREES = 0.02
_GEOD = Geod(ellps="WGS84")


def is_placeholder(parcel_id: str) -> bool:
    """Whether it stands where there is no id: "ROW", "0", "UNKNOWN"."""
    return _PLACEHOLDER.fullmatch(parcel_id.strip()) is not None


@dataclass(frozen=True, slots=True)
class LotCandidate:
    """A geometry, and the rows that have it: stacked condominiums are many rows in one place."""

    geometry: MultiPolygon
    rows: tuple[ParcelRow, ...]

    @property
    def parcel_ids(self) -> tuple[str, ...]:
        """Every id that the county has for it, in order."""
        ids = {hit.parcel_id for hit in self.rows if hit.parcel_id is not None}
        return tuple(sorted(ids))

    def is_anonymous(self) -> bool:
        """Without an id and a house number, as rights of way and placeholders are."""
        return all(map(is_placeholder, self.parcel_ids)) and not self.has_house_number()

    def has_house_number(self) -> bool:
        """Whether a row of it has a house number."""
        return any(has_house_number(hit.site) for hit in self.rows)

    def may_match(self, wanted: StreetAddress) -> bool:
        """Whether a row of it has the number, and the street where the layer says one.

        A flat that has a place of its own must be the wanted one.
        """
        sites = [hit.site for hit in self.rows if may_match(hit.site, wanted)]
        return bool(sites) and not is_other_unit(sites, wanted)

    def match_rank(self, wanted: StreetAddress) -> tuple[int, ...]:
        """The best of its rows' `matching.match_rank`; empty where no street can be compared."""
        return max((match_rank(hit.site, wanted) or () for hit in self.rows), default=())


def lot_candidates(hits: Sequence[ParcelRow]) -> list[LotCandidate]:
    """The rows that have a geometry, by place: geometries within 1 cm of each other are the same.

    A place has the geometry of its first row by id, whatever the order in which rows came, so
    that the same lot asked for twice has the same bytes.
    """
    drawn = [hit for hit in hits if hit.geometry is not None]
    stacks: list[list[ParcelRow]] = []
    # Nearly every lot is alone in its place, and there are many.
    for hit in sorted(drawn, key=_by_id) if len(drawn) > 1 else drawn:
        stack = next((s for s in stacks if same_place(s[0].geometry, hit.geometry)), None)
        if stack is None:
            stacks.append([hit])
        else:
            stack.append(hit)
    return [LotCandidate(stack[0].geometry, tuple(stack)) for stack in stacks if stack[0].geometry]


def lot_with_id(parcel_id: str, hits: Sequence[ParcelRow]) -> LotCandidate | None:
    """The lot that the rows of an id are, together where the county keeps its pieces apart.

    None where there is no geometry; also where they are no one lot: see `is_placeholder`.
    """
    own = [hit for hit in hits if hit.parcel_id == parcel_id]
    if is_placeholder(parcel_id):
        return None
    if len(own) > _MOST_PIECES:
        shapes = {hit.geometry.wkb for hit in own if hit.geometry is not None}
        if len(shapes) > _MOST_PIECES:
            return None
    pieces = sorted(lot_candidates(own), key=lambda piece: -piece.geometry.area)
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    geometries = [piece.geometry for piece in pieces]
    if shapely.distance(geometries[0], geometries[1:]).max() > _FARTHEST_DEGREES:
        return None
    return LotCandidate(shapely.normalize(polygonal(shapely.union_all(geometries))), tuple(own))


def same_place(one: MultiPolygon | None, two: MultiPolygon | None) -> bool:
    """Whether two geometries are the same but for the noise of coordinates (1 cm)."""
    if one is None or two is None:
        return False
    if one is two:
        return True
    if np.abs(np.subtract(one.bounds, two.bounds)).max() > SAME_PLACE_DEGREES:
        return False
    if one == two:
        return True
    # GEOS's distance goes from the vertices of one to the edges of the other, and back.
    return bool(shapely.hausdorff_distance(one.boundary, two.boundary) <= SAME_PLACE_DEGREES)


def lot_at(
    point: Point, hits: Sequence[ParcelRow], wanted: StreetAddress | None = None
) -> LotCandidate | None:
    """The lot at a point, of those that contain or touch it; None where none does.

    Lots that contain the point strictly go before those that only touch it; then those with the
    wanted house number; then the smallest. What has neither an id nor a number is taken only
    where there is nothing else.
    """
    found = [place for place in lot_candidates(hits) if is_at_point(point, place.geometry)]
    named = [place for place in found if not place.is_anonymous()] or found
    inside = [p for p in named if shapely.contains_properly(p.geometry, point)] or named
    numbered = [p for p in inside if wanted is not None and p.may_match(wanted)] or inside
    if len(numbered) <= 1:
        return numbered[0] if numbered else None
    return numbered[int(areas_m2([place.geometry for place in numbered]).argmin())]


def is_at_point(point: Point, geometry: MultiPolygon) -> bool:
    """Whether an EPSG:4326 lot is at a point: it contains it, or is no more than 2 m away."""
    return bool(geometry.intersects(point) or distances_m(point, [geometry])[0] <= _AT_POINT_M)


def lots_near_with_number(
    point: Point, hits: Sequence[ParcelRow], wanted: StreetAddress, distance_m: float
) -> list[LotCandidate]:
    """The lots within `distance_m` metres whose number and street agree, the nearest first.

    Where no street is known, the number is enough. Those that agree best go before the others:
    see `matching.match_rank`.
    """
    agreeing = [place for place in lot_candidates(hits) if place.may_match(wanted)]
    best = max((place.match_rank(wanted) for place in agreeing), default=())
    found = [place for place in agreeing if place.match_rank(wanted) == best]
    away_m = distances_m(point, [place.geometry for place in found])
    order = [int(i) for i in away_m.argsort(kind="stable") if away_m[i] <= distance_m]
    return _one_per_id([found[i] for i in order])


def lots_with_address(hits: Sequence[ParcelRow], wanted: StreetAddress) -> list[LotCandidate]:
    """The lots that have the address; several where it does not decide between them.

    Those that agree best go before the others: see `matching.match_rank`. Rows of one id are one
    lot, and the largest piece stands for it.
    """
    rated = [
        (match_rank(hit.site, wanted), hit) for hit in hits if not is_other_city(hit.site, wanted)
    ]
    best = max((rate for rate, _ in rated if rate is not None), default=None)
    if best is None:
        return []
    agreeing = lot_candidates([hit for rate, hit in rated if rate == best])
    found = [place for place in agreeing if place.may_match(wanted)]
    return _one_per_id(sorted(found, key=lambda place: -area_m2(place.geometry)))


def _one_per_id(found: Sequence[LotCandidate]) -> list[LotCandidate]:
    """The first of those that share an id: a lot of several pieces, each in a row of its own."""
    lots: list[LotCandidate] = []
    for place in found:
        if not any(set(place.parcel_ids) & set(lot.parcel_ids) for lot in lots):
            lots.append(place)
    return lots


def circle_around(point: Point, distance_m: float) -> MultiPolygon:
    """Everything so near to an EPSG:4326 point, as EPSG:4326; empty at a pole, where no lot is."""
    try:
        return buffer_m(point, distance_m)
    except GeometryError:
        return MultiPolygon()


def distances_m(point: Point, geometries: Sequence[BaseGeometry]) -> NDArray[np.float64]:
    """The distances (n,) in metres from an EPSG:4326 point to geometries close by; 0 inside.

    Degrees are scaled to metres at the point, which is right to 0.1 % within a kilometre.
    """
    x, y = point.x, point.y
    scale = _GEOD.inv(x, y, x + 1e-4, y)[2] * 1e4, _GEOD.inv(x, y, x, y + 1e-4)[2] * 1e4
    local = shapely.transform(
        np.asarray(geometries, dtype=object), lambda degrees: (degrees - (x, y)) * scale
    )
    return np.asarray(shapely.distance(local, Point(0, 0)), dtype=np.float64)


def _by_id(hit: ParcelRow) -> tuple[str, bytes]:
    return hit.parcel_id or "", b"" if hit.geometry is None else shapely.to_wkb(hit.geometry)

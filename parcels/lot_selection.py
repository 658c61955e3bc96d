"""Selects one lot from the rows at or near a point, with an id, or with an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from parcels.addresses.matching import (
    address_key,
    has_house_number,
    is_namesake,
    is_other_city,
    is_other_unit,
    match_rank,
    may_match,
)
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_agreement import Agreement
from parcels.errors import GeometryError
from parcels.measure import area_m2, areas_m2, buffer_m, local_scale_m, polygonal
from parcels.not_a_lot import not_a_lot_reason
from parcels.parcel_source import ParcelRow
from parcels.placeholders import is_placeholder

# 1 cm north to south, less east to west: the noise of coordinates that were projected, rounded or
# digitized twice. Two different lots are never this similar.
SAME_PLACE_DEGREES = 9e-8
# A lot farther than this is not at the point: some servers return everything in the bounding box.
# Smaller distances come from datum transformations.
_AT_POINT_M = 2.0
# An id with more pieces, or with pieces farther than about 2 km, belongs to several lots.
_MAX_PIECES = 20
_MAX_PIECE_DISTANCE_DEGREES = 0.02


@dataclass(frozen=True, slots=True)
class LotCandidate:
    """A geometry and all rows that have it: stacked condominiums share one."""

    geometry: MultiPolygon
    rows: tuple[ParcelRow, ...]

    @property
    def parcel_ids(self) -> tuple[str, ...]:
        """Every parcel id of its rows, sorted."""
        ids = {row.parcel_id for row in self.rows if row.parcel_id is not None}
        return tuple(sorted(ids))

    def not_a_lot_reason(self) -> str:
        """Why it is not a lot (see `not_a_lot`); empty if any of its rows may be one."""
        first = ""
        for row in self.rows:
            reason = not_a_lot_reason(row)
            if not reason:
                return ""
            first = first or reason
        return first

    def is_anonymous(self) -> bool:
        """Whether it has neither an id nor a house number, like a right of way."""
        if self.not_a_lot_reason():
            return True
        return all(map(is_placeholder, self.parcel_ids)) and not self.has_house_number()

    def has_house_number(self) -> bool:
        """Whether any of its rows has a house number."""
        return any(has_house_number(row.site) for row in self.rows)

    def may_match(self, wanted: StreetAddress) -> bool:
        """Whether any row has the house number, and the street if the layer has one.

        A unit with a geometry of its own must be the wanted unit.
        """
        sites = [row.site for row in self.rows if may_match(row.site, wanted)]
        is_match = bool(sites) and not is_other_unit(sites, wanted)
        return is_match and not self.not_a_lot_reason()

    def match_rank(self, wanted: StreetAddress) -> tuple[int, ...]:
        """The best `matching.match_rank` of its rows; empty if no street can be compared."""
        return max((match_rank(row.site, wanted) or () for row in self.rows), default=())

    def best_site(self, wanted: StreetAddress) -> SiteAddress | None:
        """The address of the row that matches best."""
        sites = [row.site for row in self.rows]
        return max(sites, key=lambda site: match_rank(site, wanted) or (), default=None)

    def has_exactly(self, wanted: StreetAddress) -> bool:
        """Whether nothing of the address is missing or in another order.

        In a layer without streets the house number is all there is.
        """
        rank = self.match_rank(wanted)
        return not rank or rank[0] == Agreement.EXACT

    def is_namesake(self, wanted: StreetAddress) -> bool:
        """Whether it has the house number, but in another street, such as S of the wanted N."""
        sites = [row.site for row in self.rows if has_house_number(row.site)]
        return bool(sites) and all(is_namesake(site, wanted) for site in sites)


def lot_candidates(rows: Sequence[ParcelRow]) -> list[LotCandidate]:
    """The rows grouped by geometry; geometries within 1 cm are the same.

    A group has the geometry of its first row by id, so that the same lot always has the same
    bytes, in whatever order the rows come.
    """
    drawn = [row for row in rows if row.geometry is not None]
    if len(drawn) == 1:  # most calls
        return [LotCandidate(row.geometry, (row,)) for row in drawn if row.geometry]
    stacks: list[list[ParcelRow]] = []
    by_wkb: dict[bytes, list[ParcelRow]] = {}  # the rows of a stack mostly have equal bytes
    wkbs: list[bytes] = shapely.to_wkb([row.geometry for row in drawn]).tolist()
    by_id = sorted(zip(drawn, wkbs, strict=True), key=lambda key: (key[0].parcel_id or "", key[1]))
    for row, wkb in by_id:
        if wkb not in by_wkb:
            stack = next((s for s in stacks if same_place(s[0].geometry, row.geometry)), [])
            if not stack:
                stacks.append(stack)
            by_wkb[wkb] = stack
        by_wkb[wkb].append(row)
    return [LotCandidate(stack[0].geometry, tuple(stack)) for stack in stacks if stack[0].geometry]


def lot_with_id(parcel_id: str, rows: Sequence[ParcelRow]) -> LotCandidate | None:
    """The lot of an id: the union of its rows, if the county stores pieces in separate rows.

    None without a geometry, or if the rows are not one lot, for example a placeholder id.
    """
    own = [row for row in rows if row.parcel_id == parcel_id and not not_a_lot_reason(row)]
    if is_placeholder(parcel_id):
        return None
    if len(own) > _MAX_PIECES:
        shapes = {row.geometry.wkb for row in own if row.geometry is not None}
        if len(shapes) > _MAX_PIECES:
            return None
    pieces = sorted(lot_candidates(own), key=lambda piece: -piece.geometry.area)
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    geometries = [piece.geometry for piece in pieces]
    if shapely.distance(geometries[0], geometries[1:]).max() > _MAX_PIECE_DISTANCE_DEGREES:
        return None
    return LotCandidate(shapely.normalize(polygonal(shapely.union_all(geometries))), tuple(own))


def missing_pieces_note(rows: Sequence[ParcelRow]) -> str:
    """A note if some of a lot's rows have no usable geometry; else empty."""
    missing = sum(row.geometry is None for row in rows)
    if not missing:
        return ""
    return f"{missing} of {len(rows)} rows of the lot have no usable geometry and are not measured"


def same_place(one: MultiPolygon | None, two: MultiPolygon | None) -> bool:
    """Whether two geometries are equal within 1 cm, the noise of coordinates."""
    if one is None or two is None:
        return False
    if one is two or shapely.equals_exact(one, two):
        return True
    if np.abs(np.subtract(one.bounds, two.bounds)).max() > SAME_PLACE_DEGREES:
        return False
    # GEOS measures from the vertices of one to the edges of the other, both ways.
    return bool(shapely.hausdorff_distance(one.boundary, two.boundary) <= SAME_PLACE_DEGREES)


def lot_at(
    point: Point, rows: Sequence[ParcelRow], wanted: StreetAddress | None = None
) -> LotCandidate | None:
    """The lot at a point, of those that contain or touch it; None if there is none.

    Priority: lots that strictly contain the point, then those with the wanted house number, then
    the smallest. A lot with neither an id nor a house number is the last resort.
    """
    found = [place for place in lot_candidates(rows) if is_at_point(point, place.geometry)]
    named = [place for place in found if not place.is_anonymous()] or found
    inside = [p for p in named if shapely.contains_properly(p.geometry, point)] or named
    matching = [p for p in inside if wanted is not None and p.may_match(wanted)]
    numbered = _best(matching, wanted) if wanted is not None and matching else inside
    if len(numbered) <= 1:
        return numbered[0] if numbered else None
    return numbered[int(areas_m2([place.geometry for place in numbered]).argmin())]


def is_at_point(point: Point, geometry: MultiPolygon) -> bool:
    """Whether an EPSG:4326 lot contains a point, or is at most 2 m away."""
    return bool(geometry.intersects(point) or distances_m(point, [geometry])[0] <= _AT_POINT_M)


def lots_near_with_number(
    point: Point, rows: Sequence[ParcelRow], wanted: StreetAddress, distance_m: float
) -> list[LotCandidate]:
    """The best matching lots within `distance_m` metres by number and street, nearest first.

    Without a street the number is enough. Only lots with the best `matching.match_rank` count, and
    those in the wanted city if there are any. If their addresses differ (`have_other_addresses`),
    the distance must not decide between them.
    """
    matching = [place for place in lot_candidates(rows) if place.may_match(wanted)]
    here = [p for p in matching if not is_other_city(p.best_site(wanted), wanted)]
    found = _best(here or matching, wanted)
    lot_distances_m = distances_m(point, [place.geometry for place in found])
    order = [
        int(i) for i in lot_distances_m.argsort(kind="stable") if lot_distances_m[i] <= distance_m
    ]
    return _one_per_id([found[i] for i in order])


def lots_with_address(rows: Sequence[ParcelRow], wanted: StreetAddress) -> list[LotCandidate]:
    """The lots with the address; several if it is ambiguous.

    Only lots with the best `matching.match_rank` count. Rows of one id are one lot, represented by
    its largest piece.
    """
    matching = [
        row
        for row in rows
        if match_rank(row.site, wanted) is not None and not is_other_city(row.site, wanted)
    ]
    found = _best([p for p in lot_candidates(matching) if p.may_match(wanted)], wanted)
    return _one_per_id(sorted(found, key=lambda place: -area_m2(place.geometry)))


def have_other_addresses(lots: Sequence[LotCandidate], wanted: StreetAddress) -> bool:
    """Whether the lots differ in an address that the wanted one may be: N and S of one street."""
    return len({address_key(lot.best_site(wanted)) for lot in lots}) > 1


def _best(lots: Sequence[LotCandidate], wanted: StreetAddress) -> list[LotCandidate]:
    ranked = [(lot.match_rank(wanted), _street_key(lot.best_site(wanted))) for lot in lots]
    best = _best_ranks(ranked)
    return [
        lot for lot, (rank, street) in zip(lots, ranked, strict=True) if best.get(street) == rank
    ]


def _best_ranks(
    ranked: Sequence[tuple[tuple[int, ...], str | None]],
) -> dict[str | None, tuple[int, ...]]:
    """The best rank of each street that agrees best.

    Number and unit decide between lots of one street, not between N and S of it.
    """
    best = max((rank for rank, _ in ranked), default=())
    if not best or best[0] != Agreement.LOOSE:
        return {street: best for rank, street in ranked if rank == best}
    of_street: dict[str | None, tuple[int, ...]] = {}
    for rank, street in ranked:
        if rank[:1] == best[:1]:
            of_street[street] = max(rank, of_street.get(street, rank))
    return of_street


def _street_key(site: SiteAddress | None) -> str | None:
    return address_key(site)[1] if site is not None else None


def _one_per_id(found: Sequence[LotCandidate]) -> list[LotCandidate]:
    """The first of those that share an id: the pieces of one lot, each in its own row."""
    lots: list[LotCandidate] = []
    for place in found:
        if not any(set(place.parcel_ids) & set(lot.parcel_ids) for lot in lots):
            lots.append(place)
    return lots


def circle_around(point: Point, distance_m: float) -> MultiPolygon:
    """The circle around an EPSG:4326 point, in EPSG:4326; empty at a pole."""
    try:
        return buffer_m(point, distance_m)
    except GeometryError:
        return MultiPolygon()


def distances_m(point: Point, geometries: Sequence[BaseGeometry]) -> NDArray[np.float64]:
    """The distances (n,) in metres from an EPSG:4326 point to nearby geometries; 0 inside.

    Degrees are scaled to metres at the point, which is accurate to 0.1 % within a kilometre.
    """
    x, y = point.x, point.y
    scale = local_scale_m(x, y)
    local = shapely.transform(
        np.asarray(geometries, dtype=object), lambda degrees: (degrees - (x, y)) * scale
    )
    return np.asarray(shapely.distance(local, Point(0, 0)), dtype=np.float64)

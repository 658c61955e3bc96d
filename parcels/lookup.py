"""Asks a source for lots, and answers: lot, none, unavailable, or not located."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import shapely
from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.boundary import (
    Boundary,
    Located,
    LookupResult,
    Lot,
    Method,
    NoLot,
    NotLocated,
    Unavailable,
)
from parcels.errors import ParcelsError, SourceUnavailable
from parcels.lot_selection import (
    LotCandidate,
    is_placeholder,
    lot_at,
    lot_candidates,
    lot_with_id,
    lots_near_with_number,
    same_place,
)
from parcels.measure import areas_m2
from parcels.parcel_source import ParcelRow, ParcelSource, QueryResult, query_all
from parcels.registry.county import County

# How far from a point in the street the lot may lie that has the house number.
NEAR_LOT_RADIUS_M = 40.0

_Question = TypeVar("_Question")


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """Where to look for a lot, and the address that it should have, where that is known."""

    located: Located
    wanted: StreetAddress | None = None

    @property
    def needs_the_number(self) -> bool:
        """Whether nothing may be measured there before a lot's house number agrees."""
        return self.located.interpolated or self.located.method == "parcel_layer"


class LotLookup:
    """Lots by parcel id and by place. It does not raise for a source that fails.

    A lot is the same however it is found: with every piece that the county has of it, and with
    the ids of all that are stacked there.

    Attributes:
        has_house_numbers: whether lots can be told by their house numbers.
    """

    def __init__(self, county: County, source: ParcelSource) -> None:
        self._source = source
        fields = county.fields
        self.has_house_numbers = fields.address is not None or fields.house_number is not None
        self._has_ids = fields.parcel_id is not None

    def by_id(self, parcel_ids: Sequence[str]) -> list[LookupResult]:
        """For each parcel id, in order."""
        found = query_all(self._source.with_ids, parcel_ids)
        answers = [_of_id(*asked) for asked in zip(parcel_ids, found, strict=True)]
        lots = _lots(answers)
        inside = [shapely.point_on_surface(lot.boundary.geometry) for lot in lots.values()]
        # What a server has for an id is that id's own rows.
        _complete(answers, lots, query_all(self._source.at_points, inside), _stack_of)
        return _measured(answers)

    def at(self, spots: Sequence[SearchPoint]) -> list[LookupResult]:
        """For each spot, in order: the lot there, else the nearest with the house number."""
        points = _points(spots)
        found = query_all(self._source.at_points, points)
        first = [self._at(*asked) for asked in zip(spots, points, found, strict=True)]
        answers = [answer for answer, _ in first]
        astray = {i: wanted for i, (_, wanted) in enumerate(first) if wanted is not None}
        near = query_all(
            lambda points: self._source.near_points(points, NEAR_LOT_RADIUS_M),
            [points[i] for i in astray],
        )
        for (i, wanted), rows in zip(astray.items(), near, strict=True):
            answers[i] = _near(spots[i], points[i], wanted, rows) or answers[i]
        lots = {i: lot for i, lot in _lots(answers).items() if _only_id(lot)}
        ids = [_only_id(lot) for lot in lots.values()]
        _complete(answers, lots, query_all(self._source.with_ids, ids), _pieces_of)
        return _measured(answers)

    def _at(
        self, spot: SearchPoint, point: Point, rows: QueryResult | ParcelsError
    ) -> tuple[LookupResult, StreetAddress | None]:
        """The answer so far, and the address that a lot nearby may have with more right."""
        if isinstance(rows, ParcelsError):
            return as_unavailable(rows), None
        lot = lot_at(point, rows.rows, spot.wanted)
        if lot is not None and self._has_ids and lot.is_anonymous():
            lot = None  # a right of way: where lots have ids, this is none
        if not _has_number(lot, spot) and _hides_another(lot, rows.rows):
            # The row that cannot be drawn may be the lot, and not the road, the neighbour's, or
            # the subdivision around it.
            return _bad_geometry(f"longitude {point.x}, latitude {point.y}", rows), None
        elsewhere = spot.wanted if self.has_house_numbers and not _has_number(lot, spot) else None
        if spot.needs_the_number:
            return self._confirmed(spot, lot, rows), elsewhere
        if lot is None:
            return NoLot(spot.located), elsewhere
        # A geocoder's point at the house may have strayed into the neighbour's lot, and a lot
        # without a number may be the road; else coordinates that were given are the user's word.
        is_sure = spot.located.method == "given" and lot.has_house_number()
        return _lot(lot, rows, "point", spot.located), None if is_sure else elsewhere

    def _confirmed(
        self, spot: SearchPoint, lot: LotCandidate | None, rows: QueryResult
    ) -> LookupResult:
        """The lot at a point that alone says nothing, if its number agrees."""
        if _has_number(lot, spot) and lot is not None:
            method: Method = "address" if spot.located.method == "parcel_layer" else "point"
            return _lot(lot, rows, method, spot.located)
        line = spot.wanted.line if spot.wanted is not None else spot.located.matched
        there = "not one lot alone, there or within 40 m, has that house number"
        if not self.has_house_numbers:
            there = "no column of house numbers is mapped that says which lot it is"
        return NotLocated(
            "address_unconfirmed",
            f"address {line!r}: {spot.located.method} puts it at longitude "
            f"{spot.located.longitude}, latitude {spot.located.latitude}, reckoned along the "
            f"street, and {there}; give longitude and latitude, or a parcel_id",
        )


def _points(spots: Sequence[SearchPoint]) -> list[Point]:
    """Where the spots are, in EPSG:4326: made together, for one by one is slow."""
    lot_candidates = [(spot.located.longitude, spot.located.latitude) for spot in spots]
    return list(shapely.points(np.asarray(lot_candidates, dtype=np.float64).reshape(-1, 2)))


def _has_number(lot: LotCandidate | None, spot: SearchPoint) -> bool:
    return lot is not None and spot.wanted is not None and lot.may_match(spot.wanted)


def _hides_another(lot: LotCandidate | None, hits: Sequence[ParcelRow]) -> bool:
    """Whether a row that cannot be drawn may be the lot, as it is no piece of this one."""
    ids = lot.parcel_ids if lot is not None else ()
    return any(hit.geometry is None and hit.parcel_id not in ids for hit in hits)


def _near(
    spot: SearchPoint, point: Point, wanted: StreetAddress, rows: QueryResult | ParcelsError
) -> LookupResult | None:
    if isinstance(rows, ParcelsError):
        return as_unavailable(rows)
    lots = lots_near_with_number(point, rows.rows, wanted, NEAR_LOT_RADIUS_M)
    if not lots or (len(lots) > 1 and spot.needs_the_number):
        return None  # two houses with the number: a point in the road cannot tell which
    return _lot(lots[0], rows, "house_number", spot.located)


def _of_id(parcel_id: str, rows: QueryResult | ParcelsError) -> LookupResult:
    if isinstance(rows, ParcelsError):
        return as_unavailable(rows)
    own = [hit for hit in rows.rows if hit.parcel_id == parcel_id]
    if own and all(hit.geometry is None for hit in own):
        return _bad_geometry(f"parcel id {parcel_id!r}", rows)
    lot = lot_with_id(parcel_id, own)
    return NoLot() if lot is None else _lot(lot, rows, "parcel_id", None)


def _lots(answers: Sequence[LookupResult]) -> dict[int, Lot]:
    return {i: answer for i, answer in enumerate(answers) if isinstance(answer, Lot)}


def _only_id(lot: Lot) -> str:
    """The id whose rows are this lot's pieces; empty where it has none, or is that of many."""
    ids = lot.boundary.parcel_ids
    return ids[0] if len(ids) == 1 and not is_placeholder(ids[0]) else ""


def _complete(
    answers: list[LookupResult],
    lots: Mapping[int, Lot],
    found: Iterable[QueryResult | ParcelsError],
    whole_of: Callable[[Lot, Sequence[ParcelRow]], LotCandidate | None],
) -> None:
    """Put in the place of lots what they are as a whole, by a second question for each of them.

    An outage may hide that, and so there is no answer; a source that cannot be asked leaves them.
    """
    for (i, lot), rows in zip(lots.items(), found, strict=True):
        whole = whole_of(lot, rows.rows) if isinstance(rows, QueryResult) else None
        if isinstance(rows, SourceUnavailable):
            answers[i] = as_unavailable(rows)
        elif whole is not None:
            answers[i] = Lot(
                replace(lot.boundary, geometry=whole.geometry, parcel_ids=whole.parcel_ids)
            )


def _stack_of(lot: Lot, hits: Sequence[ParcelRow]) -> LotCandidate | None:
    """Of the rows at a point of the lot, those that have its place."""
    geometry = lot.boundary.geometry
    return next((p for p in lot_candidates(hits) if same_place(p.geometry, geometry)), None)


def _pieces_of(lot: Lot, hits: Sequence[ParcelRow]) -> LotCandidate | None:
    """Of the rows with the lot's only id, the lot that they are, if it is more than this piece."""
    whole, piece = lot_with_id(_only_id(lot), hits), lot.boundary.geometry
    if whole is None or same_place(whole.geometry, piece):
        return None
    return whole if any(same_place(hit.geometry, piece) for hit in whole.rows) else None


def _measured(answers: list[LookupResult]) -> list[LookupResult]:
    """The answers, with the areas of their lots: measured together, for one by one is slow."""
    lots = _lots(answers)
    sizes_m2 = areas_m2(lot.boundary.geometry for lot in lots.values())
    for (i, lot), size_m2 in zip(lots.items(), sizes_m2, strict=True):
        answers[i] = Lot(replace(lot.boundary, area_m2=float(size_m2)))
    return answers


def _lot(lot: LotCandidate, rows: QueryResult, method: Method, located: Located | None) -> Lot:
    """A lot that `_measured` gives its area."""
    return Lot(
        Boundary(
            geometry=lot.geometry,
            source="lot",
            area_m2=math.nan,
            method=method,
            origin=rows.origin,
            parcel_ids=lot.parcel_ids,
            fetched_at=rows.fetched_at,
            located=located,
        )
    )


def as_unavailable(error: ParcelsError) -> Unavailable:
    """The answer where a source or a geocoder could give none."""
    for_now = isinstance(error, SourceUnavailable)
    return Unavailable(str(error), "unavailable" if for_now else "misconfigured")


def _bad_geometry(what: str, rows: QueryResult) -> Unavailable:
    return Unavailable(
        f"{rows.origin}: the lot of {what} has a geometry that cannot be repaired; "
        "report it to the county",
        "bad_geometry",
    )

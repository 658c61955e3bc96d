"""LotLookup: parcel ids or points -> lot, no lot, unavailable, or not located."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely import Point

from parcels.addresses.matching import format_site
from parcels.addresses.street_address import StreetAddress
from parcels.ambiguity import ambiguous_lots
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
from parcels.lost_zeros import PaddedResults, lost_zeros_note, query_padded
from parcels.lot_selection import (
    LotCandidate,
    have_other_addresses,
    lot_at,
    lot_candidates,
    lot_with_id,
    lots_near_with_number,
    missing_pieces_note,
    same_place,
)
from parcels.measure import areas_m2
from parcels.not_a_lot import not_a_lot_reason
from parcels.parcel_source import ParcelRow, ParcelSource, QueryResult, query_all
from parcels.placeholders import is_placeholder
from parcels.registry.county import County
from parcels.street_lots import not_taken, reject_streets

# Search radius around a point in the street for the lot with the house number.
NEAR_LOT_RADIUS_M = 40.0


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """Where to search a lot, and the address that it should have, if known."""

    located: Located
    wanted: StreetAddress | None = None

    @property
    def needs_house_number(self) -> bool:
        """Whether a lot counts only if its house number matches."""
        return self.located.interpolated or self.located.method == "parcel_layer"


class LotLookup:
    """Finds lots by parcel id and by point. A failed source does not raise.

    A lot is the same however it is found: with all of its pieces, and with the ids of all lots
    stacked at the same place.

    Attributes:
        has_house_numbers: whether lots can be compared by house number.
    """

    def __init__(self, county: County, source: ParcelSource) -> None:
        self._source = source
        fields = county.fields
        self.has_house_numbers = fields.address is not None or fields.house_number is not None
        self._has_ids = fields.parcel_id is not None

    def by_id(self, parcel_ids: Sequence[str]) -> list[LookupResult]:
        """For each parcel id, in order."""
        found = query_all(self._source.with_ids, parcel_ids)
        results = [_lot_of_id(*each) for each in zip(parcel_ids, found, strict=True)]
        self._search_lost_zeros(parcel_ids, found, results)
        lots = _lots(results)
        inside = [shapely.point_on_surface(lot.boundary.geometry) for lot in lots.values()]
        # A query by id returns only that id: the stacked ones need a query by point.
        _complete(results, lots, query_all(self._source.at_points, inside), _stack_of)
        return _with_areas(results)

    def _search_lost_zeros(
        self,
        parcel_ids: Sequence[str],
        found: Sequence[QueryResult | ParcelsError],
        results: list[LookupResult],
    ) -> None:
        """Replace the result of each id that has no row but, with leading zeros, one lot."""
        absent = [
            i
            for i, result in enumerate(found)
            if isinstance(result, QueryResult) and not result.rows
        ]
        padded = query_padded(self._source, [parcel_ids[i] for i in absent])
        for i, answers in zip(absent, padded, strict=True):
            results[i] = _lot_with_zeros(parcel_ids[i], answers) or results[i]

    def at(self, search_points: Sequence[SearchPoint]) -> list[LookupResult]:
        """For each point, in order: the lot there, else the nearest with the house number."""
        points = _points(search_points)
        found = query_all(self._source.at_points, points)
        first = [self._at(*each) for each in zip(search_points, points, found, strict=True)]
        results = [result for result, _ in first]
        for i, street in reject_streets(self._source, points, found, results).items():
            if isinstance(street, ParcelsError):
                results[i] = as_unavailable(street)
            else:
                results[i] = self._below(search_points[i], points[i], found[i], results[i], street)
        unmatched = {i: wanted for i, (_, wanted) in enumerate(first) if wanted is not None}
        near = query_all(
            lambda points: self._source.near_points(points, NEAR_LOT_RADIUS_M),
            [points[i] for i in unmatched],
        )
        for (i, wanted), rows in zip(unmatched.items(), near, strict=True):
            results[i] = _near(search_points[i], points[i], wanted, rows) or results[i]
        lots = {i: lot for i, lot in _lots(results).items() if _only_id(lot)}
        ids = [_only_id(lot) for lot in lots.values()]
        _complete(results, lots, query_all(self._source.with_ids, ids), _pieces_of)
        return _with_areas(results)

    def _at(
        self, search: SearchPoint, point: Point, found: QueryResult | ParcelsError
    ) -> tuple[LookupResult, StreetAddress | None]:
        """The result at the point, and the address to search nearby for a better lot, if any."""
        if isinstance(found, ParcelsError):
            return as_unavailable(found), None
        lot = lot_at(point, found.rows, search.wanted)
        reason = "" if lot is None else self._not_a_lot_reason(lot)
        if reason:
            lot = None
        if not _has_house_number(lot, search) and _hides_another(lot, found.rows):
            # The row without a valid geometry may be the lot, instead of the road, the neighbour
            # or the surrounding subdivision.
            return _bad_geometry(f"longitude {point.x}, latitude {point.y}", found), None
        search_nearby = self.has_house_numbers and not _is_certain(lot, search, point)
        nearby = search.wanted if search_nearby else None
        if search.needs_house_number:
            return self._confirmed(search, lot, found), nearby
        if lot is None:
            return NoLot(search.located, not_taken(reason)), nearby
        # A geocoded point can be in the neighbour's lot, and a lot without a number can be the
        # road; given coordinates are trusted inside a lot.
        is_given = search.located.method == "given"
        is_trusted = search.wanted is None or (
            is_given and bool(shapely.contains_properly(lot.geometry, point))
        )
        if not is_trusted and _is_namesake(lot, search):  # HWY 6 S at a point for HWY 6 N
            return (NoLot(search.located) if is_given else _unconfirmed(search, lot)), nearby
        is_sure = is_trusted and lot.has_house_number()
        note = _other_address_note(lot, search)
        return _lot(lot, found, "point", search.located, note), None if is_sure else nearby

    def _below(
        self,
        search: SearchPoint,
        point: Point,
        found: QueryResult | ParcelsError,
        street: LookupResult,
        none: NoLot,
    ) -> LookupResult:
        """The lot below a street at the point, else `none`."""
        if not isinstance(found, QueryResult) or not isinstance(street, Lot):
            return none
        geometry = street.boundary.geometry
        rows = tuple(row for row in found.rows if not same_place(row.geometry, geometry))
        result, _ = self._at(search, point, replace(found, rows=rows))
        return none if isinstance(result, NoLot) else result

    def _not_a_lot_reason(self, lot: LotCandidate) -> str:
        # Sources mark rows without an id (`lacks_id`), also if the column was guessed; a source of
        # the caller's own may not.
        reason = lot.not_a_lot_reason()
        return (
            "it has no parcel id" if not reason and self._has_ids and lot.is_anonymous() else reason
        )

    def _confirmed(
        self, search: SearchPoint, lot: LotCandidate | None, found: QueryResult
    ) -> LookupResult:
        """The lot at an uncertain point, if its house number matches."""
        if _has_house_number(lot, search) and lot is not None:
            method: Method = "address" if search.located.method == "parcel_layer" else "point"
            return _lot(lot, found, method, search.located)
        line = search.wanted.line if search.wanted is not None else search.located.matched
        reason = "not exactly one lot there or within 40 m has that house number"
        if not self.has_house_numbers:
            reason = "no house number column is mapped to confirm the lot"
        return NotLocated(
            "address_unconfirmed",
            f"address {line!r}: {search.located.method} places it at longitude "
            f"{search.located.longitude}, latitude {search.located.latitude}, interpolated along "
            f"the street, and {reason}; give longitude and latitude, or a parcel_id",
        )


def _points(search_points: Sequence[SearchPoint]) -> list[Point]:
    """The points in EPSG:4326, created in one vectorized call."""
    coordinates = [(each.located.longitude, each.located.latitude) for each in search_points]
    return list(shapely.points(np.asarray(coordinates, dtype=np.float64).reshape(-1, 2)))


def _has_house_number(lot: LotCandidate | None, search: SearchPoint) -> bool:
    return lot is not None and search.wanted is not None and lot.may_match(search.wanted)


def _is_certain(lot: LotCandidate | None, search: SearchPoint, point: Point) -> bool:
    """Whether no other lot nearby can have the address instead.

    A lot that leaves out a direction or the suffix must contain the point.
    """
    if lot is None or search.wanted is None or not lot.may_match(search.wanted):
        return False
    is_inside = not search.located.interpolated and shapely.contains_properly(lot.geometry, point)
    return bool(is_inside) or lot.has_exactly(search.wanted)


def _is_namesake(lot: LotCandidate, search: SearchPoint) -> bool:
    return search.wanted is not None and lot.is_namesake(search.wanted)


def _other_address_note(lot: LotCandidate, search: SearchPoint) -> str:
    """A note if the lot at given coordinates has another address than the property."""
    if search.wanted is None or not lot.has_house_number() or lot.may_match(search.wanted):
        return ""
    return (
        f"the lot at the point has the address {_addresses(lot)}, not "
        f"{search.wanted.line!r}: one of the two is wrong"
    )


def _unconfirmed(search: SearchPoint, lot: LotCandidate) -> NotLocated:
    wanted = search.wanted.line if search.wanted is not None else search.located.matched
    return NotLocated(
        "address_unconfirmed",
        f"address {wanted!r}: {search.located.method} places it in a lot with the address "
        f"{_addresses(lot)}; give longitude and latitude, or a parcel_id",
    )


def _addresses(lot: LotCandidate) -> str:
    """Up to three addresses of a lot, for a message."""
    return "; ".join(sorted({format_site(row.site) for row in lot.rows})[:3])


def _hides_another(lot: LotCandidate | None, rows: Sequence[ParcelRow]) -> bool:
    """Whether a row without a valid geometry, and not a piece of this lot, may be the lot."""
    ids = lot.parcel_ids if lot is not None else ()
    return any(row.geometry is None and row.parcel_id not in ids for row in rows)


def _near(
    search: SearchPoint, point: Point, wanted: StreetAddress, found: QueryResult | ParcelsError
) -> LookupResult | None:
    if isinstance(found, ParcelsError):
        return as_unavailable(found)
    lots = lots_near_with_number(point, found.rows, wanted, NEAR_LOT_RADIUS_M)
    if have_other_addresses(lots, wanted):
        return ambiguous_lots(wanted, lots, f" within {NEAR_LOT_RADIUS_M:.0f} m")
    if not lots or (len(lots) > 1 and search.needs_house_number):
        return None  # two houses have the number: a point in the road cannot decide
    return _lot(lots[0], found, "house_number", search.located)


def _lot_of_id(parcel_id: str, found: QueryResult | ParcelsError) -> LookupResult:
    if isinstance(found, ParcelsError):
        return as_unavailable(found)
    own = [row for row in found.rows if row.parcel_id == parcel_id]
    if own and all(row.geometry is None for row in own):
        return _bad_geometry(f"parcel id {parcel_id!r}", found)
    lot = lot_with_id(parcel_id, own)
    if lot is not None:
        return _lot(lot, found, "parcel_id", None, missing_pieces_note(own))
    reason = next(iter(filter(None, map(not_a_lot_reason, own))), "")
    if own and not reason:
        reason = f"{len(own)} polygons have this id, too many or too far apart for one lot"
    return NoLot(detail=not_taken(reason))


def _lot_with_zeros(parcel_id: str, answers: PaddedResults) -> LookupResult | None:
    """The one lot of the padded ids, or all of them if there are several; None without any."""
    error = next((one for one in answers.values() if isinstance(one, ParcelsError)), None)
    if error is not None:
        return as_unavailable(error)
    results = {padded: _lot_of_id(padded, found) for padded, found in answers.items()}
    known = {padded: one for padded, one in results.items() if not isinstance(one, NoLot)}
    if len(known) != 1:
        return NoLot(similar_ids=tuple(known)) if known else None
    [(padded, result)] = known.items()
    if not isinstance(result, Lot):
        return result
    note = lost_zeros_note(parcel_id, padded)
    return Lot(replace(result.boundary, note=note))


def _lots(results: Sequence[LookupResult]) -> dict[int, Lot]:
    return {i: result for i, result in enumerate(results) if isinstance(result, Lot)}


def _only_id(lot: Lot) -> str:
    """The id of the rows that are this lot's pieces; empty without an id, or with several."""
    ids = lot.boundary.parcel_ids
    return ids[0] if len(ids) == 1 and not is_placeholder(ids[0]) else ""


def _complete(
    results: list[LookupResult],
    lots: Mapping[int, Lot],
    found: Iterable[QueryResult | ParcelsError],
    complete_lot: Callable[[Lot, Sequence[ParcelRow]], LotCandidate | None],
) -> None:
    """Replace each lot by its complete form, found by a second query for each lot.

    If that query is unavailable the lot may be incomplete, so the result is `Unavailable`; if it
    is not possible at all (no id column), the lot stays as it is.
    """
    for (i, lot), second in zip(lots.items(), found, strict=True):
        if isinstance(second, SourceUnavailable):
            results[i] = as_unavailable(second)
        if not isinstance(second, QueryResult):
            continue
        boundary = lot.boundary
        own = [row for row in second.rows if row.parcel_id in boundary.parcel_ids]
        boundary = replace(boundary, note=boundary.note or missing_pieces_note(own))
        complete = complete_lot(lot, second.rows)
        if complete is not None:
            boundary = replace(boundary, geometry=complete.geometry, parcel_ids=complete.parcel_ids)
        results[i] = Lot(boundary)


def _stack_of(lot: Lot, rows: Sequence[ParcelRow]) -> LotCandidate | None:
    """Of the rows at a point of the lot, those with its geometry."""
    geometry = lot.boundary.geometry
    return next((p for p in lot_candidates(rows) if same_place(p.geometry, geometry)), None)


def _pieces_of(lot: Lot, rows: Sequence[ParcelRow]) -> LotCandidate | None:
    """The union of the rows with the lot's id, if that is more than this piece."""
    complete, piece = lot_with_id(_only_id(lot), rows), lot.boundary.geometry
    if complete is None or same_place(complete.geometry, piece):
        return None
    return complete if any(same_place(row.geometry, piece) for row in complete.rows) else None


def _with_areas(results: list[LookupResult]) -> list[LookupResult]:
    """The results with the areas of their lots, measured in one vectorized call."""
    lots = _lots(results)
    lot_areas_m2 = areas_m2(lot.boundary.geometry for lot in lots.values())
    for (i, lot), lot_area_m2 in zip(lots.items(), lot_areas_m2, strict=True):
        results[i] = Lot(replace(lot.boundary, area_m2=float(lot_area_m2)))
    return results


def _lot(
    lot: LotCandidate, found: QueryResult, method: Method, located: Located | None, note: str = ""
) -> Lot:
    """A lot without its area, which `_with_areas` adds."""
    return Lot(
        Boundary(
            geometry=lot.geometry,
            source="lot",
            area_m2=math.nan,
            method=method,
            origin=found.origin,
            parcel_ids=lot.parcel_ids,
            fetched_at=found.fetched_at,
            located=located,
            note=note,
        )
    )


def as_unavailable(error: ParcelsError) -> Unavailable:
    """The result for a failed source or geocoder."""
    is_transient = isinstance(error, SourceUnavailable)
    return Unavailable(str(error), "unavailable" if is_transient else "misconfigured")


def _bad_geometry(what: str, found: QueryResult) -> Unavailable:
    return Unavailable(
        f"{found.origin}: the lot of {what} has a geometry that cannot be repaired; "
        "report it to the county",
        "bad_geometry",
    )

"""Replaces lots at points that are streets, by their shape and their neighbours, with no lot."""

from __future__ import annotations

from collections.abc import Sequence

from shapely import Point

from parcels.addresses.matching import has_house_number
from parcels.boundary import LookupResult, Lot, NoLot
from parcels.errors import ParcelsError, SourceUnavailable
from parcels.lot_selection import same_place
from parcels.parcel_source import ParcelRow, ParcelSource, QueryResult, query_all
from parcels.street_shape import NEIGHBOUR_RADIUS_M, Elongated, elongated, street_reason


def reject_streets(
    source: ParcelSource,
    points: Sequence[Point],
    found: Sequence[QueryResult | ParcelsError],
    results: Sequence[LookupResult],
) -> dict[int, NoLot | SourceUnavailable]:
    """The results, by index, that are streets, or that cannot be checked as the source failed.

    A lot with a house number, or with the ids of several flats, is no street.

    Args:
        points: for each result, where it was looked up.
        found: the rows at each point.
    """
    lots = {
        i: result
        for i, result in enumerate(results)
        if isinstance(result, Lot)
        and len(result.boundary.parcel_ids) < 2
        and isinstance(rows := found[i], QueryResult)
        and not _is_numbered(result, rows.rows)
    }
    geometries = [lot.boundary.geometry for lot in lots.values()]
    shapes = elongated(geometries, [points[i] for i in lots])
    suspects = {i: shape for i, shape in zip(lots, shapes, strict=True) if shape is not None}
    # Many points may be in one street.
    unique = {shape.part.wkb: shape for shape in suspects.values()}
    places = [point for shape in unique.values() for point in shape.places]
    answers = iter(query_all(lambda points: source.near_points(points, NEIGHBOUR_RADIUS_M), places))
    near = {wkb: [next(answers) for _ in shape.places] for wkb, shape in unique.items()}
    checked = {i: _checked(lots[i], s, near[s.part.wkb]) for i, s in suspects.items()}
    return {i: result for i, result in checked.items() if result is not None}


def not_taken(reason: str) -> str:
    """The note about a polygon that is not a lot; empty without a reason."""
    return f"the parcel there was not taken, as {reason}" if reason else ""


def _is_numbered(lot: Lot, rows: Sequence[ParcelRow]) -> bool:
    """Whether a row with the lot's geometry has a house number."""
    geometry = lot.boundary.geometry
    return any(has_house_number(row.site) for row in rows if same_place(row.geometry, geometry))


def _checked(
    lot: Lot, shape: Elongated, near: Sequence[QueryResult | ParcelsError]
) -> NoLot | SourceUnavailable | None:
    failed = next((each for each in near if isinstance(each, SourceUnavailable)), None)
    if failed is not None:
        return failed
    rows = [row for each in near if isinstance(each, QueryResult) for row in each.rows]
    reason = street_reason(shape, rows)
    return NoLot(lot.boundary.located, not_taken(reason)) if reason else None

"""A copy of a whole layer in memory: an STRtree, and indexes that are made when first needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
import shapely
from shapely import Point
from shapely.geometry.base import BaseGeometry

from parcels.cache.housenumbers import may_be_on, numbers_in, site_numbers
from parcels.cache.tables import hits_of, sites_of
from parcels.measure import buffer_m
from parcels.source import Extent, Found
from parcels.streetaddress import StreetAddress

_Key = TypeVar("_Key")


class CopyInMemory:
    """See `WholeCopy`. The rows stay as columns; only those that are asked for become objects."""

    def __init__(self, table: pa.Table, origin: str, fetched_at: datetime) -> None:
        self._table = table.combine_chunks()
        self._origin = origin
        self.fetched_at = fetched_at
        self.rows = table.num_rows
        self._geometries = shapely.from_wkb(table["geometry"].to_numpy())
        self._tree = shapely.STRtree(self._geometries)

    @property
    def has_addresses(self) -> bool:
        """Whether a column of addresses was mapped when the copy was made."""
        return any(self._table["has_site"].to_pylist())

    def with_ids(self, parcel_ids: Sequence[str]) -> list[Found]:
        """See `WholeCopy`."""
        return self._found([self._rows_by_id.get(parcel_id, ()) for parcel_id in parcel_ids])

    def at_points(self, points: Sequence[Point]) -> list[Found]:
        """See `WholeCopy`."""
        return self._intersecting(points)

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[Found]:
        """See `WholeCopy`."""
        return self._intersecting([buffer_m(point, distance_m) for point in points])

    def with_addresses(self, addresses: Sequence[StreetAddress]) -> list[Found]:
        """See `WholeCopy`."""
        return self._found([self._rows_of(address) for address in addresses])

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        if shapely.is_missing(self._geometries).all():
            return None
        west, south, east, north = (float(side) for side in shapely.total_bounds(self._geometries))
        return west, south, east, north

    @cached_property
    def _rows_by_id(self) -> dict[str | None, list[int]]:
        return _index([parcel_id] for parcel_id in self._table["parcel_id"].to_pylist())

    @cached_property
    def _rows_by_number(self) -> dict[int, list[int]]:
        return _index(map(site_numbers, sites_of(self._table)))

    def _rows_of(self, wanted: StreetAddress) -> list[int]:
        by_number = self._rows_by_number
        rows = sorted(
            {row for n in numbers_in(wanted.house_number) for row in by_number.get(n, ())}
        )
        sites = sites_of(self._table.take(rows))
        return [
            row
            for row, site in zip(rows, sites, strict=True)
            if site is not None and may_be_on(site, wanted)
        ]

    def _intersecting(self, places: Sequence[BaseGeometry]) -> list[Found]:
        rows: list[list[int]] = [[] for _ in places]
        asked, row = self._tree.query(list(places), predicate="intersects")
        for i, j in zip(asked.tolist(), row.tolist(), strict=True):
            rows[i].append(j)
        return self._found([sorted(own) for own in rows])

    def _found(self, rows: Sequence[Sequence[int]]) -> list[Found]:
        needed = sorted({row for own in rows for row in own})
        hits = dict(zip(needed, hits_of(self._table.take(needed)), strict=True))
        return [
            Found(tuple(hits[row] for row in own), self._origin, self.fetched_at) for own in rows
        ]


def _index(keys: Iterable[Iterable[_Key]]) -> dict[_Key, list[int]]:
    rows: dict[_Key, list[int]] = defaultdict(list)
    for row, own in enumerate(keys):
        for key in own:
            rows[key].append(row)
    return rows

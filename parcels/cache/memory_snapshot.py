"""A copy of a whole layer in memory: an STRtree, and indexes that are made when first needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa
import shapely
from pyarrow import compute
from shapely.geometry.base import BaseGeometry

from parcels.cache.geoparquet_rows import rows_of, sites_of, take
from parcels.cache.layer_snapshot import AddressFilter, LayerSnapshot, site_letters, site_numbers
from parcels.parcel_source import Extent, ParcelRow

_ROWS_AT_ONCE = 1_000
_Key = TypeVar("_Key")


class MemorySnapshot(LayerSnapshot):
    """The rows stay as columns; only those that are asked for become objects."""

    def __init__(self, table: pa.Table, origin: str, fetched_at: datetime) -> None:
        self.origin = origin
        self.fetched_at = fetched_at
        self.rows = table.num_rows
        self.has_addresses = bool(compute.any(table["has_site"]).as_py())
        self._table = table.combine_chunks()
        self._geometries = shapely.from_wkb(table["geometry"].to_numpy())
        self._tree = shapely.STRtree(self._geometries)

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        if shapely.is_missing(self._geometries).all():
            return None
        west, south, east, north = (float(side) for side in shapely.total_bounds(self._geometries))
        return west, south, east, north

    def all_rows(self) -> Iterator[ParcelRow]:
        """See `LayerSnapshot`."""
        for batch in self._table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield from rows_of(pa.Table.from_batches([batch]))

    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._hits([self._rows_by_id.get(parcel_id, []) for parcel_id in parcel_ids])

    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        rows: list[list[int]] = [[] for _ in places]
        asked, row = self._tree.query(np.asarray(places, dtype=object), predicate="intersects")
        for i, j in zip(asked.tolist(), row.tolist(), strict=True):
            rows[i].append(j)
        return self._hits([sorted(own) for own in rows])

    def rows_with_addresses(self, sought: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._hits([self._rows_with(each) for each in sought])

    def _rows_with(self, sought: AddressFilter) -> list[int]:
        by_number = self._rows_by_number
        rows = sorted({row for number in sought.numbers for row in by_number.get(number, ())})
        sites = sites_of(take(self._table, rows))
        return [
            row
            for row, site in zip(rows, sites, strict=True)
            if sought.letters in site_letters(site)
        ]

    @cached_property
    def _rows_by_id(self) -> dict[str | None, list[int]]:
        return _index([parcel_id] for parcel_id in self._table["parcel_id"].to_pylist())

    @cached_property
    def _rows_by_number(self) -> dict[int, list[int]]:
        return _index(map(site_numbers, sites_of(self._table)))

    def _hits(self, rows: Sequence[Sequence[int]]) -> list[list[ParcelRow]]:
        needed = sorted({row for own in rows for row in own})
        hits = dict(zip(needed, rows_of(take(self._table, needed)), strict=True))
        return [[hits[row] for row in own] for own in rows]


def _index(keys: Iterable[Iterable[_Key]]) -> dict[_Key, list[int]]:
    rows: dict[_Key, list[int]] = defaultdict(list)
    for row, own in enumerate(keys):
        for key in own:
            rows[key].append(row)
    return rows

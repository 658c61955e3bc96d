"""A layer snapshot in memory: an R-tree, and indexes that are built on first use."""

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

from parcels.cache.geoparquet_rows import rows_from_table, sites_from_table, take_rows
from parcels.cache.layer_snapshot import (
    AddressFilter,
    LayerSnapshot,
    site_numbers,
    site_search_text,
)
from parcels.parcel_source import Extent, ParcelRow

_ROWS_PER_BATCH = 1_000
_Key = TypeVar("_Key")


class MemorySnapshot(LayerSnapshot):
    """The rows stay columnar; only requested ones become `ParcelRow` objects."""

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
        for batch in self._table.to_batches(max_chunksize=_ROWS_PER_BATCH):
            yield from rows_from_table(pa.Table.from_batches([batch]))

    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._parcel_rows([self._rows_by_id.get(parcel_id, []) for parcel_id in parcel_ids])

    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        rows: list[list[int]] = [[] for _ in places]
        query, row = self._tree.query(np.asarray(places, dtype=object), predicate="intersects")
        for i, j in zip(query.tolist(), row.tolist(), strict=True):
            rows[i].append(j)
        return self._parcel_rows([sorted(own) for own in rows])

    def rows_with_addresses(self, filters: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._parcel_rows([self._matching_rows(each) for each in filters])

    def _matching_rows(self, wanted: AddressFilter) -> list[int]:
        by_number = self._rows_by_number
        rows = sorted({row for number in wanted.numbers for row in by_number.get(number, ())})
        sites = sites_from_table(take_rows(self._table, rows))
        return [
            row
            for row, site in zip(rows, sites, strict=True)
            if wanted.letters in site_search_text(site)
        ]

    @cached_property
    def _rows_by_id(self) -> dict[str | None, list[int]]:
        return _index([parcel_id] for parcel_id in self._table["parcel_id"].to_pylist())

    @cached_property
    def _rows_by_number(self) -> dict[int, list[int]]:
        return _index(map(site_numbers, sites_from_table(self._table)))

    def _parcel_rows(self, rows: Sequence[Sequence[int]]) -> list[list[ParcelRow]]:
        needed = sorted({row for own in rows for row in own})
        by_row = dict(zip(needed, rows_from_table(take_rows(self._table, needed)), strict=True))
        return [[by_row[row] for row in own] for own in rows]


def _index(keys: Iterable[Iterable[_Key]]) -> dict[_Key, list[int]]:
    rows: dict[_Key, list[int]] = defaultdict(list)
    for row, own in enumerate(keys):
        for key in own:
            rows[key].append(row)
    return rows

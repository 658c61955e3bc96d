"""RowIndex: rows of a parcel layer in memory, with an R-tree and indexes by id and address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Point

from parcels.addresses.house_number import numbers_in
from parcels.addresses.matching import may_match
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_name import filter_letters
from parcels.addresses.street_words import normalize_words
from parcels.column_mapping import parcel_id_text, site_address
from parcels.lot_selection import distances_m
from parcels.parcel_source import ParcelRow
from parcels.registry.county import ParcelFields

_METRES_PER_DEGREE = 110_500.0  # minimum for latitude; for longitude times cos(latitude)


class RowIndex:
    """Rows of a layer, addressed by their index from 0.

    Args:
        geometries: (n,) normalized as for a `ParcelRow`.
        fields: the column mapping; without a parcel id column, no row has an id.
        values: column -> n values.
        first: the object id of the first row: its position in the file, from 1.
        repaired: number of geometries that were repaired.
    """

    def __init__(
        self,
        geometries: NDArray[np.object_],
        fields: ParcelFields,
        values: Mapping[str, Sequence[Any]],
        first: int = 1,
        repaired: int = 0,
    ) -> None:
        self.geometries = geometries
        self.repaired = repaired
        self._fields = fields
        self._values = values
        self._first = first

    @classmethod
    def joined(cls, batches: Sequence[RowIndex], fields: ParcelFields) -> RowIndex:
        """The rows of consecutive batches of a file."""
        if len(batches) == 1:
            return batches[0]
        values: dict[str, list[Any]] = {column: [] for column in fields.columns}
        for batch in batches:
            for column, of_batch in batch._values.items():
                values[column].extend(of_batch)
        geometries = [batch.geometries for batch in batches]
        joined = np.concatenate(geometries) if geometries else np.empty(0, dtype=object)
        return cls(joined, fields, values, 1, sum(batch.repaired for batch in batches))

    @property
    def dropped(self) -> int:
        """The number of rows without a geometry."""
        return int(shapely.is_missing(self.geometries).sum())

    def parcel_row(self, row: int) -> ParcelRow:
        """The row as a `ParcelRow`."""
        parcel_id = self._id(row)
        return ParcelRow(
            parcel_id,
            self.geometries[row],
            self._first + row,
            self._site(row),
            self._parcel_type(row),
            lacks_id=parcel_id is None and self._fields.parcel_id is not None,
        )

    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row, created lazily."""
        return map(self.parcel_row, range(len(self.geometries)))

    def with_id(self, parcel_id: str) -> list[int]:
        """The rows with exactly this id."""
        return self._by_id.get(parcel_id, [])

    def at_points(self, points: Sequence[Point]) -> list[list[int]]:
        """For each EPSG:4326 point, the rows that contain or touch it."""
        found: list[list[int]] = [[] for _ in points]
        query, rows = self._tree.query(list(points), predicate="intersects")
        for i, row in zip(query.tolist(), rows.tolist(), strict=True):
            found[i].append(row)
        return found

    def near_point(self, point: Point, distance_m: float) -> list[int]:
        """The rows within `distance_m` metres of an EPSG:4326 point."""
        dy = distance_m / _METRES_PER_DEGREE
        dx = dy / max(float(np.cos(np.radians(abs(point.y) + dy))), 1e-6)
        box = shapely.box(point.x - dx, point.y - dy, point.x + dx, point.y + dy)
        rows = self._tree.query(box)
        near = distances_m(point, self.geometries[rows]) <= distance_m
        return [int(row) for row in rows[near]]

    def with_address(self, wanted: StreetAddress) -> list[int]:
        """The rows whose house number matches, and whose street matches if there is one."""
        same_number = {
            row for number in numbers_in(wanted.house_number) for row in self._by_number[number]
        }
        letters = filter_letters(wanted.street_name) or ""
        return [
            row
            for row in sorted(same_number)
            if letters in self._search_text(row) and may_match(self._site(row), wanted)
        ]

    def _id(self, row: int) -> str | None:
        column = self._fields.parcel_id
        return None if column is None else parcel_id_text(self._values[column][row])

    def _parcel_type(self, row: int) -> str | None:
        column = self._fields.parcel_type
        return None if column is None else parcel_id_text(self._values[column][row])

    def _site(self, row: int) -> SiteAddress | None:
        if not self._has_sites:
            return None
        return site_address(self._fields, {k: column[row] for k, column in self._values.items()})

    def _search_text(self, row: int) -> str:
        site = self._site(row)
        return (
            normalize_words(f"{site.line or ''} {site.street or ''}").replace(" ", "")
            if site
            else ""
        )

    @cached_property
    def _has_sites(self) -> bool:
        others = {self._fields.parcel_id, self._fields.parcel_type}
        return any(column not in others for column in self._fields.columns)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.geometries)

    @cached_property
    def _by_id(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for row in range(len(self.geometries)):
            parcel_id = self._id(row)
            if parcel_id is not None:
                found[parcel_id].append(row)
        return found

    @cached_property
    def _by_number(self) -> dict[int, list[int]]:
        """Rows by every number in the address: a superset of the house numbers, not parsed."""
        found: dict[int, list[int]] = defaultdict(list)
        for row in range(len(self.geometries)):
            site = self._site(row)
            if site is not None:
                for number in set(numbers_in(f"{site.house_number or ''} {site.line or ''}")):
                    found[number].append(row)
        return found

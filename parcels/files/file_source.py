"""FileSource: the parcels of a local file in memory, with an R-tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import shapely
from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.column_mapping import no_address_columns_error, no_parcel_id_error
from parcels.errors import ParcelsError, SourceMisconfigured
from parcels.files.parcel_file import ParcelFile
from parcels.files.row_index import RowIndex
from parcels.parcel_source import Extent, ParcelRow, QueryResult
from parcels.plausibility import log_warnings
from parcels.registry.county import County


class FileSource:
    """A ParcelSource over a county's file, which is read on the first query.

    Attributes (set by the first query or `check`):
        repaired: number of invalid geometries that were repaired.
        dropped: number of rows without a valid geometry; they are found by id only.
        warnings: what is not plausible about the lots, with the likely cause.
    """

    def __init__(self, county: County) -> None:
        if county.path is None:
            raise SourceMisconfigured(f"county {county.key!r} has no 'path'")
        self.path = county.path
        self._county = county
        self.repaired = 0
        self.dropped = 0
        self.warnings: tuple[str, ...] = ()

    def check(self) -> None:
        """Read the file.

        Raises:
            SourceMisconfigured: no such file, it cannot be read, or a column is missing.
            GeometryError: it has no CRS.
        """
        _ = self._rows

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        bounds = shapely.total_bounds(self._rows.geometries)
        west, south, east, north = (float(value) for value in bounds)
        return west, south, east, north

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these ids.

        Raises:
            SourceMisconfigured: also if no parcel id column is known.
        """
        rows = self._rows
        if self._file.fields.parcel_id is None:
            raise no_parcel_id_error(self._file.columns, str(self.path))
        return [self._result(rows.with_id(parcel_id)) for parcel_id in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        return [self._result(rows) for rows in self._rows.at_points(points)]

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        return [self._result(self._rows.near_point(point, distance_m)) for point in points]

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """The rows that may have these addresses.

        Raises:
            SourceMisconfigured: also if no address columns are mapped.
        """
        rows = self._rows
        if not self._county.fields.has_addresses:
            raise no_address_columns_error(self._file.columns, str(self.path))
        return [self._result(rows.with_address(address)) for address in addresses]

    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row of the file, one at a time."""
        return self._rows.all_rows()

    def _result(self, rows: Iterable[int]) -> QueryResult:
        return QueryResult(
            tuple(self._rows.parcel_row(row) for row in sorted(rows)), str(self.path)
        )

    @cached_property
    def _file(self) -> ParcelFile:
        return ParcelFile(self._county)

    @cached_property
    def _rows(self) -> RowIndex:
        rows = self._file.rows()
        if rows.dropped == len(rows.geometries):
            raise self._file.no_polygons()
        self.repaired, self.dropped = rows.repaired, rows.dropped
        self.warnings = self._file.warnings(rows.geometries)
        log_warnings(self.warnings)
        return rows

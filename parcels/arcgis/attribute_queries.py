"""Rows by parcel id, and candidate rows by address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from parcels.addresses.matching import may_match
from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.batches import BatchResult, query_in_batches, requery_empty
from parcels.arcgis.pages import fetch_rows
from parcels.arcgis.query import LayerQuery, rounded_ids
from parcels.arcgis.where import address_condition, any_of, in_list, sql_literal
from parcels.column_mapping import no_address_columns_error, no_parcel_id_error
from parcels.errors import SourceMisconfigured
from parcels.parcel_source import ParcelRow, QueryResult

# Oracle's limit of an IN list, and about the rows that most servers send at once.
_IDS_PER_CALL = 1_000
# Each address has two or three conditions that no index of the county's database serves.
_ADDRESSES_PER_CALL = 25


def with_ids(layer: LayerQuery, parcel_ids: Sequence[str], in_flight: int) -> list[BatchResult]:
    """The rows with exactly these parcel ids."""

    def query(some: Sequence[str]) -> list[BatchResult]:
        by_id: dict[str | None, list[ParcelRow]] = defaultdict(list)
        for row in _rows_with_ids(layer, some):
            by_id[row.parcel_id].append(row)
        column = layer.columns.fields.parcel_id or ""
        max_exact = layer.info.max_exact(column)
        rounded = SourceMisconfigured(f"{layer.origin}: {rounded_ids(column)}")
        # Databases may ignore case and trailing blanks; parcel ids that differ so are different.
        return [
            rounded
            if by_id[None] and not by_id[parcel_id] and _is_number_from(max_exact, parcel_id)
            else QueryResult(tuple(by_id[parcel_id]), layer.origin)
            for parcel_id in some
        ]

    in_batches = partial(query_in_batches, layer, query, size=_IDS_PER_CALL, in_flight=in_flight)
    return requery_empty(in_batches, parcel_ids)


def _is_number_from(limit: float, parcel_id: str) -> bool:
    try:
        return abs(float(parcel_id)) >= limit
    except ValueError:
        return False


def with_addresses(
    layer: LayerQuery, addresses: Sequence[StreetAddress], in_flight: int
) -> list[BatchResult]:
    """The rows that may have these addresses."""

    def query(some: Sequence[StreetAddress]) -> list[BatchResult]:
        rows = _rows_with_addresses(layer, some)
        return [
            QueryResult(tuple(row for row in rows if may_match(row.site, address)), layer.origin)
            for address in some
        ]

    return query_in_batches(layer, query, addresses, size=_ADDRESSES_PER_CALL, in_flight=in_flight)


def _rows_with_ids(layer: LayerQuery, parcel_ids: Sequence[str]) -> tuple[ParcelRow, ...]:
    column = layer.columns.fields.parcel_id
    if column is None:
        raise no_parcel_id_error(list(layer.info.fields), layer.origin)
    numeric = layer.info.is_numeric(column)
    values = {sql for parcel_id in parcel_ids if (sql := sql_literal(parcel_id, numeric=numeric))}
    if not values:
        return ()
    return _rows(layer, in_list(column, sorted(values)))


def _rows_with_addresses(
    layer: LayerQuery, addresses: Sequence[StreetAddress]
) -> tuple[ParcelRow, ...]:
    if not layer.fields.has_addresses:
        raise no_address_columns_error(list(layer.info.fields), layer.origin)
    conditions = {
        sql
        for address in addresses
        if (sql := address_condition(layer.columns.fields, layer.info, address))
    }
    return _rows(layer, any_of(sorted(conditions))) if conditions else ()


def _rows(layer: LayerQuery, where: str) -> tuple[ParcelRow, ...]:
    params = {"where": where}
    return fetch_rows(layer, params, layer.rows(params))

"""Queries to one ArcGIS layer: a query in, its rows out, truncation detected."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.layer_info import LayerInfo, parse_layer_info
from parcels.arcgis.requested_columns import (
    RequestedColumns,
    exact_id_text,
    is_rounded_id,
    requested_columns,
)
from parcels.arcgis.where import and_where
from parcels.column_mapping import match_column
from parcels.errors import (
    ColumnsMissing,
    FirewallRefused,
    GeometryError,
    IncompleteResponse,
    QueryRefused,
    RateLimited,
    SourceError,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.esri import polygons_from_esri
from parcels.id_column import tells_lots, usable_ids
from parcels.parcel_source import ParcelRow, unique_rows
from parcels.registry.county import ArcGISLayerEntry, ParcelFields

log = logging.getLogger(__name__)

ObjectIds = NDArray[np.int64]

# For servers that report neither maxRecordCount nor exceededTransferLimit (ArcGIS 9).
_DEFAULT_PAGE_ROWS = 500
_MAX_PAGE_ROWS = 2000
# Rows by whose values a column is judged.
_SAMPLE_ROWS = 50
# More rows than this, and than maxRecordCount: the server ignores the conditions.
_MAX_RESPONSE_ROWS = 20_000
# Metadata is small, and needed before any other query: two read timeouts are enough to know that
# the server is down, and ten retries after quick failures still fit.
_INFO_READ_TIMEOUT_S = 15.0
_INFO_RETRY_FOR_S = 28.0


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """The rows of a response, without repeated ones.

    Attributes:
        truncated: there may be more.
        received: number of rows of the response, also repeated ones.
    """

    rows: tuple[ParcelRow, ...]
    truncated: bool
    received: int = 0


class LayerQuery:
    """Queries one layer, and only for the columns that the registry entry maps."""

    def __init__(
        self,
        layer: ArcGISLayerEntry,
        fields: ParcelFields,
        where: str | None,
        client: ArcGISClient,
        breaker: CircuitBreaker,
    ) -> None:
        self.origin = f"{layer.url}/{layer.layer}"
        self.fields = fields
        self._where = where
        self._client = client
        self._breaker = breaker
        self._id_was_seen = False
        self._has_rounded = False
        self._left_out: dict[str, bool] = {}

    @cached_property
    def info(self) -> LayerInfo:
        """The layer's metadata, fetched once.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self.fetch_info()

    def fetch_info(self) -> LayerInfo:
        """Fetch the layer's metadata now.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        limits = {"read_timeout_s": _INFO_READ_TIMEOUT_S, "retry_for_s": _INFO_RETRY_FOR_S}
        return parse_layer_info(self.origin, self._get_json(self.origin, {}, **limits))

    def open_circuit(self) -> None:
        """Open the circuit breaker, if the last call failed: no calls for a minute."""
        self._breaker.force_open()

    @cached_property
    def columns(self) -> RequestedColumns:
        """The columns that queries request.

        Raises:
            SourceUnavailable, SourceMisconfigured: also if a mapped column does not exist.
        """
        return requested_columns(self.info, self.fields, self.origin, self._sample_ids)

    @property
    def object_id(self) -> str:
        """The object id column.

        Raises:
            SourceUnavailable, SourceMisconfigured: also if there is none.
        """
        if self.columns.object_id is None:
            raise SourceMisconfigured(
                f"{self.origin}: the layer has no object ids, which pagination needs; use another "
                "layer in the registry entry"
            )
        return self.columns.object_id

    @property
    def page_size(self) -> int:
        """The number of rows that one call requests."""
        return min(self.info.max_record_count or _DEFAULT_PAGE_ROWS, _MAX_PAGE_ROWS)

    def rows(self, params: Mapping[str, str], *, geometry: bool = True) -> FeatureRows:
        """The rows of one query call. `params` may have a `where`; the registry entry's is added.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        params = {
            **self._with_where(params),
            "outFields": ",".join(self.columns.names),
            "returnGeometry": "true" if geometry else "false",
        }
        if geometry:
            params |= {"returnTrueCurves": "false", **self.info.geometry_crs.out_sr}
        response = self._get_json(f"{self.origin}/query", params)
        features = self._features(response)
        truncated = self._is_truncated(response, len(features))
        return FeatureRows(self._parcel_rows(features, response), truncated, len(features))

    def query(self, params: Mapping[str, str]) -> dict[str, Any]:
        """The raw response of one query call, for ids, counts and statistics.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._get_json(f"{self.origin}/query", self._with_where(params))

    def query_ids_page(self, params: Mapping[str, str]) -> tuple[list[int], bool]:
        """The object ids of one page of rows, in response order, and whether it is truncated.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        only_ids = {"outFields": self.object_id, "returnGeometry": "false"}
        response = self.query({**params, **only_ids})
        features = self._features(response)
        attributes = [_attributes(feature) for feature in features]
        only_id = RequestedColumns(self.object_id, ParcelFields())
        columns = only_id.in_response(attributes, self.origin)
        ids = [self._object_id(columns, values) for values in attributes]
        return ids, self._is_truncated(response, len(features))

    def may_succeed_in_parts(self, error: SourceError) -> bool:
        """Whether smaller queries may succeed after this error: the layer itself works.

        If the server is down, splitting a batch only wastes calls.
        """
        if isinstance(error, QueryRefused):
            return True
        if isinstance(error, RateLimited | ColumnsMissing) or not isinstance(
            error, SourceUnavailable | FirewallRefused
        ):
            return False
        try:
            self.fetch_info()
        except SourceError:
            return False
        return True

    def _with_where(self, params: Mapping[str, str]) -> dict[str, str]:
        where = params.get("where")
        condition = and_where(self._where, where) if where is not None else self._where
        return {**params, "where": condition or "1=1"}

    def _is_truncated(self, response: Mapping[str, Any], row_count: int) -> bool:
        """The server's flag if it has one; else whether the rows fill a page."""
        if "exceededTransferLimit" in response:
            return bool(response["exceededTransferLimit"])
        return row_count >= (self.info.max_record_count or _DEFAULT_PAGE_ROWS)

    @property
    def _max_response_rows(self) -> int:
        return max(self.info.max_record_count or 0, _MAX_RESPONSE_ROWS)

    def _features(self, response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if response.get("type") == "FeatureCollection":
            raise SourceMisconfigured(
                f"{self.origin}: the response is GeoJSON, not the requested Esri JSON; is it an "
                "ArcGIS server? Use another layer in the registry entry"
            )
        features = response.get("features")
        if isinstance(features, list) and len(features) > self._max_response_rows:
            raise SourceMisconfigured(
                f"{self.origin}: the response has {len(features)} rows: the server ignores the "
                "conditions; use another layer in the registry entry"
            )
        if isinstance(features, list) and all(isinstance(row, dict) for row in features):
            return features
        raise SourceUnavailable(f"{self.origin}: the response has no features; try again later")

    def _parcel_rows(
        self, features: Sequence[Mapping[str, Any]], response: Mapping[str, Any]
    ) -> tuple[ParcelRow, ...]:
        reference = response.get("spatialReference") or self.info.geometry_crs.esri
        try:
            lots = polygons_from_esri([feature.get("geometry") for feature in features], reference)
        except GeometryError as error:
            raise SourceMisconfigured(f"{self.origin}: {error}") from error
        attributes = [_attributes(feature) for feature in features]
        columns = self.columns.in_response(attributes, self.origin, self._is_left_out)
        if columns.fields.parcel_id is not None:
            self._check_rounded(attributes, columns)
        rows = [
            columns.parcel_row(values, None if isinstance(lot, GeometryError) else lot)
            for values, lot in zip(attributes, lots, strict=True)
        ]
        return tuple(unique_rows(self._checked_ids(rows)))

    def _check_rounded(
        self, attributes: Sequence[Mapping[str, Any]], columns: RequestedColumns
    ) -> None:
        """Warn once of rounded ids.

        Raises:
            SourceMisconfigured: most ids are rounded, so that neighbours would merge.
        """
        column = columns.fields.parcel_id or ""
        values = [row.get(column) for row in attributes if row.get(column) is not None]
        rounded = sum(is_rounded_id(value, columns.max_exact_id) for value in values)
        if rounded > len(values) / 2:
            raise SourceMisconfigured(f"{self.origin}: {rounded_ids(column)}")
        if rounded and not self._has_rounded:
            self._has_rounded = True
            log.warning("%s: %s; such lots are left out", self.origin, rounded_ids(column))

    def _checked_ids(self, rows: list[ParcelRow]) -> list[ParcelRow]:
        """The rows; if the whole layer has no ids, none of them lacks one.

        Raises:
            SourceUnavailable.
            SourceMisconfigured: the mapped id column has no ids in the whole layer.
        """
        if self._id_was_seen or self.columns.fields.parcel_id is None or not rows:
            return rows
        self._id_was_seen = tells_lots([row.parcel_id for row in rows]) or self._has_ids
        if self._id_was_seen:
            return rows
        if not self.columns.id_is_guessed:
            raise SourceMisconfigured(
                f"{self.origin}: the column {self.columns.fields.parcel_id!r} has no parcel id: it "
                "is empty or a placeholder in every row; correct 'parcel_id' under 'fields' in the "
                f"registry entry. The columns are {', '.join(self.info.fields)}"
            )
        return [replace(row, parcel_id=None, lacks_id=False) for row in rows]

    @cached_property
    def _has_ids(self) -> bool:
        """Whether any row has a parcel id, by a sample of those that are not empty."""
        column = self.columns.fields.parcel_id or ""
        empty = "0" if self.info.is_numeric(column) else "''"
        # Oracle has no empty texts, and nothing differs from one there.
        conditions = (f"{column} IS NOT NULL", f"{column} <> {empty}")
        try:
            samples = (self._column_values([column], where) for where in conditions)
            return any(tells_lots(sample.get(column, ())) for sample in samples)
        except QueryRefused:
            return True

    def _sample_ids(self, names: Sequence[str]) -> dict[str, list[str | None]]:
        """The values of columns in some rows; only of columns that the responses have."""
        try:
            values = self._column_values(names, "1=1")
            if any(usable_ids(each) for each in values.values()):
                return values
            for name in names:
                values |= self._column_values([name], f"{name} IS NOT NULL")
            return values
        except QueryRefused:
            return {}

    def _column_values(self, names: Sequence[str], where: str) -> dict[str, list[str | None]]:
        """The values of columns in some rows, as texts; without columns that no row has.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        rows = self._sample_rows(names, where)
        keys = list(dict.fromkeys(key for row in rows for key in row))
        found = {name: self._spellings(name, keys) for name in names}
        return {
            name: [exact_id_text(row.get(spelled[0]), self.info.max_exact(name)) for row in rows]
            for name, spelled in found.items()
            if spelled
        }

    def _spellings(self, column: str, keys: Sequence[str]) -> list[str]:
        """How the rows of a response spell a column."""
        alias = self.info.aliases.get(column)
        by_alias = match_column(alias, keys, {}) if alias is not None else []
        return match_column(column, keys, {}) or by_alias

    def _sample_rows(self, names: Sequence[str], where: str) -> list[Mapping[str, Any]]:
        """The attributes of some rows.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        response = self.query(
            {
                "where": where,
                "outFields": ",".join(names),
                "returnGeometry": "false",
                "resultRecordCount": str(_SAMPLE_ROWS),
            }
        )
        return [_attributes(feature) for feature in self._features(response)]

    def _is_left_out(self, column: str) -> bool:
        """Whether the server leaves out a column where it is null: others have it, or none."""
        if column not in self._left_out:
            try:
                rows = self._sample_rows([column], f"{column} IS NOT NULL")
            except QueryRefused:
                rows = [{}]
            keys = {key for row in rows for key in row}
            self._left_out[column] = not rows or bool(self._spellings(column, list(keys)))
        return self._left_out[column]

    def _object_id(self, columns: RequestedColumns, attributes: Mapping[str, Any]) -> int:
        object_id = columns.object_id_of(attributes)
        if object_id is None:
            raise IncompleteResponse(
                f"{self.origin}: a row has no object id ({self.object_id}); try again later, or "
                "use another layer in the registry entry"
            )
        return object_id

    def _get_json(self, url: str, params: Mapping[str, str], **limits: float) -> dict[str, Any]:
        """Call the server through the circuit breaker."""
        self._breaker.before_call()
        try:
            response = self._client.get_json(url, params, **limits)
        except SourceError as error:
            self._breaker.record_failure(error)
            raise
        self._breaker.record_success()
        return response


def _attributes(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes = feature.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def rounded_ids(column: str) -> str:
    """Why ids of this column cannot be used, and what to do."""
    return (
        f"the column {column!r} has ids with too many digits for its type, so that several lots "
        "have one; map another column to 'parcel_id' under 'fields' in the registry entry, such as "
        "the object id"
    )


def esri_json(content: Mapping[str, Any]) -> str:
    """A geometry as a query parameter, without blanks: URLs are limited."""
    return json.dumps(content, separators=(",", ":"))

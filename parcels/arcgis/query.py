"""One ArcGIS layer: a question in, its rows out, whatever the server cuts off."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.layer_info import LayerInfo, parse_layer_info
from parcels.arcgis.requested_columns import RequestedColumns, requested_columns
from parcels.arcgis.where import and_where
from parcels.column_mapping import site_address
from parcels.errors import (
    FirewallRefused,
    GeometryError,
    IncompleteAnswer,
    QueryRefused,
    RateLimited,
    SourceError,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.esri import polygons_from_esri
from parcels.parcel_source import ParcelRow
from parcels.registry.county import ArcGISLayerEntry, ParcelFields

ObjectIds = NDArray[np.int64]

# A server that says neither how many rows it returns at most nor that there are more: ArcGIS 9.
_FEWEST_IN_A_PAGE = 500
_MOST_IN_A_PAGE = 2000
# More, where the layer announces less, is a server that was not asked for them.
_MOST_IN_AN_ANSWER = 20_000
# What a layer says of itself is short, and what every other question begins with: two silences in
# a row are enough to know that nobody answers, and ten quick failures have room.
_READ_INFO_S = 15.0
_TRYING_INFO_S = 28.0


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """The rows of one answer, each object id once; `cut` where there may be more."""

    hits: tuple[ParcelRow, ...]
    cut: bool


class LayerQuery:
    """Asks one layer, and only for the columns that the registry entry maps."""

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

    @cached_property
    def info(self) -> LayerInfo:
        """What the layer says of itself; asked once.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self.info_now()

    def info_now(self) -> LayerInfo:
        """What the layer says of itself now.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        limits = {"read_timeout_s": _READ_INFO_S, "retry_for_s": _TRYING_INFO_S}
        return parse_layer_info(self.origin, self._ask(self.origin, {}, **limits))

    def leave_alone(self) -> None:
        """Ask nothing for a minute, if the last call failed."""
        self._breaker.force_open()

    @cached_property
    def columns(self) -> RequestedColumns:
        """The columns that are asked for.

        Raises:
            SourceUnavailable, SourceMisconfigured: also where a mapped column does not exist.
        """
        return requested_columns(self.info, self.fields, self.origin)

    @property
    def object_id(self) -> str:
        """The column of the object ids.

        Raises:
            SourceUnavailable, SourceMisconfigured: also where there is none.
        """
        if self.columns.object_id is None:
            raise SourceMisconfigured(
                f"{self.origin}: has no object ids to page by; name another layer in the "
                "registry entry"
            )
        return self.columns.object_id

    @property
    def page_size(self) -> int:
        """How many rows one call asks for."""
        return min(self.info.max_record_count or _FEWEST_IN_A_PAGE, _MOST_IN_A_PAGE)

    def rows(self, question: Mapping[str, str], *, geometry: bool = True) -> FeatureRows:
        """The rows of one call. `question` may have a `where`; the entry's is added.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        asked = {
            **self._all_of(question),
            "outFields": ",".join(self.columns.names),
            "returnGeometry": "true" if geometry else "false",
        }
        if geometry:
            asked |= {"returnTrueCurves": "false", **self.info.reference.wanted}
        answer = self._ask(f"{self.origin}/query", asked)
        features = self._features(answer)
        return FeatureRows(self._hits(features, answer), self._is_cut(answer, len(features)))

    def answer(self, question: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the server to a query for ids, a count or statistics.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return self._ask(f"{self.origin}/query", self._all_of(question))

    def some_ids(self, question: Mapping[str, str]) -> tuple[list[int], bool]:
        """The object ids of one page of rows, as they come, and whether there may be more.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        only_ids = {"outFields": self.object_id, "returnGeometry": "false"}
        answer = self.answer({**question, **only_ids})
        features = self._features(answer)
        ids = [self._object_id(_attributes(feature)) for feature in features]
        return ids, self._is_cut(answer, len(features))

    def is_up_despite(self, error: SourceError) -> bool:
        """Whether the layer answers, though it did not answer this: less at once may do.

        A batch that fails at a server that is down is not worth asking in halves.
        """
        if isinstance(error, QueryRefused):
            return True
        if isinstance(error, RateLimited) or not isinstance(
            error, SourceUnavailable | FirewallRefused
        ):
            return False
        try:
            self.info_now()
        except SourceError:
            return False
        return True

    def _all_of(self, question: Mapping[str, str]) -> dict[str, str]:
        where = question.get("where")
        condition = and_where(self._where, where) if where is not None else self._where
        return {**question, "where": condition or "1=1"}

    def _is_cut(self, answer: Mapping[str, Any], row_count: int) -> bool:
        """The server's word counts; one that never gives it has cut whatever fills a page."""
        if "exceededTransferLimit" in answer:
            return bool(answer["exceededTransferLimit"])
        return row_count >= (self.info.max_record_count or _FEWEST_IN_A_PAGE)

    @property
    def _most_in_an_answer(self) -> int:
        return max(self.info.max_record_count or 0, _MOST_IN_AN_ANSWER)

    def _features(self, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if answer.get("type") == "FeatureCollection":
            raise SourceMisconfigured(
                f"{self.origin}: answers in GeoJSON, though it was asked for Esri JSON; is it an "
                "ArcGIS server? Name another layer in the registry entry"
            )
        features = answer.get("features")
        if isinstance(features, list) and len(features) > self._most_in_an_answer:
            raise SourceMisconfigured(
                f"{self.origin}: answers with {len(features)} rows at once: the server ignores the "
                "question; name another layer in the registry entry"
            )
        if isinstance(features, list) and all(isinstance(row, dict) for row in features):
            return features
        raise SourceUnavailable(f"{self.origin}: the answer has no features; try again later")

    def _hits(
        self, features: Sequence[Mapping[str, Any]], answer: Mapping[str, Any]
    ) -> tuple[ParcelRow, ...]:
        reference = answer.get("spatialReference") or self.info.reference.esri
        try:
            lots = polygons_from_esri([row.get("geometry") for row in features], reference)
        except GeometryError as error:
            raise SourceMisconfigured(f"{self.origin}: {error}") from error
        hits: dict[object, ParcelRow] = {}
        for row, lot in zip(features, lots, strict=True):
            attributes = _attributes(row)
            hit = ParcelRow(
                parcel_id=self.columns.parcel_id_of(attributes),
                geometry=None if isinstance(lot, GeometryError) else lot,
                object_id=self.columns.object_id_of(attributes),
                site=site_address(self.columns.fields, attributes),
            )
            # Unstable pages send a row twice; rows without an id cannot be told apart.
            hits.setdefault(len(hits) if hit.object_id is None else ("id", hit.object_id), hit)
        return tuple(hits.values())

    def _object_id(self, attributes: Mapping[str, Any]) -> int:
        object_id = self.columns.object_id_of(attributes)
        if object_id is None:
            raise IncompleteAnswer(
                f"{self.origin}: a row without its object id ({self.object_id}); try again later, "
                "or name another layer in the registry entry"
            )
        return object_id

    def _ask(self, url: str, params: Mapping[str, str], **limits: float) -> dict[str, Any]:
        """Call the server, unless it has failed too often of late."""
        self._breaker.before_call()
        try:
            answer = self._client.get_json(url, params, **limits)
        except SourceError as error:
            self._breaker.record_failure(error)
            raise
        self._breaker.record_success()
        return answer


def _attributes(row: Mapping[str, Any]) -> Mapping[str, Any]:
    attributes = row.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def esri_json(content: Mapping[str, Any]) -> str:
    """A geometry as a parameter: no blanks, as addresses are short."""
    return json.dumps(content, separators=(",", ":"))

"""One ArcGIS layer: the rows at a point, or with a parcel id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import shapely
from shapely import Point

from parcels.arcgis.breaker import Breaker
from parcels.arcgis.client import ArcGISClient
from parcels.arcgis.layer import LayerInfo, read_layer_info
from parcels.county import Layer, ParcelFields
from parcels.errors import GeometryError, SourceError, SourceMisconfigured, SourceUnavailable
from parcels.esri import polygon_from_esri
from parcels.fieldnames import choose_parcel_id, id_text, no_parcel_id, require_field
from parcels.source import Found, Hit

# More pages than this at one point or for one id is no lot, but a server without an end.
_MOST_PAGES = 50
# About 100 m: server and client may differ by a datum step, never by so much.
_NEAR_DEGREES = 1e-3


class LayerQuery:
    """Asks one layer, and only for the columns that the registry entry maps."""

    def __init__(
        self,
        layer: Layer,
        fields: ParcelFields,
        where: str | None,
        client: ArcGISClient,
        breaker: Breaker,
    ) -> None:
        self.origin = f"{layer.url}/{layer.layer}"
        self._mapped = fields
        self._where = where
        self._client = client
        self._breaker = breaker

    def check(self) -> None:
        """Ask the layer what it is, and whether it has the mapped columns.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        _ = self._columns

    @cached_property
    def info(self) -> LayerInfo:
        """What the layer says of itself; asked once.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return read_layer_info(self.origin, self._ask(self.origin, {}))

    @cached_property
    def parcel_id_field(self) -> str | None:
        """The column of the parcel ids: the mapped one, or a guess; None where there is none.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        return choose_parcel_id(self._mapped.parcel_id, list(self.info.fields), self.origin)

    def at_point(self, point: Point) -> Found:
        """The rows that contain or touch an EPSG:4326 point.

        Raises:
            SourceUnavailable, SourceMisconfigured.
        """
        found = self._rows(
            {
                "where": self._where or "1=1",
                "geometry": f"{point.x!r},{point.y!r}",
                "geometryType": "esriGeometryPoint",
                "inSR": "4326",
                "spatialRel": "esriSpatialRelIntersects",
            }
        )
        places = [hit.geometry for hit in found.hits if hit.geometry is not None]
        if places and min(shapely.distance(places, point)) > _NEAR_DEGREES:
            raise SourceMisconfigured(
                f"{self.origin}: answers with lots that are not at the point: the server ignores "
                "the place; name another layer in the registry entry"
            )
        return found

    def with_id(self, parcel_id: str) -> Found:
        """The rows with exactly this parcel id.

        Raises:
            SourceUnavailable, SourceMisconfigured; also where no column of ids is known.
        """
        field = self.parcel_id_field
        if field is None:
            raise no_parcel_id(list(self.info.fields), self.origin)
        value = _sql_value(parcel_id, self.info.is_numeric(field))
        if value is None:
            return Found((), self.origin)
        asked = f"{field} = {value}"
        found = self._rows({"where": f"({self._where}) AND ({asked})" if self._where else asked})
        # Databases compare without regard to case or closing spaces; ids are not alike so.
        exact = tuple(hit for hit in found.hits if hit.parcel_id == parcel_id)
        return Found(exact, self.origin)

    @cached_property
    def _columns(self) -> list[str]:
        """The object id and the mapped columns, as the layer writes them."""
        names = list(self.info.fields)
        wanted = [self.info.object_id_field, self.parcel_id_field]
        wanted += [require_field(name, names, self.origin) for name in self._mapped.columns]
        return list(dict.fromkeys(name for name in wanted if name is not None))

    def _rows(self, question: Mapping[str, str]) -> Found:
        """All rows of a query. One page holds them but for a server that cuts its answers."""
        asked = {
            **question,
            "outFields": ",".join(self._columns),
            "returnGeometry": "true",
            "returnTrueCurves": "false",
            "outSR": "4326",
        }
        answer = self._ask(f"{self.origin}/query", asked)
        if not answer.get("exceededTransferLimit"):
            return self._found(answer, self._features(answer))
        return self._found(answer, self._all_pages(asked))

    def _all_pages(self, asked: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """The features of all pages, from the start and in order: pages have none otherwise.

        Raises:
            SourceUnavailable: pages that add nothing, or never end.
        """
        oid = self.info.object_id_field
        if oid is None:
            raise SourceMisconfigured(
                f"{self.origin}: cuts its answers and has no object ids to page by; name another "
                "layer in the registry entry"
            )
        features: dict[object, Mapping[str, Any]] = {}
        received = 0
        for _ in range(_MOST_PAGES):
            page = {**asked, "orderByFields": oid, "resultOffset": str(received)}
            answer = self._ask(f"{self.origin}/query", page)
            rows = self._features(answer)
            known = len(features)
            features.update({_attributes(row).get(oid): row for row in rows})
            received += len(rows)
            if not answer.get("exceededTransferLimit"):
                return list(features.values())
            if len(features) == known:
                break
        raise SourceUnavailable(
            f"{self.origin}: the server says that there is more, and does not send it"
        )

    def _features(self, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        features = answer.get("features")
        if isinstance(features, list) and all(isinstance(row, dict) for row in features):
            return features
        raise SourceUnavailable(f"{self.origin}: the answer has no features; try again later")

    def _found(self, answer: Mapping[str, Any], features: list[Mapping[str, Any]]) -> Found:
        reference = answer.get("spatialReference")
        return Found(tuple(self._hit(row, reference) for row in features), self.origin)

    def _hit(self, row: Mapping[str, Any], reference: Mapping[str, Any] | None) -> Hit:
        parcel_id = _attributes(row).get(self.parcel_id_field)
        try:
            geometry = polygon_from_esri(row.get("geometry"), reference)
        except GeometryError:
            geometry = None
        return Hit(id_text(parcel_id), geometry)

    def _ask(self, url: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Call the server, unless it has failed too often of late."""
        self._breaker.check()
        try:
            answer = self._client.get_json(url, params)
        except SourceError as error:
            self._breaker.failed(error)
            raise
        self._breaker.succeeded()
        return answer


def _attributes(row: Mapping[str, Any]) -> Mapping[str | None, Any]:
    return row.get("attributes") or {}


def _sql_value(parcel_id: str, numeric: bool) -> str | None:
    """The id in a where clause; None where a numeric column cannot hold it."""
    if not numeric:
        return "'" + parcel_id.replace("'", "''") + "'"
    return parcel_id if re.fullmatch(r"-?\d+(\.\d+)?", parcel_id, re.ASCII) else None

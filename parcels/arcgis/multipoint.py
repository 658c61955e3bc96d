"""The rows at points: a hundred points are one multipoint, and what comes back is joined here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from shapely import MultiPolygon, Point

from parcels.arcgis.batches import BatchResult, query_in_batches, requery_empty
from parcels.arcgis.pages import fetch_rows
from parcels.arcgis.query import LayerQuery, esri_json
from parcels.errors import ParcelsError, QueryRefused, SourceMisconfigured
from parcels.lot_selection import is_at, within_m
from parcels.parcel_source import ParcelRow, QueryResult

_BATCH = 100
# About 100 m: server and client may differ by a datum step, never by so much.
_NEAR_DEGREES = 1e-3
# About a millimetre: a point on an edge touches the lots of both sides.
_EDGE_DEGREES = 1e-8
# Until a multipoint has found a row, so many points of a batch without any are asked singly: a
# server that does not know multipoints may say that there is nothing.
_PROBES = 3
_SHORTEST_DEGREE_M = 110_500.0


class PointLookup:
    """Asks a layer for the rows at points (EPSG:4326), and near them."""

    def __init__(self, layer: LayerQuery, in_flight: int) -> None:
        self._layer = layer
        self._in_flight = in_flight
        self._knows_multipoints: bool | None = None

    def at_points(self, points: Sequence[Point]) -> list[BatchResult]:
        """The rows that contain or touch each of the points."""
        return requery_empty(self._in_batches, points, lambda: self._knows_multipoints is not False)

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[BatchResult]:
        """The rows within `distance_m` metres of each of the points.

        Rows without a usable geometry are nowhere, and so near no point.
        """

        def ask(some: Sequence[Point]) -> list[BatchResult]:
            return self._near(some, distance_m)

        return query_in_batches(self._layer, ask, points, size=_BATCH, in_flight=self._in_flight)

    def _in_batches(self, points: Sequence[Point]) -> list[BatchResult]:
        return query_in_batches(
            self._layer, self._at_points, points, size=_BATCH, in_flight=self._in_flight
        )

    def _at_points(self, points: Sequence[Point]) -> list[BatchResult]:
        if len(points) == 1:
            return [self._at_point(points[0])]
        if self._knows_multipoints is False:
            return self._singly(points)
        try:
            hits = self._at_multipoint(points)
        except QueryRefused:
            if len(points) > 2 or self._knows_multipoints:
                raise
            # If each of the two is answered alone, it is the multipoint that is not understood.
            answers = self._singly(points)
            self._knows_multipoints = not all(isinstance(answer, QueryResult) for answer in answers)
            return answers
        if hits:
            self._knows_multipoints = True
        elif not self._knows_multipoints and not self._nothing_there(points[:_PROBES]):
            self._knows_multipoints = False
            return self._singly(points)
        return self._joined(points, hits)

    def _joined(self, points: Sequence[Point], hits: Sequence[ParcelRow]) -> list[BatchResult]:
        touching = _join(points, hits)
        joined = set[int]().union(*touching)
        orphans = [hit for row, hit in enumerate(hits) if row not in joined]
        if any(orphan.geometry is None for orphan in orphans):
            # Fewer are asked at once, down to the point that it is at.
            raise QueryRefused(
                f"{self._layer.origin}: a lot that cannot be drawn is at one of {len(points)} "
                "points; report it to the county"
            )
        return [
            # Server and client may differ at an edge.
            self._at_point_or_error(point)
            if not rows and any(_is_near(point, orphan) for orphan in orphans)
            else self._found(hits, rows)
            for point, rows in zip(points, touching, strict=True)
        ]

    def _singly(self, points: Iterable[Point]) -> list[BatchResult]:
        return [self._at_point_or_error(point) for point in points]

    def _at_point_or_error(self, point: Point) -> BatchResult:
        try:
            return self._at_point(point)
        except ParcelsError as error:
            return error

    def _nothing_there(self, points: Sequence[Point]) -> bool:
        return not any(self._at_point(point).hits for point in points)

    def _at_point(self, point: Point) -> QueryResult:
        [[x, y]] = self._layer.info.reference.xy([point])
        if not np.isfinite([x, y]).all():
            return QueryResult((), self._layer.origin)
        hits = self._hits_at("esriGeometryPoint", esri_json({"x": x, "y": y}), [point])
        at_point = [hit for hit in hits if hit.geometry is None or is_at(point, hit.geometry)]
        if hits and not at_point:
            raise self._ignores_the_place()
        return QueryResult(tuple(at_point), self._layer.origin)

    def _at_multipoint(self, points: Sequence[Point]) -> tuple[ParcelRow, ...]:
        xy = self._layer.info.reference.xy(points)
        # A point beyond what the layer's CRS can hold is in none of its lots.
        xy = xy[np.isfinite(xy).all(axis=1)]
        if not len(xy):
            return ()
        return self._hits_at("esriGeometryMultipoint", esri_json({"points": xy.tolist()}), points)

    def _near(self, points: Sequence[Point], distance_m: float) -> list[BatchResult]:
        reference = self._layer.info.reference
        boxes = [_box(point, distance_m) for point in points]
        # One beyond what the layer's CRS can hold, as at a pole, is near none of its lots.
        boxes = [box for box in boxes if np.isfinite(reference.xy([box])).all()]
        if not boxes:
            return [self._found((), ()) for _ in points]
        area = esri_json({"rings": reference.rings(shapely.union_all(boxes))})
        reach_degrees = 3 * distance_m / _SHORTEST_DEGREE_M
        hits = self._hits_at("esriGeometryPolygon", area, points, reach_degrees)
        near = _join([within_m(point, distance_m) for point in points], hits)
        return [self._found(hits, rows) for rows in near]

    def _hits_at(
        self, kind: str, geometry: str, points: Sequence[Point], reach_degrees: float = 0.0
    ) -> tuple[ParcelRow, ...]:
        """All rows that meet a geometry about some points.

        Raises:
            SourceUnavailable.
            SourceMisconfigured: also for rows that lie elsewhere.
        """
        question = {
            "geometry": geometry,
            "geometryType": kind,
            "spatialRel": "esriSpatialRelIntersects",
            **self._layer.info.reference.sent,
        }
        first = self._layer.rows(question)
        self._check_place(points, first.hits, reach_degrees + _NEAR_DEGREES)
        return fetch_rows(self._layer, question, first)

    def _check_place(
        self, points: Sequence[Point], hits: Sequence[ParcelRow], reach_degrees: float
    ) -> None:
        places = [hit.geometry for hit in hits if hit.geometry is not None]
        if not places:
            return
        near = shapely.STRtree(points).query(places, "dwithin", reach_degrees)
        if not near.size:
            raise self._ignores_the_place()

    def _ignores_the_place(self) -> SourceMisconfigured:
        return SourceMisconfigured(
            f"{self._layer.origin}: answers with lots that are not at the point: the server "
            "ignores the place; name another layer in the registry entry"
        )

    def _found(self, hits: Sequence[ParcelRow], rows: Iterable[int]) -> QueryResult:
        return QueryResult(tuple(hits[row] for row in sorted(rows)), self._layer.origin)


def _is_near(point: Point, hit: ParcelRow) -> bool:
    return bool(shapely.dwithin(hit.geometry, point, _NEAR_DEGREES))


def _join(
    places: Sequence[Point] | Sequence[MultiPolygon], hits: Sequence[ParcelRow]
) -> list[set[int]]:
    """For each place the numbers of the hits that it touches."""
    tree = shapely.STRtree([hit.geometry for hit in hits])
    touching: list[set[int]] = [set() for _ in places]
    for place, row in tree.query(list(places), "dwithin", _EDGE_DEGREES).T.tolist():
        touching[place].add(row)
    return touching


def _box(point: Point, distance_m: float) -> MultiPolygon:
    """A box in degrees that holds the circle about a point."""
    lat_degrees = distance_m / _SHORTEST_DEGREE_M
    lon_degrees = lat_degrees / max(np.cos(np.radians(point.y)), 1e-6)
    return shapely.box(
        point.x - lon_degrees, point.y - lat_degrees, point.x + lon_degrees, point.y + lat_degrees
    )

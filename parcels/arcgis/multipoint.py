"""Rows at points: a hundred points are one multipoint query, joined to its rows here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from shapely import MultiPolygon, Point

from parcels.arcgis.batches import BatchResult, query_in_batches, requery_empty
from parcels.arcgis.pages import fetch_rows
from parcels.arcgis.query import LayerQuery, esri_json
from parcels.errors import ParcelsError, QueryRefused, SourceMisconfigured
from parcels.lot_selection import circle_around, is_at_point
from parcels.parcel_source import ParcelRow, QueryResult

_POINTS_PER_CALL = 100
# About 100 m: server and client may differ by a datum transformation, but never this much.
_NEAR_DEGREES = 1e-3
# About 1 mm: a point on a shared edge touches the lots of both sides.
_EDGE_DEGREES = 1e-8
# Until a multipoint query has found a row, this many points of an empty batch are queried singly:
# a server without multipoint support may return nothing instead of an error.
_PROBE_POINTS = 3
_MIN_METRES_PER_DEGREE = 110_500.0


class PointLookup:
    """Queries a layer for the rows at or near EPSG:4326 points."""

    def __init__(self, layer: LayerQuery, in_flight: int) -> None:
        self._layer = layer
        self._in_flight = in_flight
        self._supports_multipoint: bool | None = None

    def at_points(self, points: Sequence[Point]) -> list[BatchResult]:
        """The rows that contain or touch each point."""
        return requery_empty(
            self._in_batches, points, lambda: self._supports_multipoint is not False
        )

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[BatchResult]:
        """The rows within `distance_m` metres of each point.

        Rows without a usable geometry are never near a point.
        """

        def query(some: Sequence[Point]) -> list[BatchResult]:
            return self._near(some, distance_m)

        return query_in_batches(
            self._layer, query, points, size=_POINTS_PER_CALL, in_flight=self._in_flight
        )

    def _in_batches(self, points: Sequence[Point]) -> list[BatchResult]:
        return query_in_batches(
            self._layer, self._at_points, points, size=_POINTS_PER_CALL, in_flight=self._in_flight
        )

    def _at_points(self, points: Sequence[Point]) -> list[BatchResult]:
        if len(points) == 1:
            return [self._at_point(points[0])]
        if self._supports_multipoint is False:
            return self._one_by_one(points)
        try:
            rows = self._at_multipoint(points)
        except QueryRefused:
            if len(points) > 2 or self._supports_multipoint:
                raise
            # If both points work alone, the server does not support multipoints.
            results = self._one_by_one(points)
            self._supports_multipoint = not all(isinstance(each, QueryResult) for each in results)
            return results
        if rows:
            self._supports_multipoint = True
        elif not self._supports_multipoint and not self._is_empty(points[:_PROBE_POINTS]):
            self._supports_multipoint = False
            return self._one_by_one(points)
        return self._join_to_points(points, rows)

    def _join_to_points(
        self, points: Sequence[Point], rows: Sequence[ParcelRow]
    ) -> list[BatchResult]:
        touching = _spatial_join(points, rows)
        joined = set[int]().union(*touching)
        unmatched = [row for i, row in enumerate(rows) if i not in joined]
        if any(row.geometry is None for row in unmatched):
            # Makes the caller split the batch, down to the point of this row.
            raise QueryRefused(
                f"{self._layer.origin}: one of {len(points)} points is in a lot with invalid "
                "geometry; report it to the county"
            )
        return [
            # Server and client may disagree at an edge.
            self._at_point_or_error(point)
            if not indices and any(_is_near(point, row) for row in unmatched)
            else self._result(rows, indices)
            for point, indices in zip(points, touching, strict=True)
        ]

    def _one_by_one(self, points: Iterable[Point]) -> list[BatchResult]:
        return [self._at_point_or_error(point) for point in points]

    def _at_point_or_error(self, point: Point) -> BatchResult:
        try:
            return self._at_point(point)
        except ParcelsError as error:
            return error

    def _is_empty(self, points: Sequence[Point]) -> bool:
        return not any(self._at_point(point).rows for point in points)

    def _at_point(self, point: Point) -> QueryResult:
        [[x, y]] = self._layer.info.geometry_crs.xy([point])
        if not np.isfinite([x, y]).all():
            return QueryResult((), self._layer.origin)
        rows = self._rows_at("esriGeometryPoint", esri_json({"x": x, "y": y}), [point])
        at_point = [row for row in rows if row.geometry is None or is_at_point(point, row.geometry)]
        if rows and not at_point:
            raise self._ignores_geometry()
        return QueryResult(tuple(at_point), self._layer.origin)

    def _at_multipoint(self, points: Sequence[Point]) -> tuple[ParcelRow, ...]:
        xy = self._layer.info.geometry_crs.xy(points)
        # Points outside of the layer's CRS are in none of its lots.
        xy = xy[np.isfinite(xy).all(axis=1)]
        if not len(xy):
            return ()
        return self._rows_at("esriGeometryMultipoint", esri_json({"points": xy.tolist()}), points)

    def _near(self, points: Sequence[Point], distance_m: float) -> list[BatchResult]:
        crs = self._layer.info.geometry_crs
        boxes = [_box(point, distance_m) for point in points]
        # Boxes outside of the layer's CRS, as at a pole, are near none of its lots.
        boxes = [box for box in boxes if np.isfinite(crs.xy([box])).all()]
        if not boxes:
            return [self._result((), ()) for _ in points]
        area = esri_json({"rings": crs.rings(shapely.union_all(boxes))})
        reach_degrees = 3 * distance_m / _MIN_METRES_PER_DEGREE
        rows = self._rows_at("esriGeometryPolygon", area, points, reach_degrees)
        near = _spatial_join([circle_around(point, distance_m) for point in points], rows)
        return [self._result(rows, indices) for indices in near]

    def _rows_at(
        self, kind: str, geometry: str, points: Sequence[Point], reach_degrees: float = 0.0
    ) -> tuple[ParcelRow, ...]:
        """All rows that intersect a query geometry around some points.

        Raises:
            SourceUnavailable.
            SourceMisconfigured: also if the rows are elsewhere.
        """
        params = {
            "geometry": geometry,
            "geometryType": kind,
            "spatialRel": "esriSpatialRelIntersects",
            **self._layer.info.geometry_crs.in_sr,
        }
        first = self._layer.rows(params)
        self._check_location(points, first.rows, reach_degrees + _NEAR_DEGREES)
        return fetch_rows(self._layer, params, first)

    def _check_location(
        self, points: Sequence[Point], rows: Sequence[ParcelRow], reach_degrees: float
    ) -> None:
        lots = [row.geometry for row in rows if row.geometry is not None]
        if not lots:
            return
        near = shapely.STRtree(points).query(lots, "dwithin", reach_degrees)
        if not near.size:
            raise self._ignores_geometry()

    def _ignores_geometry(self) -> SourceMisconfigured:
        return SourceMisconfigured(
            f"{self._layer.origin}: the response has lots that are not at the point: the server "
            "ignores the query geometry; use another layer in the registry entry"
        )

    def _result(self, rows: Sequence[ParcelRow], indices: Iterable[int]) -> QueryResult:
        return QueryResult(tuple(rows[i] for i in sorted(indices)), self._layer.origin)


def _is_near(point: Point, row: ParcelRow) -> bool:
    return bool(shapely.dwithin(row.geometry, point, _NEAR_DEGREES))


def _spatial_join(
    places: Sequence[Point] | Sequence[MultiPolygon], rows: Sequence[ParcelRow]
) -> list[set[int]]:
    """For each place the indices of the rows that it touches (R-tree)."""
    tree = shapely.STRtree([row.geometry for row in rows])
    touching: list[set[int]] = [set() for _ in places]
    for place, row in tree.query(list(places), "dwithin", _EDGE_DEGREES).T.tolist():
        touching[place].add(row)
    return touching


def _box(point: Point, distance_m: float) -> MultiPolygon:
    """A box in degrees that contains the circle around a point."""
    lat_degrees = distance_m / _MIN_METRES_PER_DEGREE
    lon_degrees = lat_degrees / max(np.cos(np.radians(point.y)), 1e-6)
    return shapely.box(
        point.x - lon_degrees, point.y - lat_degrees, point.x + lon_degrees, point.y + lat_degrees
    )

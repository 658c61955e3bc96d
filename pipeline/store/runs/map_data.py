"""Locations of a run's properties, for maps: single lots, or grid cells if there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from pipeline.store.runs.counted_ground import COUNTED_DETECTIONS, inside_boundary
from pipeline.store.runs.lifecycle import Run
from pipeline.store.runs.totals import PROCESSED

# Up to this number, each property is drawn; more are shown as a grid.
MAX_DRAWN_LOTS = 2_000
# Up to this number, their detections are drawn too.
MAX_LOTS_WITH_DETECTIONS = 300
# Number of cells of the grid's longer side.
_GRID_CELLS = 28

MapBounds = tuple[float, float, float, float]

# The envelope of a lot that is cut at longitude 180 is as wide as the world.
_PLACED = f"""
SELECT p.id, p.property_id, p.state, p.reason, p.boundary_fk, b.source, b.version, b.geom,
    CASE WHEN ST_XMax(b.geom) - ST_XMin(b.geom) > 180 THEN ST_PointOnSurface(b.geom)
        ELSE coalesce(ST_Centroid(ST_Envelope(b.geom)), p.point, p.located_point) END AS place
FROM (SELECT p.* FROM {PROCESSED}) p LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
"""  # noqa: S608

# Around longitude 180, those west of it continue eastwards.
_X = "CASE WHEN :across_180 AND ST_X(place) < 0 THEN ST_X(place) + 360 ELSE ST_X(place) END"

# Percentiles: one address located in another country must not shrink the county to a dot.
_EXTENT = text(f"""
SELECT count(*) AS properties, count(place) AS placed,
    min({_X}) AS west, min(ST_Y(place)) AS south,
    max({_X}) AS east, max(ST_Y(place)) AS north,
    percentile_cont(ARRAY[0.01, 0.99]) WITHIN GROUP (ORDER BY {_X}) AS p1_p99_x,
    percentile_cont(ARRAY[0.01, 0.99]) WITHIN GROUP (ORDER BY ST_Y(place)) AS p1_p99_y
FROM ({_PLACED}) placed
""")  # noqa: S608

_INSIDE = f"{_X} BETWEEN :west AND :east AND ST_Y(place) BETWEEN :south AND :north"

_LOTS = text(f"""
SELECT property_id, state, reason, source, ST_AsBinary(coalesce(geom, place)) AS geom
FROM ({_PLACED}) placed WHERE place IS NOT NULL ORDER BY id
""")  # noqa: S608

_DETECTIONS = text(f"""
SELECT label, ST_AsBinary(geom) AS geom, property_id FROM (
    SELECT d.label, d.id, {inside_boundary()} AS geom, p.property_id
    FROM ({_PLACED}) p {COUNTED_DETECTIONS}
    WHERE place IS NOT NULL AND p.state = 'done'
        AND (CAST(:labels AS text[]) IS NULL OR d.label = ANY(CAST(:labels AS text[])))
) counted WHERE NOT ST_IsEmpty(geom) ORDER BY label, id
""")  # noqa: S608

_IN_CELLS = f"""
SELECT least(floor(({_X} - :west) / :width_deg), :columns - 1)::int AS x,
    least(floor((:north - ST_Y(place)) / :height_deg), :rows - 1)::int AS y, placed.*
FROM ({_PLACED}) placed WHERE {_INSIDE}
"""  # noqa: S608

_CELL_STATES = text(f"""
SELECT x, y, state, count(*) AS properties,
    count(DISTINCT version) FILTER (WHERE source = 'lot') AS lots
FROM ({_IN_CELLS}) cells GROUP BY x, y, state ORDER BY y, x, state
""")  # noqa: S608

_CELL_AREAS = text(f"""
-- Only lots: the content of a 30 m buffer is not that of the lot. A lot that several properties
-- share (the units of a house) counts once: equal boundaries have one version.
SELECT x, y, label, sum(area_m2) AS area_m2 FROM (
    SELECT DISTINCT ON (cells.version, m.label) cells.x, cells.y, m.label, m.area_m2
    FROM ({_IN_CELLS}) cells JOIN lotline.measurement m ON m.property_fk = cells.id AND m.current
    WHERE cells.state = 'done' AND m.source = 'lot'
        AND (CAST(:labels AS text[]) IS NULL OR m.label = ANY(CAST(:labels AS text[])))
    ORDER BY cells.version, m.label, cells.id
) lots GROUP BY x, y, label ORDER BY y, x, label
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class PlacedLot:
    """A property on the map: its boundary, or its point if `source` is None."""

    property_id: str
    state: str
    reason: str
    source: str | None
    geometry: BaseGeometry


@dataclass(frozen=True, slots=True)
class MapDetection:
    """A detection on the map, in EPSG:4326; `property_id` is "" if its property is unknown."""

    label: str
    geometry: BaseGeometry
    property_id: str = ""


@dataclass(slots=True)
class GridCell:
    """A grid cell: column `x` from the west, row `y` from the north.

    Attributes:
        states: number of properties by state.
        lots: number of measured lots; one that several properties share counts once.
        areas_m2: in those lots, by label.
    """

    x: int
    y: int
    states: dict[str, int]
    lots: int
    areas_m2: dict[str, float]


@dataclass(frozen=True, slots=True)
class MapGrid:
    """A grid over the map's bounds, with the cells that are not empty."""

    columns: int
    rows: int
    cells: tuple[GridCell, ...]


@dataclass(frozen=True, slots=True)
class RunMap:
    """The locations of a run's properties, as `lots` or as a `grid`.

    Attributes:
        bounds: west, south, east, north in degrees, of the shown properties. Around longitude 180
            east, and coordinates west of that longitude, continue beyond 180.
        properties: number of properties that the run last leased.
        placed: number of those with a known location.
        shown: number of those inside the bounds; a grid leaves out outliers.
        detections: on the lots, if these are few.
    """

    bounds: MapBounds
    properties: int
    placed: int
    shown: int
    lots: tuple[PlacedLot, ...] = ()
    detections: tuple[MapDetection, ...] = ()
    grid: MapGrid | None = None


def build_run_map(conn: Connection, run: Run) -> RunMap | None:
    """The locations of a run's properties; None if none has a known location.

    Memory does not grow with the size of the run.
    """
    where = {"county": run.county, "run": run.id, "across_180": False}
    extent = conn.execute(_EXTENT, where).one()
    if not extent.placed:
        return None
    if extent.east - extent.west > 180:
        across = conn.execute(_EXTENT, {**where, "across_180": True}).one()
        if across.east - across.west < extent.east - extent.west:
            where, extent = {**where, "across_180": True}, across
    labelled = {**where, "labels": run.settings.get("labels")}
    if extent.placed > MAX_DRAWN_LOTS:
        west, east = _clip_outliers(extent.west, extent.east, *extent.p1_p99_x)
        south, north = _clip_outliers(extent.south, extent.north, *extent.p1_p99_y)
        bounds = (west, south, east, north)
        grid = _grid(conn, bounds, labelled)
        shown = sum(sum(cell.states.values()) for cell in grid.cells)
        return RunMap(bounds, extent.properties, extent.placed, shown, grid=grid)
    lots = tuple(
        PlacedLot(row.property_id, row.state, row.reason, row.source, _geometry(row.geom, extent))
        for row in conn.execute(_LOTS, where)
    )
    detections: Sequence[MapDetection] = ()
    if len(lots) <= MAX_LOTS_WITH_DETECTIONS:
        rows = conn.execute(_DETECTIONS, labelled)
        detections = [
            MapDetection(row.label, _geometry(row.geom, extent), row.property_id) for row in rows
        ]
    bounds = (extent.west, extent.south, extent.east, extent.north)
    return RunMap(bounds, extent.properties, extent.placed, len(lots), lots, tuple(detections))


def _geometry(wkb: bytes, extent: Row[Any]) -> BaseGeometry:
    """A geometry near the extent: without this a lot at longitude 180 is as wide as the world."""
    middle = (extent.west + extent.east) / 2

    def near(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        x = np.where(x < middle - 180, x + 360, x)
        return np.column_stack([np.where(x > middle + 180, x - 360, x), y])

    return shapely.transform(shapely.from_wkb(wkb), near)


def _clip_outliers(smallest: float, largest: float, p1: float, p99: float) -> tuple[float, float]:
    """The range from p1 to p99, extended by up to half its length as far as there are values."""
    margin = (p99 - p1) / 2
    return max(smallest, p1 - margin), min(largest, p99 + margin)


def _grid(conn: Connection, bounds: MapBounds, where: dict[str, object]) -> MapGrid:
    west, south, east, north = bounds
    where = {**where, "west": west, "south": south, "east": east, "north": north}
    longitude_scale = math.cos(math.radians((south + north) / 2))
    width, height = (east - west) * longitude_scale, north - south
    side = max(width, height, 1e-9) / _GRID_CELLS
    columns, rows = max(1, math.ceil(width / side)), max(1, math.ceil(height / side))
    in_grid = {
        **where, "columns": columns, "rows": rows,
        "width_deg": max(east - west, 1e-9) / columns, "height_deg": max(height, 1e-9) / rows,
    }  # fmt: skip
    cells: dict[tuple[int, int], GridCell] = {}
    for row in conn.execute(_CELL_STATES, in_grid):
        cell = cells.setdefault((row.x, row.y), GridCell(row.x, row.y, {}, 0, {}))
        cell.states[row.state] = row.properties
        cell.lots += row.lots if row.state == "done" else 0
    for row in conn.execute(_CELL_AREAS, in_grid):
        cells[row.x, row.y].areas_m2[row.label] = row.area_m2
    return MapGrid(columns, rows, tuple(cells.values()))

"""Where the properties of a run lie: each of a few, or the cells of a grid over many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, text

from pipeline.store.runs.lifecycle import Run
from pipeline.store.runs.totals import PROCESSED

# Up to so many properties are drawn each, and things on so many; more are shown by a grid.
MAX_DRAWN_LOTS = 2_000
MAX_LOTS_WITH_DETECTIONS = 300
# The longer side of the grid.
_CELLS = 28

MapBounds = tuple[float, float, float, float]

_PLACED = f"""
SELECT p.id, p.property_id, p.state, p.reason, b.source, b.geom,
    coalesce(ST_Centroid(ST_Envelope(b.geom)), p.point, p.located_point) AS place
FROM (SELECT p.* FROM {PROCESSED}) p LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
"""  # noqa: S608

# An address that was found in another country must not shrink the county to a dot.
_FRAME = text(f"""
SELECT count(*) AS properties, count(place) AS placed,
    min(ST_X(place)) AS west, min(ST_Y(place)) AS south,
    max(ST_X(place)) AS east, max(ST_Y(place)) AS north,
    percentile_cont(ARRAY[0.01, 0.99]) WITHIN GROUP (ORDER BY ST_X(place)) AS most_x,
    percentile_cont(ARRAY[0.01, 0.99]) WITHIN GROUP (ORDER BY ST_Y(place)) AS most_y
FROM ({_PLACED}) placed
""")  # noqa: S608

_INSIDE = "ST_X(place) BETWEEN :west AND :east AND ST_Y(place) BETWEEN :south AND :north"

_LOTS = text(f"""
SELECT property_id, state, reason, source, ST_AsBinary(coalesce(geom, place)) AS geom
FROM ({_PLACED}) placed WHERE {_INSIDE} ORDER BY id
""")  # noqa: S608

_THINGS = text(f"""
SELECT d.label, ST_AsBinary(d.geom) AS geom
FROM ({_PLACED}) placed JOIN lotline.detection d ON d.property_fk = placed.id
WHERE {_INSIDE} AND placed.state = 'done' AND d.state IN ('proposed', 'accepted')
    AND (CAST(:labels AS text[]) IS NULL OR d.label = ANY(CAST(:labels AS text[])))
ORDER BY d.label, d.id
""")  # noqa: S608

_IN_CELLS = f"""
SELECT least(floor((ST_X(place) - :west) / :width_deg), :columns - 1)::int AS x,
    least(floor((:north - ST_Y(place)) / :height_deg), :rows - 1)::int AS y, placed.*
FROM ({_PLACED}) placed WHERE {_INSIDE}
"""  # noqa: S608

_CELL_STATES = text(f"""
SELECT x, y, state, count(*) AS properties, count(*) FILTER (WHERE source = 'lot') AS lots
FROM ({_IN_CELLS}) cells GROUP BY x, y, state ORDER BY y, x, state
""")  # noqa: S608

_CELL_AREAS = text(f"""
-- Of lots alone: a circle of 30 m says nothing of what a lot has.
SELECT x, y, label, sum(m.area_m2) AS area_m2
FROM ({_IN_CELLS}) cells JOIN lotline.measurement m ON m.property_fk = cells.id AND m.current
WHERE cells.state = 'done' AND m.source = 'lot'
    AND (CAST(:labels AS text[]) IS NULL OR label = ANY(CAST(:labels AS text[])))
GROUP BY x, y, label ORDER BY y, x, label
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class PlacedLot:
    """A property on the map: its boundary, or (`source` None) the point where it is said to be."""

    property_id: str
    state: str
    reason: str
    source: str | None
    geometry: BaseGeometry


@dataclass(frozen=True, slots=True)
class MapDetection:
    """What was found, in EPSG:4326."""

    label: str
    geometry: BaseGeometry


@dataclass(slots=True)
class GridCell:
    """What lies in a cell of the grid: column `x` from the west, row `y` from the north.

    Attributes:
        states: properties, by state.
        lots: those that were measured in a lot.
        areas_m2: in those lots, by label.
    """

    x: int
    y: int
    states: dict[str, int]
    lots: int
    areas_m2: dict[str, float]


@dataclass(frozen=True, slots=True)
class MapGrid:
    """A grid over a frame, with the cells that are not empty."""

    columns: int
    rows: int
    cells: tuple[GridCell, ...]


@dataclass(frozen=True, slots=True)
class RunMap:
    """Where a run's properties lie; either `lots` or `grid` shows them.

    Attributes:
        bounds: west, south, east, north in degrees, of the places that are shown.
        properties: that the run took last, all of them.
        placed: of those, the ones of which it is known where they are.
        shown: of those, the ones in the frame; a few may lie far off.
        detections: what was found on them, where they are few.
    """

    bounds: MapBounds
    properties: int
    placed: int
    shown: int
    lots: tuple[PlacedLot, ...] = ()
    detections: tuple[MapDetection, ...] = ()
    grid: MapGrid | None = None


def build_run_map(conn: Connection, run: Run) -> RunMap | None:
    """Where the properties lie that a run took last; None where that is known of none.

    What is kept in memory does not grow with the run.
    """
    where = {"county": run.county, "run": run.id}
    frame = conn.execute(_FRAME, where).one()
    if not frame.placed:
        return None
    west, east = _most(frame.west, frame.east, *frame.most_x)
    south, north = _most(frame.south, frame.north, *frame.most_y)
    bounds = (west, south, east, north)
    inside = {**where, "west": west, "south": south, "east": east, "north": north}
    labelled = {**inside, "labels": run.settings.get("labels")}
    if frame.placed > MAX_DRAWN_LOTS:
        grid = _grid(conn, bounds, labelled)
        shown = sum(sum(cell.states.values()) for cell in grid.cells)
        return RunMap(bounds, frame.properties, frame.placed, shown, grid=grid)
    lots = tuple(
        PlacedLot(row.property_id, row.state, row.reason, row.source, shapely.from_wkb(row.geom))
        for row in conn.execute(_LOTS, inside)
    )
    detections: Sequence[MapDetection] = ()
    if len(lots) <= MAX_LOTS_WITH_DETECTIONS:
        rows = conn.execute(_THINGS, labelled)
        detections = [MapDetection(row.label, shapely.from_wkb(row.geom)) for row in rows]
    return RunMap(bounds, frame.properties, frame.placed, len(lots), lots, tuple(detections))


def _most(least: float, greatest: float, low: float, high: float) -> tuple[float, float]:
    """The range of nearly all, and of what lies no further from it than half its length."""
    around = (high - low) / 2
    return max(least, low - around), min(greatest, high + around)


def _grid(conn: Connection, bounds: MapBounds, where: dict[str, object]) -> MapGrid:
    west, south, east, north = bounds
    shrink = math.cos(math.radians((south + north) / 2))  # of a degree of longitude
    width, height = (east - west) * shrink, north - south
    side = max(width, height, 1e-9) / _CELLS
    columns, rows = max(1, math.ceil(width / side)), max(1, math.ceil(height / side))
    cut = {
        **where, "columns": columns, "rows": rows,
        "width_deg": max(east - west, 1e-9) / columns, "height_deg": max(height, 1e-9) / rows,
    }  # fmt: skip
    cells: dict[tuple[int, int], GridCell] = {}
    for row in conn.execute(_CELL_STATES, cut):
        cell = cells.setdefault((row.x, row.y), GridCell(row.x, row.y, {}, 0, {}))
        cell.states[row.state] = row.properties
        cell.lots += row.lots if row.state == "done" else 0
    for row in conn.execute(_CELL_AREAS, cut):
        cells[row.x, row.y].areas_m2[row.label] = row.area_m2
    return MapGrid(columns, rows, tuple(cells.values()))

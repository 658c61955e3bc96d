"""Streams stored rows in chunks through a server-side cursor, with constant memory.

`*_columns` yield lists by column, geometry as EPSG:4326 WKB; `iter_*` yield GeoDataFrames. Each
yields at least one chunk with all columns, which may be empty. A caller that stops early closes the
generator, and with it the cursor.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import shapely
from sqlalchemy import Connection, TextClause, text

from parcels.measure import areas_m2
from pipeline.store.reads.export_selection import WHOLE_COUNTY, ExportSelection
from pipeline.store.results.measurements import MIN_OVERLAP_M2
from pipeline.store.runs.counted_ground import (
    COUNTED_DETECTIONS,
    IS_COUNTED,
    OVERLAPS_OR_IS_OLD,
    OWN_GROUND,
)

CHUNK_ROWS = 1024

ColumnArrays = dict[str, list[Any]]

# PostGIS sorts geometries along a Hilbert curve, by the centers of their boxes. Sorting the center
# points is faster: comparing two large polygons would decompress both each time.
DETECTIONS = f"""
-- Live detections (proposed and accepted) that count, with their provenance and their ground in the
-- boundary of today: by label, neighbours together.
SELECT d.id AS detection_id, p.property_id, p.state AS property_state, d.label, d.state, d.version,
       d.area_m2, d.clipped_area_m2, d.whole_area_m2, d.relation, d.score, d.prompt, d.segmenter,
       d.weights_sha256, m.segmenter AS measured_by, m.weights_sha256 AS measured_weights_sha256,
       m.coverage_fraction, b.source, CASE WHEN b.id = p.boundary_fk THEN p.method END AS method,
       b.version AS boundary_version, b.parcel_ids,
       d.chip_sha256 AS imagery_sha256, c.captured_on, c.gsd_m, c.chip_gsd_m, d.run_fk AS run_id,
       label.may_change, d.boundary_fk <> b.id AS is_of_old_boundary,
       CASE WHEN label.may_change AND d.clipped_area_m2 < d.area_m2
           THEN ST_AsBinary(b.geom) END AS crossed_boundary,
       ST_AsBinary(CASE WHEN label.may_change THEN {OWN_GROUND} ELSE d.geom END) AS geometry
FROM lotline.property p {COUNTED_DETECTIONS}
CROSS JOIN LATERAL (SELECT {OVERLAPS_OR_IS_OLD} AS may_change) label
LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256
WHERE {{selected}} AND {IS_COUNTED} AND (CAST(:property_ids AS text[]) IS NULL
    OR p.property_id = ANY(CAST(:property_ids AS text[])))
ORDER BY d.label, ST_Centroid(ST_Envelope(d.geom)), d.id
"""  # noqa: S608

BOUNDARIES = text("""
-- Boundaries of the properties of a run: neighbours together.
SELECT p.property_id, b.source, ST_AsBinary(b.geom) AS geometry
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county AND p.run_fk = :run
ORDER BY p.sort_key, p.id LIMIT :limit
""")

PROPERTIES = f"""
-- Every property, its boundary if it has one, and its measurements by label: neighbours together,
-- properties without a known location last.
SELECT p.property_id, p.state, p.reason, p.detail, b.source, p.method,
       b.area_m2 AS boundary_area_m2, b.version AS boundary_version, b.parcel_ids,
       p.coverage_fraction, c.captured_on, c.gsd_m, c.sources AS imagery_files,
       ST_X(coalesce(p.point, p.located_point)) AS longitude,
       ST_Y(coalesce(p.point, p.located_point)) AS latitude,
       p.located_by, p.confidence, p.parcel_id, p.address, p.matched_address, m.measured,
       o.cells AS own_cells,
       -- What measured the labels, and of the detections: a reviewed one may be older.
       array(SELECT n.segmenter FROM lotline.measurement n
             WHERE n.property_fk = p.id AND n.current AND m.measured IS NOT NULL
             UNION
             SELECT d.segmenter FROM lotline.detection d
             WHERE d.property_fk = p.id AND d.state IN ('proposed', 'accepted')
                 AND m.measured IS NOT NULL
             ORDER BY 1) AS segmenters,
       ST_AsBinary(b.geom) AS geometry
FROM lotline.property p
LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN lotline.chip c ON c.sha256 = p.chip_sha256
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(label, jsonb_build_array(area_m2, detection_count)) AS measured
    FROM lotline.measurement WHERE property_fk = p.id AND current AND {IS_COUNTED}
) m ON true
LEFT JOIN lotline.own_columns o ON o.property_fk = p.id
WHERE {{selected}}
ORDER BY coalesce(ST_Centroid(ST_Envelope(b.geom)), p.point, p.located_point), p.id
"""  # noqa: S608

UNFINISHED = """
-- Properties that are not done, and why, with the columns of their CSV row.
SELECT p.property_id, p.state, p.reason, p.detail, ST_X(p.point) AS longitude,
       ST_Y(p.point) AS latitude, p.parcel_id, p.address, o.cells AS own_cells
FROM lotline.property p LEFT JOIN lotline.own_columns o ON o.property_fk = p.id
WHERE {selected} AND p.state <> 'done'
ORDER BY p.state, p.reason, p.property_id
"""

LABELS = """
SELECT DISTINCT m.label
FROM lotline.property p JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE {selected} ORDER BY m.label
"""

LIVE_COUNTS = f"""
SELECT d.label, count(*) AS detections
FROM lotline.property p {COUNTED_DETECTIONS}
WHERE {{selected}} AND {IS_COUNTED} GROUP BY d.label
"""  # noqa: S608

OWN_COLUMNS = """
-- The names in use, how many properties have each, and in how many it is blank.
SELECT name, count(*) AS properties, count(*) FILTER (WHERE value = '') AS blank
FROM lotline.property p JOIN lotline.own_columns o ON o.property_fk = p.id
CROSS JOIN LATERAL jsonb_each_text(o.cells) AS each (name, value)
WHERE {selected} GROUP BY name ORDER BY name
"""

# In the order of the files: those of the oldest list first, as they were added.
FILE_ORDER = text("""
SELECT own_columns FROM lotline.property_list
WHERE county = :county AND (CAST(:list_id AS bigint) IS NULL OR id = :list_id)
ORDER BY loaded_at, id
""")


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """A column of the customer's properties file: properties that have it, blank ones included."""

    name: str
    properties: int
    blank: int


def measured_labels(
    conn: Connection, county: str, selection: ExportSelection = WHOLE_COUNTY
) -> list[str]:
    """The labels that have a current measurement on any property."""
    return list(conn.execute(*_selected(LABELS, county, selection)).scalars())


def count_live_detections(
    conn: Connection, county: str, selection: ExportSelection = WHOLE_COUNTY
) -> dict[str, int]:
    """Number of live detections that count of each label, including those that have no row.

    `detection_columns` has no row of a detection without ground of its own.
    """
    rows = conn.execute(*_selected(LIVE_COUNTS, county, selection))
    return {row.label: row.detections for row in rows}


def own_columns(
    conn: Connection, county: str, selection: ExportSelection = WHOLE_COUNTY
) -> list[OwnColumn]:
    """The customer's own columns, in the order of the files; of a list, only those of its file."""
    rows = conn.execute(*_selected(OWN_COLUMNS, county, selection))
    found = {row.name: OwnColumn(row.name, row.properties, row.blank) for row in rows}
    files = conn.execute(FILE_ORDER, {"county": county, "list_id": selection.list_id}).scalars()
    ordered = dict.fromkeys(name for names in files for name in names)
    if selection.list_id is None:
        ordered |= dict.fromkeys(found)  # of files that are forgotten
        return [found[name] for name in ordered if name in found]
    return [found.get(name, OwnColumn(name, 0, 0)) for name in ordered]


def detection_columns(
    conn: Connection,
    county: str,
    property_ids: list[str] | None = None,
    chunk: int = CHUNK_ROWS,
    *,
    selection: ExportSelection = WHOLE_COUNTY,
) -> Generator[ColumnArrays]:
    """Live detections that count, by label; with `property_ids`, only those on these properties.

    Their geometry and areas are those inside the boundary of today, without what an earlier row of
    the same label and property has: accepted ones come first, then the older one. So the rows add
    up to what `county_status` sums, and the ground that it leaves out as repeated. A detection
    without ground of its own has no row. `whole_area_m2` is that of the complete object.
    """
    query, where = _selected(DETECTIONS, county, selection)
    with closing(_chunks(conn, query, {**where, "property_ids": property_ids}, chunk)) as chunks:
        yield from map(_measured_again, chunks)


def property_columns(
    conn: Connection,
    county: str,
    stems: Mapping[str, str],
    chunk: int = CHUNK_ROWS,
    *,
    selection: ExportSelection = WHOLE_COUNTY,
    own_names: Mapping[str, str] | None = None,
) -> Generator[ColumnArrays]:
    """Every property, with `STEM_m2` and `STEM_count` (detections) for the stem of each label.

    Args:
        own_names: the customer's own columns, by the name that each gets.
    """
    query, where = _selected(PROPERTIES, county, selection)
    for columns in _chunks(conn, query, where, chunk):
        _split_own_columns(columns, own_names or {})
        by_property = [by_label or {} for by_label in columns.pop("measured")]
        for label, stem in stems.items():
            measured = [by_label.get(label, (None, None)) for by_label in by_property]
            columns[f"{stem}_m2"] = [area_m2 for area_m2, _ in measured]
            columns[f"{stem}_count"] = [count for _, count in measured]
        yield columns


def unfinished_columns(
    conn: Connection,
    county: str,
    chunk: int = CHUNK_ROWS,
    *,
    selection: ExportSelection = WHOLE_COUNTY,
    own_names: Mapping[str, str] | None = None,
) -> Generator[ColumnArrays]:
    """The properties that are not done, without geometry; `own_names` as of `property_columns`."""
    for columns in _chunks(conn, *_selected(UNFINISHED, county, selection), chunk):
        _split_own_columns(columns, own_names or {})
        yield columns


def iter_detections(
    conn: Connection, county: str, property_ids: list[str] | None = None, chunk: int = CHUNK_ROWS
) -> Iterator[geopandas.GeoDataFrame]:
    """Live detections; with `property_ids`, only those on these properties."""
    return map(_geodataframe, detection_columns(conn, county, property_ids, chunk))


def run_boundaries(
    conn: Connection, county: str, run_id: int, limit: int
) -> geopandas.GeoDataFrame:
    """Up to `limit` boundaries of a run's properties: property_id, source, geometry."""
    where = {"county": county, "run": run_id, "limit": limit}
    [columns] = _chunks(conn, BOUNDARIES, where, limit)
    return _geodataframe(columns)


def iter_properties(
    conn: Connection, county: str, chunk: int = CHUNK_ROWS
) -> Iterator[geopandas.GeoDataFrame]:
    """Every property with its boundary as geometry, and `LABEL_m2` and `LABEL_count`."""
    labels = measured_labels(conn, county)
    stems = dict(zip(labels, labels, strict=True))
    for columns in property_columns(conn, county, stems, chunk):
        yield _geodataframe(columns).astype({f"{label}_m2": "float64" for label in labels})


def _selected(
    query: str, county: str, selection: ExportSelection
) -> tuple[TextClause, dict[str, Any]]:
    """The query for a selection, and its bind values."""
    return text(query.replace("{selected}", selection.condition)), {
        "county": county, **selection.values,
    }  # fmt: skip


def _measured_again(columns: ColumnArrays) -> ColumnArrays:
    """The rows with the areas of their geometry, where that is not the stored one."""
    may_change, is_old = columns.pop("may_change"), columns.pop("is_of_old_boundary")
    boundaries = columns.pop("crossed_boundary")
    changed = [row for row, may in enumerate(may_change) if may]
    if not changed:
        return columns
    outlines = shapely.from_wkb([columns["geometry"][row] for row in changed])
    # None: the detection is inside its own boundary, and so is what is left of it.
    lots = shapely.from_wkb([boundaries[row] for row in changed])
    inside = np.where(shapely.is_missing(lots), outlines, shapely.intersection(outlines, lots))
    without_ground = set()
    for row, size_m2, inside_m2 in zip(changed, areas_m2(outlines), areas_m2(inside), strict=True):
        if size_m2 < min(MIN_OVERLAP_M2, columns["area_m2"][row]):
            without_ground.add(row)
        if not is_old[row] and math.isclose(size_m2, columns["area_m2"][row]):
            continue  # no other row has its ground
        columns["area_m2"][row] = float(size_m2)
        columns["clipped_area_m2"][row] = float(inside_m2)
    kept = [row for row in range(len(may_change)) if row not in without_ground]
    return {name: [values[row] for row in kept] for name, values in columns.items()}


def _split_own_columns(columns: ColumnArrays, own_names: Mapping[str, str]) -> None:
    """Replace `own_cells` by a column for each own name; None where a property lacks it."""
    cells = [by_name or {} for by_name in columns.pop("own_cells")]
    for exported, name in own_names.items():
        columns[exported] = [by_name.get(name) for by_name in cells]


def _chunks(
    conn: Connection, query: TextClause, parameters: Mapping[str, Any], chunk: int
) -> Generator[ColumnArrays]:
    # Options of this statement only: later statements on the connection are not streamed.
    streamed = query.execution_options(stream_results=True, max_row_buffer=chunk)
    with conn.execute(streamed, parameters) as result:
        names = list(result.keys())
        empty = True
        for rows in result.partitions(chunk):
            empty = False
            yield dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        if empty:
            yield {name: [] for name in names}


def _geodataframe(columns: ColumnArrays) -> geopandas.GeoDataFrame:
    geometry = shapely.from_wkb(columns.pop("geometry"))
    return geopandas.GeoDataFrame(columns, geometry=list(geometry), crs="EPSG:4326")

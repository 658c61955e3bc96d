"""Reading what is kept, a chunk at a time through a cursor of the server: memory stays flat.

`*_columns` give plain lists by column, geometry as WKB in EPSG:4326; `iter_*` give GeoDataFrames.
Each yields one chunk at least, with all its columns, if an empty one. Who stops before the end
closes it, and with it the cursor.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import geopandas
import shapely
from sqlalchemy import Connection, TextClause, text

CHUNK_ROWS = 1024

ColumnArrays = dict[str, list[Any]]

# PostGIS sorts geometries along a Hilbert curve, by the middles of their boxes. Sorted are points
# in those middles: to compare two large polygons, the server would unpack both each time.
DETECTIONS = text("""
-- What counts now: proposed and accepted, with where each came from; label by label, in each of
-- them neighbours together.
SELECT d.id AS detection_id, p.property_id, d.label, d.state, d.area_m2, d.clipped_area_m2,
       d.whole_area_m2, d.relation, d.score, d.prompt, d.segmenter, d.weights_sha256,
       b.source, CASE WHEN b.id = p.boundary_fk THEN p.method END AS method,
       b.version AS boundary_version, b.parcel_ids,
       d.chip_sha256 AS imagery_sha256, c.captured_on, c.gsd_m, d.run_fk AS run_id,
       ST_AsBinary(d.geom) AS geometry
FROM lotline.property p
JOIN lotline.detection d ON d.property_fk = p.id AND d.state IN ('proposed', 'accepted')
JOIN lotline.boundary b ON b.id = d.boundary_fk
LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256
WHERE p.county = :county AND (CAST(:property_ids AS text[]) IS NULL
    OR p.property_id = ANY(CAST(:property_ids AS text[])))
ORDER BY d.label, ST_Centroid(ST_Envelope(d.geom)), d.id
""")

BOUNDARIES = text("""
-- What was measured in, of the properties that a run took: neighbours together.
SELECT p.property_id, b.source, ST_AsBinary(b.geom) AS geometry
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county AND p.run_fk = :run
ORDER BY p.sort_key, p.id LIMIT :most
""")

PROPERTIES = text("""
-- Every property, its boundary if it has one, and what was measured of each label; neighbours
-- together, those of which nobody knows where they are last.
SELECT p.property_id, p.state, p.reason, p.detail, b.source, p.method,
       b.area_m2 AS boundary_area_m2, b.parcel_ids, p.coverage_fraction,
       ST_X(coalesce(p.point, p.located_point)) AS longitude,
       ST_Y(coalesce(p.point, p.located_point)) AS latitude,
       p.located_by, p.confidence, p.address, p.matched_address, m.measured,
       -- Who looked last, and who found what is measured: not the same where a person's word stands
       array(SELECT r.segmenter FROM lotline.run r WHERE r.id = p.run_fk AND p.state = 'done'
             UNION
             SELECT d.segmenter FROM lotline.detection d
             WHERE d.property_fk = p.id AND d.state IN ('proposed', 'accepted')
                 AND m.measured IS NOT NULL
             ORDER BY 1) AS segmenters,
       ST_AsBinary(b.geom) AS geometry
FROM lotline.property p
LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(label, jsonb_build_array(area_m2, detection_count)) AS measured
    FROM lotline.measurement WHERE property_fk = p.id AND current
) m ON true
WHERE p.county = :county
ORDER BY coalesce(ST_Centroid(ST_Envelope(b.geom)), p.point, p.located_point), p.id
""")

UNFINISHED = text("""
-- What is not done, and why, with all that its CSV said of it.
SELECT property_id, state, reason, detail, ST_X(point) AS longitude, ST_Y(point) AS latitude,
       parcel_id, address
FROM lotline.property WHERE county = :county AND state <> 'done'
ORDER BY state, reason, property_id
""")

LABELS = text("""
SELECT DISTINCT m.label
FROM lotline.property p JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE p.county = :county ORDER BY m.label
""")

LIVE_COUNTS = text("""
SELECT d.label, count(*) AS detections
FROM lotline.property p
JOIN lotline.detection d ON d.property_fk = p.id AND d.state IN ('proposed', 'accepted')
WHERE p.county = :county GROUP BY d.label
""")


def measured_labels(conn: Connection, county: str) -> list[str]:
    """The labels that are measured on any property now."""
    return list(conn.execute(LABELS, {"county": county}).scalars())


def count_live_detections(conn: Connection, county: str) -> dict[str, int]:
    """How many live detections there are of each label."""
    return {row.label: row.detections for row in conn.execute(LIVE_COUNTS, {"county": county})}


def detection_columns(
    conn: Connection, county: str, property_ids: list[str] | None = None, chunk: int = CHUNK_ROWS
) -> Generator[ColumnArrays]:
    """Live detections, label by label; with `property_ids`, a few, those on them alone."""
    where = {"county": county, "property_ids": property_ids}
    return _chunks(conn, DETECTIONS, where, chunk)


def property_columns(
    conn: Connection, county: str, stems: Mapping[str, str], chunk: int = CHUNK_ROWS
) -> Generator[ColumnArrays]:
    """Every property, with `STEM_m2` and `STEM_count` (of detections) for each label's stem."""
    for columns in _chunks(conn, PROPERTIES, {"county": county}, chunk):
        by_property = [found or {} for found in columns.pop("measured")]
        for label, stem in stems.items():
            measured = [found.get(label, (None, None)) for found in by_property]
            columns[f"{stem}_m2"] = [area_m2 for area_m2, _ in measured]
            columns[f"{stem}_count"] = [count for _, count in measured]
        yield columns


def unfinished_columns(
    conn: Connection, county: str, chunk: int = CHUNK_ROWS
) -> Generator[ColumnArrays]:
    """The properties that are not done, without geometry."""
    return _chunks(conn, UNFINISHED, {"county": county}, chunk)


def iter_detections(
    conn: Connection, county: str, property_ids: list[str] | None = None, chunk: int = CHUNK_ROWS
) -> Iterator[geopandas.GeoDataFrame]:
    """Live detections; with `property_ids`, a few, those on them alone."""
    return map(_frame, detection_columns(conn, county, property_ids, chunk))


def run_boundaries(conn: Connection, county: str, run_id: int, most: int) -> geopandas.GeoDataFrame:
    """So many boundaries of the properties that a run took last: property_id, source, geometry."""
    where = {"county": county, "run": run_id, "most": most}
    [columns] = _chunks(conn, BOUNDARIES, where, most)
    return _frame(columns)


def iter_properties(
    conn: Connection, county: str, chunk: int = CHUNK_ROWS
) -> Iterator[geopandas.GeoDataFrame]:
    """Every property with its boundary as geometry, and `LABEL_m2` and `LABEL_count`."""
    labels = measured_labels(conn, county)
    stems = dict(zip(labels, labels, strict=True))
    for columns in property_columns(conn, county, stems, chunk):
        yield _frame(columns).astype({f"{label}_m2": "float64" for label in labels})


def _chunks(
    conn: Connection, query: TextClause, parameters: Mapping[str, Any], chunk: int
) -> Generator[ColumnArrays]:
    # Of this statement only: the connection keeps its own way for what follows.
    streamed = query.execution_options(stream_results=True, max_row_buffer=chunk)
    with conn.execute(streamed, parameters) as result:
        names = list(result.keys())
        empty = True
        for rows in result.partitions(chunk):
            empty = False
            yield dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        if empty:
            yield {name: [] for name in names}


def _frame(columns: ColumnArrays) -> geopandas.GeoDataFrame:
    geometry = shapely.from_wkb(columns.pop("geometry"))
    return geopandas.GeoDataFrame(columns, geometry=list(geometry), crs="EPSG:4326")

"""Streams stored rows in chunks through a server-side cursor, with constant memory.

`*_columns` yield lists by column, geometry as EPSG:4326 WKB; `iter_*` yield GeoDataFrames. Each
yields at least one chunk with all columns, which may be empty. A caller that stops early closes the
generator, and with it the cursor.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import geopandas
import shapely
from sqlalchemy import Connection, TextClause, text

CHUNK_ROWS = 1024

ColumnArrays = dict[str, list[Any]]

# PostGIS sorts geometries along a Hilbert curve, by the centers of their boxes. Sorting the center
# points is faster: comparing two large polygons would decompress both each time.
DETECTIONS = text("""
-- Live detections (proposed and accepted) with their provenance: by label, neighbours together.
SELECT d.id AS detection_id, p.property_id, d.label, d.state, d.area_m2, d.clipped_area_m2,
       d.whole_area_m2, d.relation, d.score, d.prompt, d.segmenter, d.weights_sha256,
       b.source, CASE WHEN b.id = p.boundary_fk THEN p.method END AS method,
       b.version AS boundary_version, b.parcel_ids,
       d.chip_sha256 AS imagery_sha256, c.captured_on, c.gsd_m, c.chip_gsd_m, d.run_fk AS run_id,
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
-- Boundaries of the properties of a run: neighbours together.
SELECT p.property_id, b.source, ST_AsBinary(b.geom) AS geometry
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county AND p.run_fk = :run
ORDER BY p.sort_key, p.id LIMIT :limit
""")

PROPERTIES = text("""
-- Every property, its boundary if it has one, and its measurements by label: neighbours together,
-- properties without a known location last.
SELECT p.property_id, p.state, p.reason, p.detail, b.source, p.method,
       b.area_m2 AS boundary_area_m2, b.parcel_ids, p.coverage_fraction,
       c.captured_on, c.gsd_m, c.sources AS imagery_files,
       ST_X(coalesce(p.point, p.located_point)) AS longitude,
       ST_Y(coalesce(p.point, p.located_point)) AS latitude,
       p.located_by, p.confidence, p.address, p.matched_address, m.measured,
       -- Of the last run and of the measured detections: these differ after a review.
       array(SELECT r.segmenter FROM lotline.run r WHERE r.id = p.run_fk AND p.state = 'done'
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
    FROM lotline.measurement WHERE property_fk = p.id AND current
) m ON true
WHERE p.county = :county
ORDER BY coalesce(ST_Centroid(ST_Envelope(b.geom)), p.point, p.located_point), p.id
""")

UNFINISHED = text("""
-- Properties that are not done, and why, with the columns of their CSV row.
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
    """The labels that have a current measurement on any property."""
    return list(conn.execute(LABELS, {"county": county}).scalars())


def count_live_detections(conn: Connection, county: str) -> dict[str, int]:
    """Number of live detections of each label."""
    return {row.label: row.detections for row in conn.execute(LIVE_COUNTS, {"county": county})}


def detection_columns(
    conn: Connection, county: str, property_ids: list[str] | None = None, chunk: int = CHUNK_ROWS
) -> Generator[ColumnArrays]:
    """Live detections by label; with `property_ids`, only those on these properties."""
    where = {"county": county, "property_ids": property_ids}
    return _chunks(conn, DETECTIONS, where, chunk)


def property_columns(
    conn: Connection, county: str, stems: Mapping[str, str], chunk: int = CHUNK_ROWS
) -> Generator[ColumnArrays]:
    """Every property, with `STEM_m2` and `STEM_count` (detections) for the stem of each label."""
    for columns in _chunks(conn, PROPERTIES, {"county": county}, chunk):
        by_property = [by_label or {} for by_label in columns.pop("measured")]
        for label, stem in stems.items():
            measured = [by_label.get(label, (None, None)) for by_label in by_property]
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

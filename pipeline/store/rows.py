"""Reading what is kept, a chunk at a time as GeoDataFrames in EPSG:4326: memory stays flat.

Every iterator yields one frame at least, with all its columns, if an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import geopandas
import shapely
from sqlalchemy import Connection, TextClause, text

CHUNK = 10_000

DETECTIONS = text("""
-- What counts now: proposed and accepted, with where each came from.
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
WHERE p.county = :county AND (CAST(:run AS bigint) IS NULL OR p.run_fk = :run)
ORDER BY p.sort_key, p.id, d.id
""")

BOUNDARIES = text("""
-- What was measured in, of the properties that a run took.
SELECT p.property_id, b.source, ST_AsBinary(b.geom) AS geometry
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county AND p.run_fk = :run
ORDER BY p.sort_key, p.id
""")

PROPERTIES = text("""
-- Every property, its boundary if it has one, and its measured areas by label.
SELECT p.property_id, p.state, p.reason, p.detail, b.source, p.method,
       b.area_m2 AS boundary_area_m2, b.parcel_ids, p.imaged_share,
       ST_X(coalesce(p.point, p.located_point)) AS longitude,
       ST_Y(coalesce(p.point, p.located_point)) AS latitude,
       p.located_by, p.confidence, p.address, p.matched_address, m.areas,
       ST_AsBinary(b.geom) AS geometry
FROM lotline.property p
LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(label, area_m2) AS areas
    FROM lotline.measurement WHERE property_fk = p.id AND current
) m ON true
WHERE p.county = :county
ORDER BY p.sort_key, p.id
""")

LABELS = text("""
SELECT DISTINCT m.label
FROM lotline.property p JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE p.county = :county ORDER BY m.label
""")


def iter_detections(
    conn: Connection, county: str, run_id: int | None = None, chunk: int = CHUNK
) -> Iterator[geopandas.GeoDataFrame]:
    """Live detections; with `run_id` those on the properties that the run took last."""
    return _frames(conn, DETECTIONS, {"county": county, "run": run_id}, chunk)


def iter_boundaries(
    conn: Connection, county: str, run_id: int, chunk: int = CHUNK
) -> Iterator[geopandas.GeoDataFrame]:
    """The boundaries of the properties that a run took last: property_id, source, geometry."""
    return _frames(conn, BOUNDARIES, {"county": county, "run": run_id}, chunk)


def iter_properties(
    conn: Connection, county: str, chunk: int = CHUNK
) -> Iterator[geopandas.GeoDataFrame]:
    """Every property with its boundary as geometry, and `LABEL_m2` for each measured label."""
    labels = list(conn.execute(LABELS, {"county": county}).scalars())
    for frame in _frames(conn, PROPERTIES, {"county": county}, chunk):
        areas = [found or {} for found in frame.pop("areas")]
        for label in labels:
            measured = [found.get(label) for found in areas]
            frame.insert(len(frame.columns) - 1, f"{label}_m2", measured)
            frame[f"{label}_m2"] = frame[f"{label}_m2"].astype("float64")
        yield frame


def _frames(
    conn: Connection, query: TextClause, parameters: Mapping[str, Any], chunk: int
) -> Iterator[geopandas.GeoDataFrame]:
    # Of this statement only: the connection keeps its own way for what follows.
    streamed = query.execution_options(stream_results=True, max_row_buffer=chunk)
    result = conn.execute(streamed, parameters)
    columns = list(result.keys())
    empty = True
    for rows in result.partitions(chunk):
        empty = False
        yield _frame(rows, columns)
    if empty:
        yield _frame([], columns)


def _frame(rows: Sequence[Any], columns: list[str]) -> geopandas.GeoDataFrame:
    values = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    geometry = shapely.from_wkb(values.pop("geometry"))
    return geopandas.GeoDataFrame(values, geometry=list(geometry), crs="EPSG:4326")

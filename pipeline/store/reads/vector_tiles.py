"""Boundaries and detections as vector tiles (MVT), cut and simplified by PostGIS."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

# Below this zoom a lot is smaller than a few pixels.
MIN_ZOOM, MAX_ZOOM = 12, 22
# Features of a layer in one tile: more would be a grey mass, and seconds of work.
_MOST_FEATURES = 20_000

_TILE = text(f"""
WITH tile AS (
    SELECT ST_TileEnvelope(:zoom, :column, :row) AS web,
        ST_Transform(ST_TileEnvelope(:zoom, :column, :row), 4326) AS box
), boundaries AS (
    SELECT p.id AS key, b.source, p.state,
        ST_AsMVTGeom(ST_Transform(b.geom, 3857), tile.web) AS geom
    FROM tile, lotline.boundary b JOIN lotline.property p ON p.boundary_fk = b.id
    WHERE b.geom && tile.box AND p.county = :county
    LIMIT {_MOST_FEATURES}
), detections AS (
    SELECT d.property_fk AS key, d.label, d.state,
        ST_AsMVTGeom(ST_Transform(d.geom, 3857), tile.web) AS geom
    FROM tile, lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
    WHERE d.geom && tile.box AND p.county = :county AND d.state IN ('proposed', 'accepted')
    LIMIT {_MOST_FEATURES}
)
SELECT (SELECT ST_AsMVT(b, 'boundaries') FROM boundaries b WHERE geom IS NOT NULL)
    || (SELECT ST_AsMVT(d, 'detections') FROM detections d WHERE geom IS NOT NULL)
WHERE CAST(:counties AS text[]) IS NULL OR :county = ANY(:counties)
""")  # noqa: S608


def vector_tile(
    conn: Connection,
    county: str,
    zoom: int,
    column: int,
    row: int,
    counties: Sequence[str] | None = None,
) -> bytes:
    """An XYZ tile with the layers `boundaries` and `detections`; empty outside the county.

    Args:
        counties: those that may be seen; None for all.
    """
    values = {
        "county": county, "zoom": zoom, "column": column, "row": row,
        "counties": None if counties is None else list(counties),
    }  # fmt: skip
    return bytes(conn.execute(_TILE, values).scalar() or b"")

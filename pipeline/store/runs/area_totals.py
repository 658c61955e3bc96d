"""Sums of areas over distinct ground: each piece of ground counts once in a sum.

A sum is of one label, one segmenter with its weights, and boundaries of one source: lots and 30 m
circles are never added, nor what two segmenters found. Two properties in one lot, or two circles
that overlap, have the same ground: it counts for the first of them (fully imaged ones first, then
by the property's key), so that the rows of a label add up to the area of the union.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from sqlalchemy import Connection, Row, text

from detection.results import FULL_COVERAGE_FRACTION
from parcels.measure import areas_m2
from pipeline.store.runs.counted_ground import inside_boundary
from pipeline.store.runs.overlaps import CONTESTED

# Rows whose ground is measured together.
_CHUNK_ROWS = 512

# Columns that the SQL of a caller selects. `measurement_fk` is NULL and the label '' for the
# boundary itself.
COUNTED_COLUMNS = """property_fk, boundary_fk, source, measurement_fk, label, segmenter,
    weights_sha256, area_m2, detections, coverage_fraction"""

# The ground that a measurement counts.
_GROUND = f"""(
    SELECT ST_Union({inside_boundary()})
    FROM lotline.measurement m JOIN lotline.boundary b ON b.id = m.boundary_fk
    JOIN lotline.measurement_detection c ON c.measurement_fk = m.id
    JOIN lotline.detection d ON d.id = c.detection_fk
    WHERE m.id = ANY({{measurements}}))"""  # noqa: S608
_BOUNDARIES = "(SELECT ST_Union(b.geom) FROM lotline.boundary b WHERE b.id = ANY({boundaries}))"


def _repeated(ground: str) -> str:
    own = ground.format(
        measurements="ARRAY[contested_row.measurement_fk]",
        boundaries="ARRAY[contested_row.boundary_fk]",
    )
    others = ground.format(
        measurements="contested_row.other_measurements",
        boundaries="contested_row.other_boundaries",
    )
    return f"ST_AsBinary(ST_CollectionExtract(ST_Intersection({own}, {others}), 3))"


_SAME_SUM = """(j.label, j.source, j.segmenter, j.weights_sha256)
    = (i.label, i.source, i.segmenter, i.weights_sha256)"""

# Rows outside the contested versions are summed by the database. Of the others one row each: its
# ground that earlier rows of the same sum have, or `is_copy` where that is all of it.
_SUMS = """
WITH counted AS MATERIALIZED (
    SELECT s.property_fk, s.boundary_fk, s.source COLLATE "C" AS source, s.measurement_fk,
        s.label COLLATE "C" AS label, s.segmenter COLLATE "C" AS segmenter,
        coalesce(s.weights_sha256, '') COLLATE "C" AS weights_sha256, s.area_m2, s.detections,
        s.coverage_fraction < {full} AS is_partly_imaged
    FROM ({selected}) s
), {contested}, ranked AS MATERIALIZED (
    SELECT c.*, contested.version,
        row_number() OVER (same_lot ORDER BY is_partly_imaged, property_fk) AS in_lot,
        row_number() OVER (PARTITION BY label, source, segmenter, weights_sha256, version, area_m2
            ORDER BY is_partly_imaged, property_fk) AS copy
    FROM counted c JOIN contested USING (boundary_fk)
    WINDOW same_lot AS (PARTITION BY label, source, segmenter, weights_sha256, version)
), near AS MATERIALIZED (
    SELECT version, other_version FROM pair
    UNION ALL SELECT other_version, version FROM pair
    UNION ALL SELECT version, version FROM contested_version
), earlier AS (
    SELECT i.property_fk, i.label, i.segmenter, i.weights_sha256, i.boundary_fk,
        array_agg(j.measurement_fk) AS other_measurements,
        array_agg(j.boundary_fk) AS other_boundaries
    FROM ranked i JOIN near ON near.version = i.version
    JOIN ranked j ON j.version = near.other_version AND {same_sum}
    WHERE i.copy = 1 AND j.copy = 1 AND i.area_m2 > 0 AND j.area_m2 > 0
        AND (j.is_partly_imaged, j.property_fk) < (i.is_partly_imaged, i.property_fk)
    GROUP BY i.property_fk, i.label, i.segmenter, i.weights_sha256, i.boundary_fk
), contested_row AS (
    SELECT ranked.*, other_measurements, other_boundaries
    FROM ranked
    LEFT JOIN earlier USING (property_fk, label, segmenter, weights_sha256, boundary_fk)
    ORDER BY ranked.property_fk, ranked.label
)
SELECT label, source, segmenter, weights_sha256, is_partly_imaged, count(*) AS properties,
    count(*) AS boundaries, sum(detections)::bigint AS detections,
    sum(area_m2 ORDER BY property_fk) AS area_m2,  -- a fixed order: equal to the last bit
    false AS is_copy, CAST(NULL AS bytea) AS repeated
FROM counted c WHERE NOT EXISTS (
    SELECT FROM contested k WHERE k.boundary_fk = c.boundary_fk)
GROUP BY label, source, segmenter, weights_sha256, is_partly_imaged
UNION ALL
SELECT label, source, segmenter, weights_sha256, is_partly_imaged, 1, (in_lot = 1)::int,
    CASE WHEN copy = 1 THEN detections ELSE 0 END, area_m2, copy > 1,
    CASE WHEN other_boundaries IS NULL THEN NULL
        WHEN measurement_fk IS NULL THEN {repeated_boundary} ELSE {repeated} END
FROM contested_row
"""


# Half a million rows would go through temporary files several times; compiling costs more than it
# saves. Until the end of the transaction.
_IN_MEMORY = text("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")


@dataclass(frozen=True, slots=True)
class AreaTotal:
    """The area of a label in boundaries of one source, as one segmenter measured it.

    Totals of runs that ended before these were stored have None for what is unknown; ground that
    several of their properties share may count several times.

    Attributes:
        properties: number of measured properties.
        detections: number of polygons; of properties that share a lot, those of one.
        area_m2: of distinct ground.
        segmenter: name and version; "person" if only people drew the label.
        partly_imaged: whether the imagery shows only a part of these boundaries; they are never in
            the row of the others.
        boundaries: number of distinct boundaries.
        repeated_m2: what is left out of `area_m2`, because another property has the same ground.
    """

    label: str
    source: str
    properties: int
    detections: int
    area_m2: float
    segmenter: str = ""
    weights_sha256: str | None = None
    partly_imaged: bool | None = None
    boundaries: int | None = None
    repeated_m2: float | None = None


@dataclass(slots=True)
class _Sum:
    properties: int = 0
    boundaries: int = 0
    detections: int = 0
    area_m2: float = 0.0
    repeated_m2: float = 0.0


def sum_areas(
    conn: Connection, county: str, selected: str, values: Mapping[str, Any]
) -> tuple[AreaTotal, ...]:
    """The areas of distinct ground by label, source, segmenter, weights and imagery.

    Memory does not grow with the county: rows whose ground others have are streamed.

    Args:
        selected: SQL of the measurements that count, with `COUNTED_COLUMNS`.
        values: bind values of that SQL.
    """
    statement = text(
        _SUMS.format(
            full=FULL_COVERAGE_FRACTION,
            selected=selected,
            contested=CONTESTED,
            same_sum=_SAME_SUM,
            repeated=_repeated(_GROUND),
            repeated_boundary=_repeated(_BOUNDARIES),
        )
    ).execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
    sums: dict[tuple[str, str, str, str, bool], _Sum] = {}
    conn.execute(_IN_MEMORY)
    with conn.execute(statement, {**values, "county": county}) as result:
        for rows in result.partitions(_CHUNK_ROWS):
            _add(sums, rows)
    # Lots first, then circles; fully imaged ones first.
    keys = sorted(sums, key=lambda key: (key[0], key[1] != "lot", *key[2:]))
    return tuple(_total(key, sums[key]) for key in keys)


def _add(sums: dict[tuple[str, str, str, str, bool], _Sum], rows: Sequence[Row[Any]]) -> None:
    grounds = shapely.from_wkb([row.repeated for row in rows])
    is_shared = ~shapely.is_missing(grounds)
    shared_m2 = iter(areas_m2(grounds[is_shared]).tolist())
    for row, has_shared in zip(rows, is_shared, strict=True):
        repeated_m2 = next(shared_m2) if has_shared else 0.0
        repeated_m2 = row.area_m2 if row.is_copy else min(repeated_m2, row.area_m2)
        key = (row.label, row.source, row.segmenter, row.weights_sha256, row.is_partly_imaged)
        total = sums.setdefault(key, _Sum())
        total.properties += row.properties
        total.boundaries += row.boundaries
        total.detections += row.detections
        total.area_m2 += row.area_m2 - repeated_m2
        total.repeated_m2 += repeated_m2


def _total(key: tuple[str, str, str, str, bool], total: _Sum) -> AreaTotal:
    label, source, segmenter, weights_sha256, is_partly_imaged = key
    return AreaTotal(
        label,
        source,
        total.properties,
        total.detections,
        total.area_m2,
        segmenter,
        weights_sha256 or None,
        is_partly_imaged,
        total.boundaries,
        total.repeated_m2,
    )

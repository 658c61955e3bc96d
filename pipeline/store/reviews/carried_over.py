"""Carries what a person accepted over to the lots that took the place of its lot.

After a split or a merge, ground with an accepted detection is in the lot of another property, which
gets an accepted detection of its own: the part of the old one inside its boundary of today and
outside that of the old property. Ground that people decided about on the new lot, or denied
elsewhere, is left out. It happens once for each detection and property, whatever people do to the
copy later, and it looks at all of the county: the order in which lots were processed is irrelevant.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Engine, Row, text

from detection.clip import MIN_PART_M2, LotLines
from parcels.measure import area_m2
from pipeline.store.bulk_copy import FINDINGS, plan_by_index
from pipeline.store.results.decided_ground import DECIDED_SHARE, decided_ground, object_left
from pipeline.store.retries import retry_transient
from pipeline.store.reviews import verdicts
from pipeline.store.runs.counted_ground import HAS_VANISHED

log = logging.getLogger(__name__)

# At the equator; nowhere are there more.
_M2_PER_SQUARE_DEGREE = 111_700.0**2

# Accepted detections whose property has another boundary today, or none, and the finished
# properties in whose lots they lie now. Newest first: a copy on a lot that was split again is what
# people said last.
_CANDIDATES = text(f"""
WITH old AS MATERIALIZED (
    SELECT d.*, p.property_id, CASE WHEN NOT {HAS_VANISHED} THEN p.boundary_fk END AS own_boundary
    FROM (SELECT DISTINCT detection_fk FROM lotline.review) reviewed
    CROSS JOIN LATERAL (
        SELECT * FROM lotline.detection d
        WHERE d.id = reviewed.detection_fk AND d.state = 'accepted' OFFSET 0) d
    CROSS JOIN LATERAL (
        SELECT * FROM lotline.property p WHERE p.id = d.property_fk AND p.county = :county
            AND ({HAS_VANISHED} OR p.boundary_fk <> d.boundary_fk) OFFSET 0) p
), near AS MATERIALIZED (
    SELECT old.*, q.id AS to_property, b.id AS to_boundary, b.geom AS lot
    FROM old
    -- OFFSET 0: by index from each of the few, whatever the statistics say.
    CROSS JOIN LATERAL (
        SELECT b.id, b.property_fk, b.geom FROM lotline.boundary b
        WHERE b.geom && old.geom AND b.source = 'lot' AND b.property_fk <> old.property_fk
        OFFSET 0) b
    CROSS JOIN LATERAL (
        SELECT q.id FROM lotline.property q
        WHERE q.id = b.property_fk AND q.boundary_fk = b.id AND q.county = :county
            AND q.state = 'done' OFFSET 0) q
)
SELECT near.id, near.property_fk, near.run_fk, near.chip_sha256, near.label, near.prompt,
    near.segmenter, near.weights_sha256, near.score, near.relation, near.whole_area_m2,
    ST_AsBinary(near.geom) AS geom, near.property_id, r.reviewer,
    greatest(c.gsd_m, c.chip_gsd_m) AS pixel_m, ST_AsBinary(own.geom) AS own_lot,
    near.to_property, near.to_boundary, ST_AsBinary(near.lot) AS lot
FROM near
JOIN lotline.review r ON r.id = near.review_fk
LEFT JOIN lotline.chip c ON c.sha256 = near.chip_sha256
LEFT JOIN lotline.boundary own ON own.id = near.own_boundary
-- No less than the true area, and cheap; the exact one is tested later.
WHERE ST_Area(ST_Intersection(near.geom, near.lot)) * {_M2_PER_SQUARE_DEGREE} >= {MIN_PART_M2}
    AND NOT EXISTS (SELECT FROM lotline.review k
        WHERE k.idempotency_key = 'carried:' || near.id || ':' || near.to_property)
ORDER BY near.to_property, near.id DESC
""")  # noqa: S608

# Runs and reviewers write to a property one at a time, and lock several in the order of their ids.
_LOCK = text("""
SELECT id FROM lotline.property WHERE id = ANY(CAST(:ids AS bigint[]))
ORDER BY id FOR NO KEY UPDATE
""")

_INSERT = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, label, prompt,
    segmenter, weights_sha256, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2,
    fingerprint)
VALUES (:property, :boundary, :run, :chip, :label, :prompt, :segmenter, :weights_sha256, :score,
    :relation, ST_GeomFromWKB(:geom, 4326), :area_m2, :area_m2, :whole_area_m2, :key)
RETURNING id
""")

_PROPOSED = text("""
SELECT id, area_m2, ST_AsBinary(geom) AS geom FROM lotline.detection
WHERE property_fk = :property AND label = :label AND state = 'proposed' AND review_fk IS NULL
""")

_SUPERSEDE = text("""
UPDATE lotline.detection SET state = 'superseded' WHERE id = ANY(CAST(:ids AS bigint[]))
""")


@retry_transient
def carry_over(engine: Engine, county: str, min_areas_m2: Mapping[str, float] | None = None) -> int:
    """Carry accepted detections of a county over to the lots of today; returns how many.

    Idempotent. Each copy has a review that names the detection and the person who accepted it.
    Unreviewed proposals with at least half of their area on a copy are superseded.

    Args:
        min_areas_m2: of labels; smaller parts are not carried over.
    """
    with engine.begin() as conn:
        count = carry_over_in(conn, county, min_areas_m2 or {})
    if count:
        log.info("%d accepted detections were carried over to lots of today", count)
    return count


def carry_over_in(conn: Connection, county: str, min_areas_m2: Mapping[str, float]) -> int:
    """`carry_over` in the caller's transaction."""
    plan_by_index(conn)
    candidates = conn.execute(_CANDIDATES, {"county": county}).all()
    if not candidates:
        return 0
    keys = {row.property_fk for row in candidates} | {row.to_property for row in candidates}
    conn.execute(_LOCK, {"ids": list(keys)})
    # Again, because people and runs may have changed them meanwhile.
    rows = conn.execute(_CANDIDATES, {"county": county}).all()
    locked = [row for row in rows if {row.property_fk, row.to_property} <= keys]
    return _carry(conn, locked, min_areas_m2)


def _carry(
    conn: Connection, candidates: Sequence[Row[Any]], min_areas_m2: Mapping[str, float]
) -> int:
    outlines: dict[int, MultiPolygon] = {}
    for index, row in enumerate(candidates):
        outline, lot = shapely.from_wkb([row.geom, row.lot])
        own_lot = MultiPolygon() if row.own_lot is None else shapely.from_wkb(row.own_lot)
        rest = shapely.difference(shapely.intersection(outline, lot), own_lot)
        if (left := _object_left(row, rest, min_areas_m2)) is not None:
            outlines[index] = left
    FINDINGS.copy_rows(
        conn, (_staged(index, candidates[index], outline) for index, outline in outlines.items())
    )
    decided = decided_ground(conn)
    copied: dict[tuple[int, str], list[BaseGeometry]] = defaultdict(list)
    count = 0
    for index, outline in outlines.items():
        row = candidates[index]
        same = copied[row.to_property, row.label]
        removed = shapely.union_all([*same, decided.get(index, MultiPolygon())])
        overlap_m2 = area_m2(shapely.intersection(outline, removed))
        if overlap_m2 >= DECIDED_SHARE * area_m2(outline):
            continue
        left = _object_left(row, shapely.difference(outline, removed), min_areas_m2)
        if left is not None:
            _copy(conn, row, left)
            same.append(left)
            count += 1
    return count


def _object_left(
    row: Row[Any], rest: BaseGeometry, min_areas_m2: Mapping[str, float]
) -> MultiPolygon | None:
    """The rest of an accepted outline, if it is an object of its own.

    A strip along a lot line that is a little off is not the ground of another lot.
    """
    width_m = max(2 * (row.pixel_m or 0.0), LotLines().tolerance_m)
    min_part_m2 = min_areas_m2.get(row.label, MIN_PART_M2)
    return object_left(rest, shapely.from_wkb(row.geom), width_m, min_part_m2)


def _staged(index: int, row: Row[Any], outline: MultiPolygon) -> tuple[object, ...]:
    size_m2 = area_m2(outline)
    return (
        index, row.to_property, row.label, row.prompt, row.score, row.relation,
        shapely.to_wkb(outline), size_m2, size_m2, size_m2, _key(row),
    )  # fmt: skip


def _key(row: Row[Any]) -> str:
    return f"carried:{row.id}:{row.to_property}"


def _copy(conn: Connection, row: Row[Any], outline: MultiPolygon) -> None:
    size_m2 = area_m2(outline)
    values = {
        "property": row.to_property,
        "boundary": row.to_boundary,
        "run": row.run_fk,
        "chip": row.chip_sha256,
        "label": row.label,
        "prompt": row.prompt,
        "segmenter": row.segmenter,
        "weights_sha256": row.weights_sha256,
        "score": row.score,
        "relation": row.relation,
        "geom": shapely.to_wkb(outline),
        "area_m2": size_m2,
        "whole_area_m2": max(row.whole_area_m2, size_m2),
        "key": _key(row),
    }
    copy_id = conn.execute(_INSERT, values).scalar_one()
    proposed = conn.execute(_PROPOSED, {"property": row.to_property, "label": row.label})
    covered = [each.id for each in proposed if each.id != copy_id and _is_covered(each, outline)]
    conn.execute(_SUPERSEDE, {"ids": covered})
    note = (
        f"Carried over from detection {row.id} of {row.property_id}, accepted by {row.reviewer}: "
        "its ground is in this lot today"
    )
    verdicts.accept(conn, copy_id, row.reviewer, note, idempotency_key=_key(row))


def _is_covered(proposed: Row[Any], outline: MultiPolygon) -> bool:
    common = shapely.intersection(shapely.from_wkb(proposed.geom), outline)
    return area_m2(common) >= DECIDED_SHARE * float(proposed.area_m2)

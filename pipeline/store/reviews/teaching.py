"""The teaching queue: undecided detections, first those whose review teaches a model most.

    value = 0.40 uncertainty + 0.25 disagreement + 0.15 rarity + 0.10 size + 0.10 fallback

| term | 1 where | 0 where |
| --- | --- | --- |
| uncertainty | the score is at the label's threshold | the score is 1 |
| disagreement | an earlier run has nothing of the label there: 1 - IoU | it has the same outline |
| rarity | nobody has reviewed the label: 1 / (1 + reviews / 50) | it has been reviewed often |
| size | the area is 16 times the label's median, or more; by its logarithm | it is the median |
| fallback | the boundary is a circle of 30 m | it is a lot |

A score at the threshold is where one label changes most of what a model learns (uncertainty
sampling; D. D. Lewis and W. A. Gale, SIGIR 1994), and two runs that differ cannot both be right
(query by committee; H. S. Seung et al., COLT 1992): these weigh most. Rarity keeps one frequent
label from filling the queue. Large objects and circles are where the errors in m² are.

The threshold is the lowest score that the segmenter kept of the label in the county, or 0.5 if that
is lower and there are only a few. A property comes at its detection with the highest value.

All terms but rarity are stored in `teaching_score`, by `refresh`; rarity is added by the query.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from pipeline.store.reviews.leases import LeaseHolder, ReviewLease, is_free, take_first

UNCERTAINTY, DISAGREEMENT, RARITY, SIZE, FALLBACK = 0.40, 0.25, 0.15, 0.10, 0.10
_HALF_RARITY = 50  # reviews of a label after which its rarity is a half
_COUNTED = 1_000  # reviews of a label: more change its rarity no further
_FULL_SIZE = 16.0  # times the median
# Ids are given before they are committed: as long as a chunk may take, younger ones are looked at
# again.
_COMMIT_MINUTES = 5
_LOOK_AGAIN_S = 30
# A county of 100,000 detections has its values after some seconds; a reviewer waits for one of
# them, and the next ones go on.
_BUDGET_S = 1.0
_CHUNK = 2_000
_ENOUGH = 20  # detections of a label: with fewer the lowest score says little about the threshold

_BEGIN = text("""
INSERT INTO lotline.teaching_progress (county, complete_fk, newest_fk) VALUES (:county, 0, 0)
ON CONFLICT DO NOTHING
""")
_NEEDS_REFRESH = text(f"""
SELECT NOT EXISTS (
    SELECT FROM lotline.teaching_progress t
    WHERE t.county = :county AND t.newest_fk = d.newest
        AND (t.complete_fk = t.newest_fk
             OR t.refreshed_at > now() - interval '{_LOOK_AGAIN_S} seconds'))
FROM (SELECT coalesce(max(id), 0) AS newest FROM lotline.detection) d
""")  # noqa: S608
_LOCK = text("""
SELECT complete_fk, (SELECT coalesce(max(id), 0) FROM lotline.detection) AS newest
FROM lotline.teaching_progress WHERE county = :county FOR UPDATE
""")
_PROGRESS = text(f"""
UPDATE lotline.teaching_progress SET refreshed_at = now(), newest_fk = :looked_at,
    complete_fk = greatest(complete_fk, coalesce(
        (SELECT id FROM lotline.detection
         WHERE id <= :looked_at AND created_at < now() - interval '{_COMMIT_MINUTES} minutes'
         ORDER BY id DESC LIMIT 1), 0))
WHERE county = :county
""")  # noqa: S608

_USUAL = text("""
SELECT d.label, d.segmenter,
    least(min(d.score), CASE WHEN count(*) < :enough THEN 0.5 END) AS threshold,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY d.clipped_area_m2) AS median_m2
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
WHERE p.county = :county AND d.state <> 'superseded'
GROUP BY d.label, d.segmenter
""")

_FRESH = text("""
SELECT d.id FROM lotline.detection d
JOIN lotline.property p ON p.id = d.property_fk AND p.county = :county
WHERE d.id > :after AND d.id <= :newest AND d.run_fk IS NOT NULL AND d.segmenter <> 'person'
    AND d.state <> 'superseded'
    AND NOT EXISTS (SELECT FROM lotline.teaching_score t WHERE t.detection_fk = d.id)
ORDER BY d.id LIMIT :chunk
""")

# Superseded detections of earlier runs are what those runs said. In degrees: a ratio of areas on
# one lot is the same in m². OFFSET 0: by index from each of the few, whatever the statistics say.
_SCORE = text(f"""
WITH rated AS (
    SELECT d.id, d.property_fk, d.run_fk, d.label, d.score, d.state, d.review_fk, b.source,
        usual.threshold,
        CASE WHEN usual.median_m2 > 0 THEN d.clipped_area_m2 / usual.median_m2 ELSE 1 END
            AS area_ratio,
        coalesce(1 - earlier.iou, 0) AS disagreement
    FROM unnest(CAST(:ids AS bigint[])) AS fresh (id)
    CROSS JOIN LATERAL (SELECT * FROM lotline.detection d WHERE d.id = fresh.id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT source FROM lotline.boundary b WHERE b.id = d.boundary_fk OFFSET 0) b
    JOIN unnest(CAST(:labels AS text[]), CAST(:segmenters AS text[]),
                CAST(:thresholds AS double precision[]), CAST(:medians_m2 AS double precision[]))
        AS usual (label, segmenter, threshold, median_m2) USING (label, segmenter)
    CROSS JOIN LATERAL (
        SELECT max(coalesce(both_.area
                / (ST_Area(s.geom) + ST_Area(d.geom) - both_.area), 0)) AS iou
        FROM lotline.detection s
        CROSS JOIN LATERAL (
            SELECT CASE WHEN s.geom && d.geom THEN ST_Area(ST_Intersection(s.geom, d.geom)) END
                AS area OFFSET 0) both_
        WHERE s.property_fk = d.property_fk AND s.state = 'superseded'
            AND s.label = d.label AND s.run_fk < d.run_fk) earlier
)
INSERT INTO lotline.teaching_score (detection_fk, property_fk, county, label, source, run_fk, score,
    threshold, area_ratio, disagreement, value, is_open, is_reviewed)
SELECT id, property_fk, :county, label, source, run_fk, score, threshold, area_ratio, disagreement,
    {UNCERTAINTY} * CASE WHEN threshold < 1 THEN 1 - (score - threshold) / (1 - threshold)
                    ELSE 0 END
    + {DISAGREEMENT} * disagreement
    + {SIZE} * least(1, ln(greatest(area_ratio, 1)) / ln({_FULL_SIZE}))
    + {FALLBACK} * CASE WHEN source = 'lot' THEN 0 ELSE 1 END,
    state = 'proposed' AND review_fk IS NULL, review_fk IS NOT NULL
FROM rated ON CONFLICT DO NOTHING
""")  # noqa: S608

# The best of each label, by index; rarity is the same for all detections of a label. What is
# stored is what was true when it was stored: the detection itself decides whether it is undecided.
_BEST = text(f"""
WITH RECURSIVE known (label) AS (
    (SELECT label FROM lotline.teaching_score WHERE county = :county AND is_open
     ORDER BY label LIMIT 1)
    UNION ALL
    SELECT (SELECT t.label FROM lotline.teaching_score t
            WHERE t.county = :county AND t.is_open AND t.label > known.label
            ORDER BY t.label LIMIT 1)
    FROM known WHERE known.label IS NOT NULL
), rated AS (
    SELECT known.label, reviewed.count AS reviews,
        {RARITY} / (1 + reviewed.count / {_HALF_RARITY}.0) AS rarity
    FROM known CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM lotline.teaching_score t
            WHERE t.county = :county AND t.label = known.label AND t.is_reviewed
            LIMIT {_COUNTED}) counted) reviewed
    WHERE known.label IS NOT NULL AND (CAST(:label AS text) IS NULL OR known.label = :label)
)
SELECT best.*, rated.reviews, best.value + rated.rarity AS total
FROM rated CROSS JOIN LATERAL (
    SELECT t.* FROM lotline.teaching_score t
    WHERE t.county = :county AND t.label = rated.label AND t.is_open
        AND (CAST(:source AS text) IS NULL OR t.source = :source)
        AND (CAST(:run AS bigint) IS NULL OR t.run_fk = :run)
        AND t.property_fk <> ALL(CAST(:skip AS bigint[]))
        AND {is_free("t.property_fk")}
        AND EXISTS (SELECT FROM lotline.detection d WHERE d.id = t.detection_fk
                    AND d.state = 'proposed' AND d.review_fk IS NULL)
    ORDER BY t.value DESC, t.detection_fk LIMIT 1) best
ORDER BY total DESC, best.detection_fk LIMIT 1
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class TeachingFilter:
    """Undecided detections of a county; None is any."""

    county: str
    label: str | None = None
    source: str | None = None
    run: int | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """A property of the teaching queue, and why it comes.

    Attributes:
        detection_id: the detection with the highest value.
        value: 0..1.
        reasons: in words, what contributes most first.
    """

    property_key: int
    detection_id: int
    value: float
    reasons: tuple[str, ...]


def lease_next(
    conn: Connection, wanted: TeachingFilter, holder: LeaseHolder, skip: Sequence[int] = ()
) -> tuple[Lesson, ReviewLease] | None:
    """Lease the property that teaches most; None if nothing is left that nobody else has.

    Args:
        skip: keys of properties that the reviewer has passed over.
    """
    refresh(conn, wanted.county)
    values = {
        "county": wanted.county,
        "label": wanted.label,
        "source": wanted.source,
        "run": wanted.run,
        "skip": list(skip),
        "holder": holder.key,
    }

    def find() -> Lesson | None:
        row = conn.execute(_BEST, values).one_or_none()
        return None if row is None else _lesson(row)

    return take_first(conn, find, holder, "teaching")


def refresh(conn: Connection, county: str, budget_s: float = _BUDGET_S) -> bool:
    """Store the values of detections that have none yet; cheap if a county has no new ones.

    Returns:
        Whether all have one: after `budget_s`, the rest is left to the next call.
    """
    if not conn.execute(_NEEDS_REFRESH, {"county": county}).scalar_one():
        return True
    conn.execute(_BEGIN, {"county": county})
    progress = conn.execute(_LOCK, {"county": county}).one()
    ends_at = time.monotonic() + budget_s
    values: dict[str, Any] = {"county": county, "newest": progress.newest, "chunk": _CHUNK}
    after, usual = progress.complete_fk, None
    while ids := conn.execute(_FRESH, {**values, "after": after}).scalars().all():
        usual = usual or _usual(conn, county)
        conn.execute(_SCORE, {"county": county, "ids": list(ids), **usual})
        after = ids[-1]
        if len(ids) == _CHUNK and time.monotonic() > ends_at:
            conn.execute(_PROGRESS, {"county": county, "looked_at": after})
            return False
    conn.execute(_PROGRESS, {"county": county, "looked_at": progress.newest})
    return True


def _usual(conn: Connection, county: str) -> dict[str, list[Any]]:
    """The lowest score and the median area of each label and segmenter."""
    rows = conn.execute(_USUAL, {"county": county, "enough": _ENOUGH}).all()
    return {
        "labels": [row.label for row in rows],
        "segmenters": [row.segmenter for row in rows],
        "thresholds": [row.threshold for row in rows],
        "medians_m2": [row.median_m2 for row in rows],
    }


def _lesson(row: Row[Any]) -> Lesson:
    span = 1 - row.threshold
    uncertainty = 1 - (row.score - row.threshold) / span if span > 0 else 0.0
    near = " near the threshold" if uncertainty >= 0.8 else ", threshold"
    terms = [
        (UNCERTAINTY * uncertainty, uncertainty >= 0.5,
         f"score {row.score:.2f}{near} {row.threshold:.2f}"),
        (DISAGREEMENT * row.disagreement, row.disagreement >= 0.3,
         f"an earlier run drew it differently (overlap {1 - row.disagreement:.0%})"),
        (RARITY / (1 + row.reviews / _HALF_RARITY), row.reviews < _HALF_RARITY,
         f"{row.reviews} reviews of {row.label} so far"),
        (SIZE, row.area_ratio >= 2, f"{row.area_ratio:.1f} times the usual area of {row.label}"),
        (FALLBACK, row.source != "lot", "no lot is known: the boundary is a 30 m circle"),
    ]  # fmt: skip
    told = sorted((each for each in terms if each[1]), reverse=True)
    reasons = [words for _, _, words in told] or [
        f"score {row.score:.2f}; {row.reviews} reviews of {row.label} so far"
    ]
    return Lesson(row.property_fk, row.detection_fk, float(row.total), tuple(reasons))

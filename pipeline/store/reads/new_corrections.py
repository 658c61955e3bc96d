"""What people decided on fully reviewed properties that some weights did not learn from yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.review_tables import detections_of
from pipeline.store.reviews.full_reviews import HOLDS
from pipeline.store.runs.counted_ground import HAS_VANISHED

# A decision that was undone, and the undoing, teach nothing.
_NEW = text(f"""
WITH reviewed AS MATERIALIZED (
    SELECT p.id FROM lotline.property p
    CROSS JOIN LATERAL (SELECT * FROM lotline.full_review WHERE property_fk = p.id
        ORDER BY id DESC LIMIT 1) f
    WHERE p.county = ANY(CAST(:counties AS text[])) AND {HOLDS} AND NOT {HAS_VANISHED}
)
SELECT d.label, count(*) FILTER (WHERE r.action <> 'accept') AS corrected,
    count(*) FILTER (WHERE r.action = 'accept') AS confirmed, count(DISTINCT d.property_fk) AS lots
FROM reviewed
JOIN LATERAL {detections_of("reviewed.id")} d ON true
JOIN lotline.review r ON r.detection_fk = d.id
WHERE r.action <> 'undo' AND NOT EXISTS (SELECT FROM lotline.review u WHERE u.undoes = r.id)
    AND NOT r.id = ANY(CAST(:known AS bigint[]))
GROUP BY d.label ORDER BY d.label
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class LabelCorrections:
    """New decisions about a label.

    Attributes:
        corrected: decisions that changed something: an outline, a label, a rejected or a missing
            object.
        confirmed: objects that were accepted as they are.
        lots: fully reviewed properties with any of these.
    """

    label: str
    corrected: int
    confirmed: int
    lots: int


def new_corrections(
    conn: Connection, counties: Sequence[str], known: Collection[int]
) -> list[LabelCorrections]:
    """Decisions on fully reviewed properties, by label, without the reviews of `known` numbers."""
    rows = conn.execute(_NEW, {"counties": list(counties), "known": sorted(known)})
    return [LabelCorrections(row.label, row.corrected, row.confirmed, row.lots) for row in rows]

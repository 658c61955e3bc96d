"""Indexes of the contact sheet: similar detections of a label, in the order of its pages."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

# The condition is written so that no other statement has it: in a table without statistics the
# planner would take these for `state <> 'superseded'`, and read all of the index for each row.
# Grouped by a tenth of the score, or an octave of the area, and sorted by the other value.
INDEXES = """
CREATE INDEX detection_sheet_score_idx ON lotline.detection
    (label, state, least(floor(score * 10), 9), clipped_area_m2, id)
    WHERE (state = 'superseded') IS FALSE;
CREATE INDEX detection_sheet_area_idx ON lotline.detection
    (label, state, floor(ln(greatest(clipped_area_m2, 0.25)) / ln(2.0)), score, id)
    WHERE (state = 'superseded') IS FALSE
"""


def upgrade() -> None:
    """To this version."""
    for statement in INDEXES.split(";"):
        op.execute(statement)

"""Indexes of the ground that people decided about: current and earlier forms of reviews."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

# Partial: both are empty where nobody reviews, and cost a run nothing.
INDEXES = """
CREATE INDEX detection_reviewed_geom_idx ON lotline.detection USING gist (geom)
    WHERE review_fk IS NOT NULL;
CREATE INDEX review_before_geom_idx ON lotline.review
    USING gist (CAST(before ->> 'geom' AS geometry)) WHERE action IN ('edit', 'relabel');
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(INDEXES, execution_options={"no_parameters": True})

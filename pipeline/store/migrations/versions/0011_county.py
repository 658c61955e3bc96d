"""Each county's source, so that another registry entry with its key is refused."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # Empty: which source the counties of an earlier database had is not known. They are bound by
    # their next batch.
    op.execute("""
CREATE TABLE lotline.county (
    key text PRIMARY KEY,
    source jsonb NOT NULL,
    fingerprint text NOT NULL,
    registry text,
    bound_at timestamptz NOT NULL DEFAULT now()
)
""")

"""Whether the advisory lock of a run can be relied on: not behind a pooler of sessions."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE lotline.run ADD COLUMN lock_is_unsure boolean NOT NULL DEFAULT false")

"""Rename imaged_share to coverage_fraction, the term of the field; the numbers are unchanged."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("property", "measurement"):
        op.execute(f"ALTER TABLE lotline.{table} RENAME imaged_share TO coverage_fraction")
        op.execute(
            f"ALTER TABLE lotline.{table} RENAME CONSTRAINT {table}_imaged_share_check "
            f"TO {table}_coverage_fraction_check"
        )

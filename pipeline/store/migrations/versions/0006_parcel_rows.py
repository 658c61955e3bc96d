"""Cached parcels with their type, and every row of a joined layer; what was cached is dropped.

A joined layer repeats an object id for each account on a parcel, so `place` numbers these rows.
Cached parcels of earlier versions lack what the lookup now asks for, and are fetched again.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("TRUNCATE lotline.parcel_layer CASCADE")
    for table in ("parcel_hit", "parcel"):
        op.execute(f"ALTER TABLE lotline.{table} ADD COLUMN parcel_type text")
        op.execute(
            f"ALTER TABLE lotline.{table} ADD COLUMN lacks_id boolean NOT NULL DEFAULT false"
        )
    op.execute("ALTER TABLE lotline.parcel ADD COLUMN place int NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE lotline.parcel DROP CONSTRAINT parcel_pkey")
    op.execute(
        "ALTER TABLE lotline.parcel ADD CONSTRAINT parcel_pkey "
        "PRIMARY KEY (copy_fk, object_id, place)"
    )

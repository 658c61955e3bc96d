"""An index of the properties in the order in which the list to review goes through them."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """To this version."""
    op.execute(
        "CREATE INDEX property_order_idx ON lotline.property (county, coalesce(sort_key, ''), id)"
    )

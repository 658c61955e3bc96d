"""The pixel size of the chip beside that of the imagery, which may be finer or coarser.

Until now `gsd_m` was the chip's. What it is of the imagery is known again once a lot is measured
again.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE lotline.chip ADD COLUMN chip_gsd_m double precision")
    op.execute("UPDATE lotline.chip SET chip_gsd_m = gsd_m")

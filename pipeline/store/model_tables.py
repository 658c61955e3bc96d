"""The tables of trained weights; see `pipeline.store.models`. Triggers make both append-only."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline.store.table_parts import id_column, metadata, now_column

model = Table(
    "model",
    metadata,
    id_column(),
    Column("segmenter", Text, nullable=False),
    Column("weights_sha256", Text, nullable=False),  # as detections name them
    Column("address", Text, nullable=False),  # the folder or the bucket that has its files
    Column("files", JSONB, nullable=False),  # SHA-256 by file name
    Column("tier", Text, nullable=False, server_default=""),  # what was trained
    Column("base_sha256", Text),  # the weights that the training began with
    Column("data_sha256", Text),  # the manifest of the corrections
    Column("settings", JSONB, nullable=False, server_default="{}"),
    Column("metrics", JSONB, nullable=False, server_default="{}"),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_by", Text, nullable=False),
    now_column("created_at"),
    UniqueConstraint("segmenter", "weights_sha256"),
    UniqueConstraint("id", "segmenter"),
    CheckConstraint("created_by <> ''", "created_by"),
)

# The champion follows from these: a promotion puts a model on top, a rollback takes the top off.
# Below all is the package's own.
model_promotion = Table(
    "model_promotion",
    metadata,
    id_column(),
    Column("segmenter", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("model_fk", BigInteger),
    Column("promoted_by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    now_column("created_at"),
    ForeignKeyConstraint(
        ["model_fk", "segmenter"], ["lotline.model.id", "lotline.model.segmenter"]
    ),
    CheckConstraint("action IN ('promote', 'rollback')", "action"),
    CheckConstraint("(action = 'promote') = (model_fk IS NOT NULL)", "model"),
    CheckConstraint("promoted_by <> ''", "promoted_by"),
    Index("model_promotion_segmenter_idx", "segmenter", "id"),
)

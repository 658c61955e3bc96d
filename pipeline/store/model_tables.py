"""The tables of trained weights; see `pipeline.store.models`. Triggers make them append-only."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
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

# How good weights are on lots that nothing learned from, against the champion of that time.
model_judgement = Table(
    "model_judgement",
    metadata,
    id_column(),
    Column("model_fk", BigInteger, ForeignKey("lotline.model.id"), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    # The newest promotion or rollback of the segmenter when it was judged; 0 before the first.
    Column("champion_event", BigInteger, nullable=False),
    Column("champion_sha256", Text, nullable=False),
    Column("base_sha256", Text),
    Column("data_sha256", Text, nullable=False),  # the manifest whose test it was judged on
    Column("settings", JSONB, nullable=False, server_default="{}"),
    Column("gate_rows", JSONB, nullable=False, server_default="[]"),
    Column("figures", JSONB, nullable=False, server_default="{}"),
    Column("thresholds", JSONB, nullable=False, server_default="{}"),  # of scores, by label
    Column("judged_by", Text, nullable=False),
    now_column("created_at"),
    UniqueConstraint("id", "model_fk"),
    CheckConstraint("verdict IN ('passed', 'refused', 'too_few')", "verdict"),
    CheckConstraint("judged_by <> ''", "judged_by"),
    Index("model_judgement_model_idx", "model_fk", "id"),
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
    # The judgement whose gate was passed; or why the model was promoted without.
    Column("judgement_fk", BigInteger),
    Column("despite_gate", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(
        ["model_fk", "segmenter"], ["lotline.model.id", "lotline.model.segmenter"]
    ),
    ForeignKeyConstraint(
        ["judgement_fk", "model_fk"],
        ["lotline.model_judgement.id", "lotline.model_judgement.model_fk"],
    ),
    CheckConstraint("action IN ('promote', 'rollback')", "action"),
    CheckConstraint("(action = 'promote') = (model_fk IS NOT NULL)", "model"),
    CheckConstraint("promoted_by <> ''", "promoted_by"),
    CheckConstraint(
        "action <> 'promote' OR judgement_fk IS NOT NULL OR despite_gate <> ''", "gate"
    ),
    Index("model_promotion_segmenter_idx", "segmenter", "id"),
)

# What processes say of the weights that they loaded, or could not load.
model_load = Table(
    "model_load",
    metadata,
    id_column(),
    Column("segmenter", Text, nullable=False),
    Column("model_fk", BigInteger),  # NULL for the package's own weights
    Column("outcome", Text, nullable=False),
    Column("place", Text, nullable=False),  # machine and process
    Column("detail", Text, nullable=False, server_default=""),
    Column("took_s", Double),
    now_column("created_at"),
    ForeignKeyConstraint(
        ["model_fk", "segmenter"], ["lotline.model.id", "lotline.model.segmenter"]
    ),
    CheckConstraint("outcome IN ('loaded', 'failed')", "outcome"),
    Index("model_load_segmenter_idx", "segmenter", "id"),
)

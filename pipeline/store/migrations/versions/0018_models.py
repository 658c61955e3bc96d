"""Trained weights that detection can use, and which of them are in use."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

TABLES = """
CREATE TABLE lotline.model (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    segmenter text NOT NULL,
    weights_sha256 text NOT NULL,
    address text NOT NULL,
    files jsonb NOT NULL,
    tier text NOT NULL DEFAULT '',
    base_sha256 text,
    data_sha256 text,
    settings jsonb NOT NULL DEFAULT '{}',
    metrics jsonb NOT NULL DEFAULT '{}',
    note text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (segmenter, weights_sha256),
    UNIQUE (id, segmenter),
    CONSTRAINT model_created_by_check CHECK (created_by <> '')
);
CREATE TABLE lotline.model_promotion (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    segmenter text NOT NULL,
    action text NOT NULL,
    model_fk bigint,
    promoted_by text NOT NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (model_fk, segmenter) REFERENCES lotline.model (id, segmenter),
    CONSTRAINT model_promotion_action_check CHECK (action IN ('promote', 'rollback')),
    CONSTRAINT model_promotion_model_check CHECK ((action = 'promote') = (model_fk IS NOT NULL)),
    CONSTRAINT model_promotion_promoted_by_check CHECK (promoted_by <> '')
);
CREATE INDEX model_promotion_segmenter_idx ON lotline.model_promotion (segmenter, id);
CREATE TRIGGER model_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lotline.model
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
CREATE TRIGGER model_promotion_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON lotline.model_promotion FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
"""


def upgrade() -> None:
    """To this version."""
    op.execute(TABLES)

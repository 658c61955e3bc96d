"""Judgements of trained weights, and the gate that each promotion passed, or why it did not."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

TABLES = """
CREATE TABLE lotline.model_judgement (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_fk bigint NOT NULL REFERENCES lotline.model (id),
    verdict text NOT NULL,
    sentence text NOT NULL,
    champion_event bigint NOT NULL,
    champion_sha256 text NOT NULL,
    base_sha256 text,
    data_sha256 text NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}',
    gate_rows jsonb NOT NULL DEFAULT '[]',
    figures jsonb NOT NULL DEFAULT '{}',
    thresholds jsonb NOT NULL DEFAULT '{}',
    judged_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (id, model_fk),
    CONSTRAINT model_judgement_verdict_check CHECK (verdict IN ('passed', 'refused', 'too_few')),
    CONSTRAINT model_judgement_judged_by_check CHECK (judged_by <> '')
);
CREATE INDEX model_judgement_model_idx ON lotline.model_judgement (model_fk, id);
CREATE TRIGGER model_judgement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON lotline.model_judgement FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();

ALTER TABLE lotline.model_promotion
    ADD COLUMN judgement_fk bigint,
    ADD COLUMN despite_gate text NOT NULL DEFAULT '',
    ADD FOREIGN KEY (judgement_fk, model_fk) REFERENCES lotline.model_judgement (id, model_fk);
ALTER TABLE lotline.model_promotion DISABLE TRIGGER model_promotion_append_only;
UPDATE lotline.model_promotion SET despite_gate = 'promoted before there was a gate'
    WHERE action = 'promote';
ALTER TABLE lotline.model_promotion ENABLE TRIGGER model_promotion_append_only;
ALTER TABLE lotline.model_promotion ADD CONSTRAINT model_promotion_gate_check
    CHECK (action <> 'promote' OR judgement_fk IS NOT NULL OR despite_gate <> '');
"""


def upgrade() -> None:
    """To this version."""
    op.execute(TABLES)

"""Where weights were loaded or could not be, and an index for what older weights measured."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

LOADS = """
CREATE TABLE lotline.model_load (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    segmenter text NOT NULL,
    model_fk bigint,
    outcome text NOT NULL,
    place text NOT NULL,
    detail text NOT NULL DEFAULT '',
    took_s double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (model_fk, segmenter) REFERENCES lotline.model (id, segmenter),
    CONSTRAINT model_load_outcome_check CHECK (outcome IN ('loaded', 'failed'))
);
CREATE INDEX model_load_segmenter_idx ON lotline.model_load (segmenter, id);
CREATE TRIGGER model_load_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lotline.model_load
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
"""

# Few distinct values: the B-tree stores each once, with the rows that have it.
WEIGHTS = """
CREATE INDEX measurement_weights_idx ON lotline.measurement (weights_sha256)
    WHERE current AND weights_sha256 IS NOT NULL
"""


def upgrade() -> None:
    """To this version."""
    op.execute(LOADS)
    op.execute(WEIGHTS)

"""What a run counts of itself and what it answered, kept in its row; a killed run is called so."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# What runs have said so far was some JSON in three columns; a typed document takes their place.
RUNS = """
ALTER TABLE lotline.run
    ADD COLUMN beat_at timestamptz,
    ADD COLUMN account jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN results jsonb,
    ADD COLUMN measured bigint[],
    DROP CONSTRAINT run_state_check,
    ADD CONSTRAINT run_state_check
        CHECK (state IN ('running', 'finished', 'interrupted', 'failed', 'killed'));

UPDATE lotline.run SET account = jsonb_build_object('stages', (
    SELECT coalesce(jsonb_object_agg(stage, jsonb_build_object(
        'seconds', seconds, 'calls', coalesce(timings->'calls'->stage, '0'))), '{}')
    FROM jsonb_each(timings->'seconds') AS told (stage, seconds)))
WHERE jsonb_typeof(timings->'seconds') = 'object';

UPDATE lotline.run SET results = jsonb_build_object('counts', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'state', split_part(name, '/', 1),
        'reason', substr(name, strpos(name, '/') + 1),
        'properties', properties) ORDER BY name), '[]')
    FROM jsonb_each(counts) AS told (name, properties)))
WHERE finished_at IS NOT NULL AND counts <> '{}';

ALTER TABLE lotline.run DROP COLUMN counts, DROP COLUMN faults, DROP COLUMN timings;
"""


def upgrade() -> None:
    # Without parameters a % is a %, and one string may hold many statements.
    op.get_bind().exec_driver_sql(RUNS, execution_options={"no_parameters": True})

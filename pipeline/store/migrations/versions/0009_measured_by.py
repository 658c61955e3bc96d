"""What measured a label, which labels a property waits for, and which boundaries overlap."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

# A measurement was only written where it differed from the current one, so its run may be older
# than the last one that measured the label: that is the property's last run, if it has the label.
# A label that no run of the property had was drawn by a person.
MEASURED_BY = """
ALTER TABLE lotline.measurement ADD COLUMN segmenter text, ADD COLUMN weights_sha256 text;

UPDATE lotline.measurement m SET segmenter = r.segmenter, weights_sha256 = r.weights_sha256
FROM lotline.run r
WHERE r.id = m.run_fk AND coalesce(r.settings -> 'labels' ? m.label, true);

UPDATE lotline.measurement m SET segmenter = r.segmenter, weights_sha256 = r.weights_sha256
FROM lotline.property p JOIN lotline.run r ON r.id = p.run_fk
WHERE m.current AND p.id = m.property_fk AND p.state = 'done' AND p.boundary_fk = m.boundary_fk
    AND r.settings -> 'labels' ? m.label;

UPDATE lotline.measurement SET segmenter = 'person' WHERE segmenter IS NULL;
ALTER TABLE lotline.measurement ALTER COLUMN segmenter SET NOT NULL;
"""

ONLY_LABELS = "ALTER TABLE lotline.property ADD COLUMN only_labels text[]"

OVERLAPS = """
CREATE TABLE lotline.compared_boundary (
    county text NOT NULL,
    version text NOT NULL,
    boundary_fk bigint NOT NULL,
    PRIMARY KEY (county, version)
);
CREATE INDEX compared_boundary_boundary_fk_idx ON lotline.compared_boundary (boundary_fk);
CREATE TABLE lotline.boundary_overlap (
    county text NOT NULL,
    version text NOT NULL,
    other_version text NOT NULL,
    PRIMARY KEY (county, version, other_version)
);
"""


def upgrade() -> None:
    for statements in (MEASURED_BY, ONLY_LABELS, OVERLAPS):
        # Without parameters a % is a %, and one string may hold many statements.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

"""Queues of the review panel: leases, the order of the teaching queue, samples of the audit."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

LEASES = """
CREATE TABLE lotline.review_lease (
    property_fk bigint PRIMARY KEY REFERENCES lotline.property (id),
    reviewer text NOT NULL,
    holder text NOT NULL,
    queue text NOT NULL,
    leased_until timestamptz NOT NULL,
    CONSTRAINT review_lease_queue_check CHECK (queue IN ('list', 'teaching', 'audit'))
);
CREATE INDEX review_lease_holder_idx ON lotline.review_lease (holder);
"""

# What a review of a detection teaches. Its terms do not change while it is undecided; whether it
# is, a trigger keeps: the queue reads an index, and never all detections.
TEACHING = """
CREATE TABLE lotline.teaching_score (
    detection_fk bigint PRIMARY KEY REFERENCES lotline.detection (id),
    property_fk bigint NOT NULL,
    county text NOT NULL,
    label text NOT NULL,
    source text NOT NULL,
    run_fk bigint NOT NULL,
    score double precision NOT NULL,
    threshold double precision NOT NULL,
    area_ratio double precision NOT NULL,
    disagreement double precision NOT NULL,
    value double precision NOT NULL,
    is_open boolean NOT NULL,
    is_reviewed boolean NOT NULL
);
CREATE INDEX teaching_score_open_idx
    ON lotline.teaching_score (county, label, value DESC, detection_fk) WHERE is_open;
CREATE INDEX teaching_score_reviewed_idx ON lotline.teaching_score (county, label)
    WHERE is_reviewed;
CREATE TABLE lotline.teaching_progress (
    county text PRIMARY KEY,
    complete_fk bigint NOT NULL,
    newest_fk bigint NOT NULL,
    refreshed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX detection_superseded_idx ON lotline.detection (property_fk)
    WHERE state = 'superseded';

CREATE FUNCTION lotline.keep_teaching_score() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE lotline.teaching_score SET is_reviewed = NEW.review_fk IS NOT NULL,
        is_open = NEW.state = 'proposed' AND NEW.review_fk IS NULL
    WHERE detection_fk = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER detection_keep_teaching_score AFTER UPDATE ON lotline.detection
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.review_fk IS DISTINCT FROM NEW.review_fk)
    EXECUTE FUNCTION lotline.keep_teaching_score();
"""

# Frozen: what was sampled stays as it was, whatever people and runs do to the detection later.
AUDIT = """
CREATE TABLE lotline.audit_sample (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    county text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    seed bigint NOT NULL,
    per_stratum integer NOT NULL,
    second_fraction double precision NOT NULL,
    idempotency_key text UNIQUE,
    CONSTRAINT audit_sample_created_by_check CHECK (created_by <> ''),
    CONSTRAINT audit_sample_per_stratum_check CHECK (per_stratum > 0),
    CONSTRAINT audit_sample_second_fraction_check CHECK (second_fraction BETWEEN 0 AND 1)
);
CREATE INDEX audit_sample_county_idx ON lotline.audit_sample (county, id);

CREATE TABLE lotline.audit_item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sample_fk bigint NOT NULL REFERENCES lotline.audit_sample (id),
    detection_fk bigint NOT NULL REFERENCES lotline.detection (id),
    property_fk bigint NOT NULL,
    boundary_fk bigint NOT NULL,
    label text NOT NULL,
    source text NOT NULL,
    score double precision NOT NULL,
    segmenter text NOT NULL,
    geom geometry(MultiPolygon, 4326) NOT NULL,
    clipped_area_m2 double precision NOT NULL,
    stratum_count integer NOT NULL,
    needs_second boolean NOT NULL,
    position integer NOT NULL,
    UNIQUE (sample_fk, detection_fk),
    UNIQUE (sample_fk, position),
    FOREIGN KEY (boundary_fk, property_fk) REFERENCES lotline.boundary (id, property_fk),
    FOREIGN KEY (detection_fk, property_fk) REFERENCES lotline.detection (id, property_fk),
    CONSTRAINT audit_item_source_check CHECK (source IN ('lot', 'buffer_30m')),
    CONSTRAINT audit_item_stratum_count_check CHECK (stratum_count > 0),
    CONSTRAINT audit_item_clipped_area_m2_check CHECK (clipped_area_m2 >= 0)
);

CREATE TABLE lotline.audit_answer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_fk bigint NOT NULL REFERENCES lotline.audit_item (id),
    reviewer text NOT NULL,
    verdict text NOT NULL,
    label text,
    geom geometry(MultiPolygon, 4326),
    clipped_area_m2 double precision,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    review_fk bigint REFERENCES lotline.review (id),
    idempotency_key text UNIQUE,
    CONSTRAINT audit_answer_reviewer_check CHECK (reviewer <> ''),
    CONSTRAINT audit_answer_verdict_check
        CHECK (verdict IN ('correct', 'wrong', 'outline', 'label', 'unsure')),
    CONSTRAINT audit_answer_label_check CHECK ((verdict = 'label') = (label IS NOT NULL)),
    CONSTRAINT audit_answer_geom_check CHECK ((verdict = 'outline') = (geom IS NOT NULL)),
    CONSTRAINT audit_answer_clipped_area_m2_check
        CHECK ((geom IS NULL) = (clipped_area_m2 IS NULL) AND clipped_area_m2 >= 0)
);
-- Of several answers of a reviewer the newest counts: people press the wrong key.
CREATE INDEX audit_answer_item_idx ON lotline.audit_answer (item_fk, reviewer, id);

CREATE TRIGGER audit_sample_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON lotline.audit_sample FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
CREATE TRIGGER audit_item_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON lotline.audit_item FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
CREATE TRIGGER audit_answer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON lotline.audit_answer FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
"""


def upgrade() -> None:
    for statements in (LEASES, TEACHING, AUDIT):
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

"""Reviews can be undone, objects deleted, and properties marked as fully reviewed."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

# `event_fk` is the newest event that a detection rests on, `review_fk` the newest of them that was
# not undone.
TABLES = """
ALTER TABLE lotline.review ADD COLUMN undoes bigint;
ALTER TABLE lotline.review ADD CONSTRAINT review_undoes_key UNIQUE (undoes);
ALTER TABLE lotline.review ADD CONSTRAINT review_undoes_detection_fk_fkey
    FOREIGN KEY (undoes, detection_fk) REFERENCES lotline.review (id, detection_fk);
ALTER TABLE lotline.review ADD CONSTRAINT review_undo_check
    CHECK ((action = 'undo') = (undoes IS NOT NULL));
ALTER TABLE lotline.review DROP CONSTRAINT review_action_check;
ALTER TABLE lotline.review ADD CONSTRAINT review_action_check CHECK (
    action IN ('accept', 'edit', 'relabel', 'reject', 'add', 'restore', 'delete', 'undo'));

ALTER TABLE lotline.detection ADD COLUMN event_fk bigint;
ALTER TABLE lotline.detection DISABLE TRIGGER detection_guard;
UPDATE lotline.detection SET event_fk = review_fk WHERE review_fk IS NOT NULL;
ALTER TABLE lotline.detection ENABLE TRIGGER detection_guard;
ALTER TABLE lotline.detection ADD CONSTRAINT detection_event_fk_id_fkey
    FOREIGN KEY (event_fk, id) REFERENCES lotline.review (id, detection_fk);

CREATE TABLE lotline.full_review (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    property_fk bigint NOT NULL REFERENCES lotline.property (id),
    boundary_fk bigint NOT NULL,
    chip_sha256 text REFERENCES lotline.chip (sha256),
    labels text[] NOT NULL,
    is_full boolean NOT NULL,
    reviewer text NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    idempotency_key text UNIQUE,
    FOREIGN KEY (boundary_fk, property_fk) REFERENCES lotline.boundary (id, property_fk),
    CONSTRAINT full_review_reviewer_check CHECK (reviewer <> ''),
    CONSTRAINT full_review_labels_check CHECK (cardinality(labels) > 0)
);
CREATE INDEX full_review_property_idx ON lotline.full_review (property_fk, id);
CREATE TRIGGER full_review_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lotline.full_review
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
"""

# As in 0001, and: an undo takes a detection to its state before the event; without any event left
# it is a run's again. What a person drew is gone (superseded) when its drawing is undone or it is
# deleted, and back when that is undone or the drawing is done again.
GUARD = """
CREATE OR REPLACE FUNCTION lotline.guard_detection() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest lotline.review;  -- its newest event
    effective bigint;       -- its newest event that was not undone
    verdict text;           -- what people said last of whether it is there at all
    is_new boolean;         -- whether there is an event that it does not rest on yet
BEGIN
    SELECT * INTO newest FROM lotline.review WHERE detection_fk = OLD.id ORDER BY id DESC LIMIT 1;
    SELECT max(r.id) INTO effective FROM lotline.review r
        WHERE r.detection_fk = OLD.id AND r.action <> 'undo'
            AND NOT EXISTS (SELECT FROM lotline.review u WHERE u.undoes = r.id);
    SELECT CASE WHEN action = 'delete' THEN 'reject'
            WHEN action <> 'undo' THEN action
            WHEN after ->> 'state' = 'rejected' THEN 'reject' ELSE 'restore' END
        INTO verdict FROM lotline.review
        WHERE detection_fk = OLD.id AND action IN ('reject', 'delete', 'restore', 'undo')
        ORDER BY id DESC LIMIT 1;
    is_new := newest.id IS NOT NULL AND newest.id > coalesce(OLD.event_fk, 0);
    IF OLD.state = 'superseded' AND NOT (
        OLD.segmenter = 'person' AND is_new AND newest.action IN ('add', 'undo')) THEN
        RAISE EXCEPTION 'detection % was superseded by a later run and stays as it was', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Review the detection that took its place, or add one.';
    ELSIF OLD.state = 'rejected' AND verdict IS DISTINCT FROM 'restore' THEN
        RAISE EXCEPTION 'detection % was rejected by a person and stays rejected', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Only a person brings it back: a review with action ''restore'' that is '
                         'newer than the last ''reject''.';
    ELSIF OLD.review_fk IS NOT NULL AND NOT is_new THEN
        RAISE EXCEPTION 'detection % was reviewed by a person and is not changed by a run', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a new review first: edit, relabel, reject, accept or restore.';
    ELSIF NEW.state = 'rejected' AND verdict IS DISTINCT FROM 'reject' THEN
        RAISE EXCEPTION 'detection % cannot be rejected by nobody', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''reject'' that names the reviewer first.';
    ELSIF NEW.state = 'accepted' AND effective IS NULL THEN
        RAISE EXCEPTION 'detection % cannot be accepted by nobody', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''accept'' that names the reviewer first.';
    ELSIF NEW.state = 'superseded' AND effective IS NOT NULL AND NOT (
        OLD.segmenter = 'person' AND is_new AND newest.action IN ('delete', 'undo')) THEN
        RAISE EXCEPTION 'detection % was reviewed by a person and is not superseded', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''reject'' to be rid of it.';
    ELSIF (NEW.id, NEW.property_fk) IS DISTINCT FROM (OLD.id, OLD.property_fk) THEN
        RAISE EXCEPTION 'detection % cannot move to another property', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Reject it here and add it there.';
    END IF;
    NEW.review_fk := effective;
    NEW.event_fk := newest.id;
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
"""


def upgrade() -> None:
    for statements in (TABLES, GUARD):
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

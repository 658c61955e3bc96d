"""Properties, boundaries, runs, chips, detections, reviews, measurements, and their guards."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE lotline.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    county text NOT NULL,
    settings jsonb NOT NULL,
    segmenter text NOT NULL,
    weights_sha256 text,
    state text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    faults jsonb NOT NULL DEFAULT '{}',
    timings jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT run_state_check CHECK (state IN ('running', 'finished', 'interrupted', 'failed'))
);
CREATE INDEX run_county_idx ON lotline.run (county, id);

CREATE TABLE lotline.chip (
    sha256 text PRIMARY KEY,
    sources text[] NOT NULL,
    captured_on text,
    crs text NOT NULL,
    gsd_m double precision NOT NULL,
    bands text[] NOT NULL,
    bounds double precision[] NOT NULL,
    CONSTRAINT chip_bounds_check CHECK (cardinality(bounds) = 4)
);

CREATE TABLE lotline.property (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    county text NOT NULL,
    property_id text NOT NULL,
    point geometry(Point, 4326),
    parcel_id text,
    address text,
    state text NOT NULL DEFAULT 'pending',
    reason text NOT NULL DEFAULT '',
    detail text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    lease_owner text,
    leased_until timestamptz,
    imaged_share double precision,
    boundary_fk bigint,
    run_fk bigint REFERENCES lotline.run (id),
    chip_sha256 text REFERENCES lotline.chip (sha256),
    sort_key text GENERATED ALWAYS AS (st_geohash(point, 9)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (county, property_id),
    CONSTRAINT property_state_check CHECK (
        state IN ('pending', 'leased', 'done', 'no_imagery', 'deferred', 'failed')),
    CONSTRAINT property_lease_owner_check CHECK ((state = 'leased') = (lease_owner IS NOT NULL)),
    CONSTRAINT property_leased_until_check CHECK ((state = 'leased') = (leased_until IS NOT NULL)),
    CONSTRAINT property_place_check CHECK (point IS NOT NULL OR parcel_id IS NOT NULL),
    CONSTRAINT property_imaged_share_check CHECK (imaged_share BETWEEN 0 AND 1)
);
CREATE INDEX property_queue_idx ON lotline.property (county, sort_key, id)
    WHERE state IN ('pending', 'leased', 'deferred');
CREATE INDEX property_state_idx ON lotline.property (county, state, reason);

CREATE TABLE lotline.boundary (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    property_fk bigint NOT NULL REFERENCES lotline.property (id),
    source text NOT NULL,
    geom geometry(MultiPolygon, 4326) NOT NULL,
    area_m2 double precision NOT NULL,
    method text NOT NULL,
    origin text NOT NULL,
    parcel_ids text[] NOT NULL,
    version text NOT NULL,
    fetched_at timestamptz NOT NULL,
    UNIQUE (property_fk, version),
    UNIQUE (id, property_fk),
    CONSTRAINT boundary_source_check CHECK (source IN ('lot', 'buffer_30m')),
    CONSTRAINT boundary_area_m2_check CHECK (area_m2 > 0),
    CONSTRAINT boundary_geom_check CHECK (st_isvalid(geom) AND NOT st_isempty(geom))
);
CREATE INDEX boundary_geom_idx ON lotline.boundary USING gist (geom);
ALTER TABLE lotline.property ADD FOREIGN KEY (boundary_fk, id)
    REFERENCES lotline.boundary (id, property_fk);

CREATE TABLE lotline.detection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    property_fk bigint NOT NULL REFERENCES lotline.property (id),
    boundary_fk bigint NOT NULL,
    run_fk bigint REFERENCES lotline.run (id),
    chip_sha256 text REFERENCES lotline.chip (sha256),
    label text NOT NULL,
    prompt text NOT NULL,
    segmenter text NOT NULL,
    weights_sha256 text,
    score double precision NOT NULL,
    relation text NOT NULL,
    geom geometry(MultiPolygon, 4326) NOT NULL,
    area_m2 double precision NOT NULL,
    clipped_area_m2 double precision NOT NULL,
    whole_area_m2 double precision NOT NULL,
    state text NOT NULL DEFAULT 'proposed',
    review_fk bigint,
    version integer NOT NULL DEFAULT 1,
    fingerprint text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (id, property_fk),
    FOREIGN KEY (boundary_fk, property_fk) REFERENCES lotline.boundary (id, property_fk),
    CONSTRAINT detection_state_check CHECK (
        state IN ('proposed', 'accepted', 'rejected', 'superseded')),
    CONSTRAINT detection_relation_check CHECK (relation IN ('belongs', 'shared', 'trimmed')),
    CONSTRAINT detection_score_check CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT detection_area_m2_check CHECK (
        area_m2 > 0 AND clipped_area_m2 >= 0 AND whole_area_m2 > 0),
    CONSTRAINT detection_geom_check CHECK (st_isvalid(geom) AND NOT st_isempty(geom)),
    CONSTRAINT detection_provenance_check CHECK (
        segmenter = 'person' OR (run_fk IS NOT NULL AND chip_sha256 IS NOT NULL))
);
CREATE UNIQUE INDEX detection_live_key ON lotline.detection (property_fk, fingerprint)
    WHERE state <> 'superseded';
CREATE INDEX detection_geom_idx ON lotline.detection USING gist (geom);

CREATE TABLE lotline.review (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detection_fk bigint NOT NULL REFERENCES lotline.detection (id),
    action text NOT NULL,
    reviewer text NOT NULL,
    note text NOT NULL DEFAULT '',
    before jsonb NOT NULL DEFAULT '{}',
    after jsonb NOT NULL DEFAULT '{}',
    geom geometry(MultiPolygon, 4326),
    label text,
    created_at timestamptz NOT NULL DEFAULT now(),
    idempotency_key text UNIQUE,
    UNIQUE (id, detection_fk),
    CONSTRAINT review_action_check CHECK (
        action IN ('accept', 'edit', 'relabel', 'reject', 'add', 'restore')),
    CONSTRAINT review_reviewer_check CHECK (reviewer <> '')
);
CREATE INDEX review_detection_idx ON lotline.review (detection_fk, id);
ALTER TABLE lotline.detection ADD FOREIGN KEY (review_fk, id)
    REFERENCES lotline.review (id, detection_fk);

CREATE TABLE lotline.measurement (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    property_fk bigint NOT NULL REFERENCES lotline.property (id),
    boundary_fk bigint NOT NULL,
    run_fk bigint REFERENCES lotline.run (id),
    label text NOT NULL,
    area_m2 double precision NOT NULL,
    detection_count integer NOT NULL,
    imaged_share double precision NOT NULL,
    source text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    current boolean NOT NULL DEFAULT true,
    UNIQUE (id, property_fk),
    FOREIGN KEY (boundary_fk, property_fk) REFERENCES lotline.boundary (id, property_fk),
    CONSTRAINT measurement_source_check CHECK (source IN ('lot', 'buffer_30m')),
    CONSTRAINT measurement_area_m2_check CHECK (area_m2 >= 0),
    CONSTRAINT measurement_imaged_share_check CHECK (imaged_share BETWEEN 0 AND 1)
);
CREATE UNIQUE INDEX measurement_current_key ON lotline.measurement (property_fk, label)
    WHERE current;

CREATE TABLE lotline.measurement_detection (
    measurement_fk bigint NOT NULL,
    detection_fk bigint NOT NULL,
    property_fk bigint NOT NULL,
    PRIMARY KEY (measurement_fk, detection_fk),
    FOREIGN KEY (measurement_fk, property_fk) REFERENCES lotline.measurement (id, property_fk),
    FOREIGN KEY (detection_fk, property_fk) REFERENCES lotline.detection (id, property_fk)
);
CREATE INDEX measurement_detection_detection_idx
    ON lotline.measurement_detection (detection_fk);
"""

# Boundaries and reviews are added to, and never changed.
APPEND_ONLY = """
CREATE FUNCTION lotline.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % refused: its rows are never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Write a new row that says what is true now.';
END $$;

CREATE TRIGGER boundary_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lotline.boundary
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
CREATE TRIGGER review_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lotline.review
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_change();
"""

# A person's word stands: what nobody reviewed may be changed by a run, all else needs a review
# that is newer than the one it rests on, and the way back from `rejected` a restore.
A_PERSONS_WORD = """
CREATE FUNCTION lotline.refuse_detection_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of detection refused: deleting is a state, not a DELETE', TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Write a review with action ''reject'', then set state to ''rejected''.';
END $$;

CREATE TRIGGER detection_no_delete BEFORE DELETE OR TRUNCATE ON lotline.detection
    FOR EACH STATEMENT EXECUTE FUNCTION lotline.refuse_detection_delete();

CREATE FUNCTION lotline.guard_new_detection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'proposed' OR NEW.review_fk IS NOT NULL THEN
        RAISE EXCEPTION 'a new detection cannot be %: it starts as proposed', NEW.state
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Insert it as proposed, write a review of it, then change its state.';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER detection_starts_proposed BEFORE INSERT ON lotline.detection
    FOR EACH ROW EXECUTE FUNCTION lotline.guard_new_detection();

CREATE FUNCTION lotline.guard_detection() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;  -- its newest review
    verdict text;   -- what people said last of whether it is there at all
BEGIN
    SELECT max(id) INTO newest FROM lotline.review WHERE detection_fk = OLD.id;
    SELECT action INTO verdict FROM lotline.review
        WHERE detection_fk = OLD.id AND action IN ('reject', 'restore')
        ORDER BY id DESC LIMIT 1;
    IF OLD.state = 'superseded' THEN
        RAISE EXCEPTION 'detection % was superseded by a later run and stays as it was', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Review the detection that took its place, or add one.';
    ELSIF OLD.state = 'rejected' AND verdict IS DISTINCT FROM 'restore' THEN
        RAISE EXCEPTION 'detection % was rejected by a person and stays rejected', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Only a person brings it back: a review with action ''restore'' that is '
                         'newer than the last ''reject''.';
    ELSIF OLD.review_fk IS NOT NULL AND newest <= OLD.review_fk THEN
        RAISE EXCEPTION 'detection % was reviewed by a person and is not changed by a run', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a new review first: edit, relabel, reject, accept or restore.';
    ELSIF NEW.state = 'rejected' AND verdict IS DISTINCT FROM 'reject' THEN
        RAISE EXCEPTION 'detection % cannot be rejected by nobody', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''reject'' that names the reviewer first.';
    ELSIF NEW.state = 'accepted' AND newest IS NULL THEN
        RAISE EXCEPTION 'detection % cannot be accepted by nobody', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''accept'' that names the reviewer first.';
    ELSIF NEW.state = 'superseded' AND newest IS NOT NULL THEN
        RAISE EXCEPTION 'detection % was reviewed by a person and is not superseded', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Write a review with action ''reject'' to be rid of it.';
    ELSIF (NEW.id, NEW.property_fk) IS DISTINCT FROM (OLD.id, OLD.property_fk) THEN
        RAISE EXCEPTION 'detection % cannot move to another property', OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Reject it here and add it there.';
    END IF;
    NEW.review_fk := newest;
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER detection_guard BEFORE UPDATE ON lotline.detection
    FOR EACH ROW EXECUTE FUNCTION lotline.guard_detection();
"""

# Foreign keys say that the detections exist, on the same property; what a key cannot say, that
# they are live and of the same label when they are measured, is said here. It is not a key on
# the label because a relabelled detection keeps its place in the measurements of the past.
MEASURED_IS_LIVE = """
CREATE FUNCTION lotline.guard_measured() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found lotline.detection;
    wanted text;
BEGIN
    SELECT * INTO found FROM lotline.detection WHERE id = NEW.detection_fk;
    SELECT label INTO wanted FROM lotline.measurement WHERE id = NEW.measurement_fk;
    IF found.state IN ('rejected', 'superseded') THEN
        RAISE EXCEPTION 'measurement % cannot count detection %, which is %',
            NEW.measurement_fk, NEW.detection_fk, found.state
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Measure the proposed and accepted detections only.';
    ELSIF found.label <> wanted THEN
        RAISE EXCEPTION 'measurement % of % cannot count detection %, which is a %',
            NEW.measurement_fk, wanted, NEW.detection_fk, found.label
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Measure the detections of the same label only.';
    END IF;
    RETURN NEW;
END $$;

-- After the statement, so that one statement can write a measurement and what it counts.
CREATE TRIGGER measurement_detection_live AFTER INSERT OR UPDATE ON lotline.measurement_detection
    FOR EACH ROW EXECUTE FUNCTION lotline.guard_measured();
"""


def upgrade() -> None:
    for statements in (TABLES, APPEND_ONLY, A_PERSONS_WORD, MEASURED_IS_LIVE):
        # Without parameters a % is a %, and one string may hold many statements.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

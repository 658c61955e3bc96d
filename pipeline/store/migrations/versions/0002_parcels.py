"""County parcels that are kept, and how each property was found."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

PARCELS = """
CREATE TABLE lotline.parcel_layer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    county text NOT NULL,
    digest text NOT NULL,
    origin text NOT NULL,
    stamp text,
    used_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (county, digest)
);

CREATE TABLE lotline.parcel_answer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer_fk bigint NOT NULL REFERENCES lotline.parcel_layer (id) ON DELETE CASCADE,
    stamp text NOT NULL,
    question_sha256 text NOT NULL,
    origin text NOT NULL,
    fetched_at timestamptz NOT NULL,
    UNIQUE (layer_fk, stamp, question_sha256)
);
CREATE INDEX parcel_answer_age_idx ON lotline.parcel_answer (layer_fk, fetched_at);

CREATE TABLE lotline.parcel_hit (
    answer_fk bigint NOT NULL REFERENCES lotline.parcel_answer (id) ON DELETE CASCADE,
    place integer NOT NULL,
    parcel_id text,
    object_id bigint,
    site jsonb,
    geom geometry(MultiPolygon, 4326),
    PRIMARY KEY (answer_fk, place)
);

CREATE TABLE lotline.parcel_copy (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer_fk bigint NOT NULL REFERENCES lotline.parcel_layer (id) ON DELETE CASCADE,
    stamp text NOT NULL,
    origin text NOT NULL,
    state text NOT NULL DEFAULT 'copying',
    fetched_at timestamptz NOT NULL DEFAULT now(),
    after_object_id bigint,
    rows bigint NOT NULL DEFAULT 0,
    without_geometry bigint NOT NULL DEFAULT 0,
    UNIQUE (layer_fk, state),
    CONSTRAINT parcel_copy_state_check CHECK (state IN ('copying', 'complete'))
);

CREATE TABLE lotline.parcel (
    copy_fk bigint NOT NULL REFERENCES lotline.parcel_copy (id) ON DELETE CASCADE,
    object_id bigint NOT NULL,
    parcel_id text,
    site jsonb,
    house_keys bigint[] NOT NULL,
    geom geometry(MultiPolygon, 4326),
    PRIMARY KEY (copy_fk, object_id)
);
CREATE INDEX parcel_parcel_id_idx ON lotline.parcel USING hash (parcel_id);
CREATE INDEX parcel_house_keys_idx ON lotline.parcel USING gin (house_keys)
    WITH (fastupdate = off);
CREATE INDEX parcel_geom_idx ON lotline.parcel USING gist (geom);
"""

# How a boundary was found was said of its version, which is never changed: a later lookup that
# found the same lot in another way could not say so. It is the property's.
HOW_IT_WAS_FOUND = """
ALTER TABLE lotline.property
    ADD COLUMN method text,
    ADD COLUMN located_by text,
    ADD COLUMN located_point geometry(Point, 4326),
    ADD COLUMN confidence double precision,
    ADD COLUMN matched_address text,
    DROP CONSTRAINT property_place_check,
    ADD CONSTRAINT property_place_check
        CHECK (point IS NOT NULL OR parcel_id IS NOT NULL OR address IS NOT NULL),
    ADD CONSTRAINT property_confidence_check CHECK (confidence BETWEEN 0 AND 1);

UPDATE lotline.property SET method = boundary.method
FROM lotline.boundary WHERE boundary.id = property.boundary_fk;
UPDATE lotline.property SET located_by = 'given', located_point = point, confidence = 1
WHERE boundary_fk IS NOT NULL AND point IS NOT NULL AND method <> 'parcel_id';

ALTER TABLE lotline.boundary DROP COLUMN method;
"""

# An address has no place until it is found: then it is sorted in among its neighbours.
NEIGHBOURS = """
DROP INDEX lotline.property_queue_idx;
ALTER TABLE lotline.property DROP COLUMN sort_key;
ALTER TABLE lotline.property ADD COLUMN sort_key text
    GENERATED ALWAYS AS (st_geohash(coalesce(point, located_point), 9)) STORED;
CREATE INDEX property_queue_idx ON lotline.property (county, sort_key, id)
    WHERE state IN ('pending', 'leased', 'deferred');
"""


def upgrade() -> None:
    for statements in (PARCELS, HOW_IT_WAS_FOUND, NEIGHBOURS):
        # Without parameters a % is a %, and one string may hold many statements.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

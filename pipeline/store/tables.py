"""The tables as SQLAlchemy Core sees them; migrations create them (a test proves both equal).

All are in the schema `lotline`. Geometry is EPSG:4326, areas are m² from `parcels.measure`.
Triggers, which protect reviews, are in the migrations only.
"""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline.store.model_tables import model, model_judgement, model_load, model_promotion
from pipeline.store.parcel_tables import (
    parcel,
    parcel_answer,
    parcel_copy,
    parcel_hit,
    parcel_layer,
)
from pipeline.store.review_queue_tables import (
    audit_answer,
    audit_item,
    audit_sample,
    review_lease,
    teaching_progress,
    teaching_score,
)
from pipeline.store.review_tables import full_review, review, review_session, review_token
from pipeline.store.table_parts import SCHEMA, id_column, metadata, now_column, polygons_column

__all__ = [
    "SCHEMA",
    "audit_answer",
    "audit_item",
    "audit_sample",
    "boundary",
    "boundary_overlap",
    "chip",
    "compared_boundary",
    "detection",
    "full_review",
    "listed",
    "measurement",
    "measurement_detection",
    "metadata",
    "model",
    "model_judgement",
    "model_load",
    "model_promotion",
    "own_columns",
    "parcel",
    "parcel_answer",
    "parcel_copy",
    "parcel_hit",
    "parcel_layer",
    "property_",
    "property_list",
    "review",
    "review_lease",
    "review_session",
    "review_token",
    "run",
    "teaching_progress",
    "teaching_score",
]

county = Table(
    "county",
    metadata,
    Column("key", Text, primary_key=True),
    Column("source", JSONB, nullable=False),  # a CountySource
    Column("fingerprint", Text, nullable=False),  # of the source
    Column("registry", Text),  # its file; NULL for the shipped one
    now_column("bound_at"),
)

run = Table(
    "run",
    metadata,
    id_column(),
    Column("county", Text, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("segmenter", Text, nullable=False),
    Column("weights_sha256", Text),
    Column("state", Text, nullable=False, server_default="running"),
    now_column("started_at"),
    Column("finished_at", DateTime(timezone=True)),
    Column("beat_at", DateTime(timezone=True)),  # last heartbeat
    # Whether a heartbeat's session did not hold the run's lock: a pooler has exchanged it.
    Column("lock_is_unsure", Boolean, nullable=False, server_default="false"),
    Column("account", JSONB, nullable=False, server_default="{}"),  # its RunMetrics
    Column("results", JSONB),  # its RunResults at the end of the run
    Column("measured", ARRAY(BigInteger)),  # properties measured by the end of the run
    CheckConstraint("state IN ('running', 'finished', 'interrupted', 'failed', 'killed')", "state"),
    Index("run_county_idx", "county", "id"),
)

# The imagery of a lot: a chip, and those of its files whose pixels lie in the lot.
chip = Table(
    "chip",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("sources", ARRAY(Text), nullable=False),
    Column("captured_on", Text),
    Column("crs", Text, nullable=False),
    Column("gsd_m", Double, nullable=False),  # of the imagery; the coarsest of several files
    Column("bands", ARRAY(Text), nullable=False),
    # left, bottom, right, top in the chip's CRS
    Column("bounds", ARRAY(Double), nullable=False),
    Column("chip_gsd_m", Double),  # of the pixels that the segmenter processed
    CheckConstraint("cardinality(bounds) = 4", "bounds"),
)

property_ = Table(
    "property",
    metadata,
    id_column(),
    Column("county", Text, nullable=False),
    Column("property_id", Text, nullable=False),
    Column("point", Geometry("POINT", srid=4326, spatial_index=False)),
    Column("parcel_id", Text),
    Column("address", Text),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("leased_until", DateTime(timezone=True)),
    Column("coverage_fraction", Double),
    Column("boundary_fk", BigInteger),  # the version that was last measured
    Column("run_fk", BigInteger),  # the run that last leased it
    # Set where a finished property waits for labels that it lacks: a run measures only those.
    Column("only_labels", ARRAY(Text)),
    Column("chip_sha256", Text),  # the chip of the last inference
    # From the last lookup: how the boundary was found, and what located the property.
    Column("method", Text),
    Column("located_by", Text),
    Column("located_point", Geometry("POINT", srid=4326, spatial_index=False)),
    Column("confidence", Double),
    Column("matched_address", Text),
    # Neighbours sort together, so that one lease covers one area of the county.
    Column(
        "sort_key", Text,
        Computed("st_geohash(coalesce(point, located_point), 9)", persisted=True),
    ),
    now_column("created_at"),
    now_column("updated_at"),
    UniqueConstraint("county", "property_id"),
    ForeignKeyConstraint(
        ["boundary_fk", "id"], ["lotline.boundary.id", "lotline.boundary.property_fk"],
        use_alter=True,
    ),
    ForeignKeyConstraint(["run_fk"], ["lotline.run.id"]),
    ForeignKeyConstraint(["chip_sha256"], ["lotline.chip.sha256"]),
    CheckConstraint(
        "state IN ('pending', 'leased', 'done', 'no_imagery', 'deferred', 'failed')", "state"
    ),
    CheckConstraint("(state = 'leased') = (lease_owner IS NOT NULL)", "lease_owner"),
    CheckConstraint("(state = 'leased') = (leased_until IS NOT NULL)", "leased_until"),
    CheckConstraint(
        "point IS NOT NULL OR parcel_id IS NOT NULL OR address IS NOT NULL", "place"
    ),
    CheckConstraint("confidence BETWEEN 0 AND 1", "confidence"),
    CheckConstraint("coverage_fraction BETWEEN 0 AND 1", "coverage_fraction"),
    Index("property_queue_idx", "county", "sort_key", "id",
          postgresql_where=text("state IN ('pending', 'leased', 'deferred', 'failed')")),
    # The list to review: as `property_queue_idx`, of every state, and unlocated ones first.
    Index("property_order_idx", "county", text("coalesce(sort_key, '')"), "id"),
    Index("property_lease_idx", "lease_owner", postgresql_where=text("state = 'leased'")),
    Index("property_state_idx", "county", "state", "reason"),
)  # fmt: skip

# The customer's own columns of a properties file: text by column name.
own_columns = Table(
    "own_columns", metadata, Column("cells", JSONB, nullable=False),
    Column("property_fk", ForeignKey("lotline.property.id"), primary_key=True, autoincrement=False),
)  # fmt: skip

property_list = Table(
    "property_list",
    metadata,
    id_column(),
    Column("county", Text, nullable=False),
    Column("sha256", Text, nullable=False),  # of the file and of how it is read
    Column("bad_row_count", Integer, nullable=False),
    Column("bad_rows", JSONB, nullable=False),  # the first ones, as examples
    # Whether its properties are still as in the file: no later list changed any of them.
    Column("is_current", Boolean, nullable=False, server_default=text("true")),
    Column("own_columns", ARRAY(Text), nullable=False, server_default="{}"),  # in file order
    now_column("loaded_at"),
    now_column("used_at"),
    UniqueConstraint("county", "sha256"),
)

# Without foreign keys: see the migration.
listed = Table(
    "listed",
    metadata,
    Column("list_fk", BigInteger, primary_key=True, autoincrement=False),
    Column("property_fk", BigInteger, primary_key=True, autoincrement=False),
)

boundary = Table(
    "boundary",
    metadata,
    id_column(),
    Column("property_fk", BigInteger, ForeignKey("lotline.property.id"), nullable=False),
    Column("source", Text, nullable=False),
    polygons_column(),
    Column("area_m2", Double, nullable=False),
    Column("origin", Text, nullable=False),
    Column("parcel_ids", ARRAY(Text), nullable=False),
    Column("version", Text, nullable=False),
    Column("fetched_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("property_fk", "version"),
    UniqueConstraint("id", "property_fk"),
    CheckConstraint("source IN ('lot', 'buffer_30m')", "source"),
    CheckConstraint("area_m2 > 0", "area_m2"),
    CheckConstraint("st_isvalid(geom) AND NOT st_isempty(geom)", "geom"),
    Index("boundary_geom_idx", "geom", postgresql_using="gist"),
)

detection = Table(
    "detection",
    metadata,
    id_column(),
    Column("property_fk", BigInteger, ForeignKey("lotline.property.id"), nullable=False),
    Column("boundary_fk", BigInteger, nullable=False),
    # A run's detection has a run and a chip; one that a person added may have neither.
    Column("run_fk", BigInteger, ForeignKey("lotline.run.id")),
    Column("chip_sha256", Text, ForeignKey("lotline.chip.sha256")),
    Column("label", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("segmenter", Text, nullable=False),
    Column("weights_sha256", Text),
    Column("score", Double, nullable=False),
    Column("relation", Text, nullable=False),
    polygons_column(),
    Column("area_m2", Double, nullable=False),
    Column("clipped_area_m2", Double, nullable=False),
    Column("whole_area_m2", Double, nullable=False),
    Column("state", Text, nullable=False, server_default="proposed"),
    # Set by a trigger: the newest event that was not undone (NULL if unreviewed), and the newest.
    Column("review_fk", BigInteger),
    Column("event_fk", BigInteger),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("fingerprint", Text, nullable=False),
    now_column("created_at"),
    now_column("updated_at"),
    UniqueConstraint("id", "property_fk"),
    ForeignKeyConstraint(
        ["boundary_fk", "property_fk"], ["lotline.boundary.id", "lotline.boundary.property_fk"]
    ),
    ForeignKeyConstraint(
        ["review_fk", "id"], ["lotline.review.id", "lotline.review.detection_fk"], use_alter=True
    ),
    ForeignKeyConstraint(
        ["event_fk", "id"], ["lotline.review.id", "lotline.review.detection_fk"], use_alter=True
    ),
    CheckConstraint("state IN ('proposed', 'accepted', 'rejected', 'superseded')", "state"),
    CheckConstraint("relation IN ('belongs', 'shared', 'trimmed')", "relation"),
    CheckConstraint("score BETWEEN 0 AND 1", "score"),
    CheckConstraint("area_m2 > 0 AND clipped_area_m2 >= 0 AND whole_area_m2 > 0", "area_m2"),
    CheckConstraint("st_isvalid(geom) AND NOT st_isempty(geom)", "geom"),
    CheckConstraint(
        "segmenter = 'person' OR (run_fk IS NOT NULL AND chip_sha256 IS NOT NULL)", "provenance"
    ),
    Index("detection_live_key", "property_fk", "fingerprint", unique=True,
          postgresql_where=text("state <> 'superseded'")),
    Index("detection_geom_idx", "geom", postgresql_using="gist"),
    # Pages of the contact sheet: by tenths of the score, and by octaves of the area. IS FALSE keeps
    # the planner from them elsewhere.
    Index("detection_sheet_score_idx", "label", "state", text("least(floor(score * 10), 9)"),
          "clipped_area_m2", "id", postgresql_where=text("(state = 'superseded') IS FALSE")),
    Index("detection_sheet_area_idx", "label", "state",
          text("floor(ln(greatest(clipped_area_m2, 0.25)) / ln(2.0))"), "score", "id",
          postgresql_where=text("(state = 'superseded') IS FALSE")),
    Index("detection_superseded_idx", "property_fk", postgresql_where=text("state = 'superseded'")),
    Index("detection_reviewed_geom_idx", "geom", postgresql_using="gist",
          postgresql_where=text("review_fk IS NOT NULL")),
)  # fmt: skip

measurement = Table(
    "measurement",
    metadata,
    id_column(),
    Column("property_fk", BigInteger, ForeignKey("lotline.property.id"), nullable=False),
    Column("boundary_fk", BigInteger, nullable=False),
    Column("run_fk", BigInteger, ForeignKey("lotline.run.id")),
    Column("label", Text, nullable=False),
    Column("area_m2", Double, nullable=False),
    Column("detection_count", Integer, nullable=False),
    Column("coverage_fraction", Double, nullable=False),
    Column("source", Text, nullable=False),  # of the boundary: sums keep the sources separate
    now_column("created_at"),
    Column("current", Boolean, nullable=False, server_default=text("true")),
    # Of the last run that measured the label; "person" if none did.
    Column("segmenter", Text, nullable=False),
    Column("weights_sha256", Text),
    UniqueConstraint("id", "property_fk"),
    ForeignKeyConstraint(
        ["boundary_fk", "property_fk"], ["lotline.boundary.id", "lotline.boundary.property_fk"]
    ),
    CheckConstraint("source IN ('lot', 'buffer_30m')", "source"),
    CheckConstraint("area_m2 >= 0", "area_m2"),
    CheckConstraint("coverage_fraction BETWEEN 0 AND 1", "coverage_fraction"),
    Index("measurement_current_key", "property_fk", "label", unique=True,
          postgresql_where=text("current")),
    Index("measurement_weights_idx", "weights_sha256",
          postgresql_where=text("current AND weights_sha256 IS NOT NULL")),
)  # fmt: skip

measurement_detection = Table(
    "measurement_detection",
    metadata,
    Column("measurement_fk", BigInteger, primary_key=True),
    Column("detection_fk", BigInteger, primary_key=True),
    Column("property_fk", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["measurement_fk", "property_fk"],
        ["lotline.measurement.id", "lotline.measurement.property_fk"],
    ),
    ForeignKeyConstraint(
        ["detection_fk", "property_fk"],
        ["lotline.detection.id", "lotline.detection.property_fk"],
    ),
    Index("measurement_detection_detection_idx", "detection_fk"),
)

# Boundaries whose overlaps are in boundary_overlap; equal ones have one version. A cache: see
# pipeline.store.runs.overlaps.
compared_boundary = Table(
    "compared_boundary",
    metadata,
    Column("county", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("boundary_fk", BigInteger, nullable=False),
    Index("compared_boundary_boundary_fk_idx", "boundary_fk"),
)

boundary_overlap = Table(
    "boundary_overlap",
    metadata,
    Column("county", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("other_version", Text, primary_key=True),
)

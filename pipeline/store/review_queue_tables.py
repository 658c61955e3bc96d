"""The tables of the review panel's queues; see `pipeline.store.reviews`."""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
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

from pipeline.store.table_parts import id_column, metadata, now_column, polygons_column

# Who has a property open: shown to others, and left out of their queues. Versions protect edits.
review_lease = Table(
    "review_lease",
    metadata,
    Column("property_fk", ForeignKey("lotline.property.id"), primary_key=True, autoincrement=False),
    Column("reviewer", Text, nullable=False),
    Column("holder", Text, nullable=False),  # a tab of a browser, or a program
    Column("queue", Text, nullable=False),
    Column("leased_until", DateTime(timezone=True), nullable=False),
    CheckConstraint("queue IN ('list', 'teaching', 'audit')", "queue"),
    Index("review_lease_holder_idx", "holder"),
)

# What a review of a detection teaches: pipeline.store.reviews.teaching has the formula.
teaching_score = Table(
    "teaching_score",
    metadata,
    Column(
        "detection_fk", ForeignKey("lotline.detection.id"), primary_key=True, autoincrement=False
    ),
    Column("property_fk", BigInteger, nullable=False),
    Column("county", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("source", Text, nullable=False),  # of the boundary
    Column("run_fk", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("area_ratio", Double, nullable=False),  # to the median of the label
    Column("disagreement", Double, nullable=False),  # 1 - IoU
    Column("value", Double, nullable=False),  # without the term that changes with each review
    # Both are kept by a trigger on detection.
    Column("is_open", Boolean, nullable=False),  # proposed, and nobody has decided
    Column("is_reviewed", Boolean, nullable=False),
    Index("teaching_score_open_idx", "county", "label", text("value DESC"), "detection_fk",
          postgresql_where=text("is_open")),
    Index("teaching_score_reviewed_idx", "county", "label", postgresql_where=text("is_reviewed")),
)  # fmt: skip

# Which detections of a county have been looked at for teaching scores.
teaching_progress = Table(
    "teaching_progress",
    metadata,
    Column("county", Text, primary_key=True),
    Column("complete_fk", BigInteger, nullable=False),  # all up to this one
    Column("newest_fk", BigInteger, nullable=False),
    now_column("refreshed_at"),
)

audit_sample = Table(
    "audit_sample",
    metadata,
    id_column(),
    Column("county", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    now_column("created_at"),
    Column("seed", BigInteger, nullable=False),
    Column("per_stratum", Integer, nullable=False),
    Column("second_fraction", Double, nullable=False),
    Column("idempotency_key", Text, unique=True),
    CheckConstraint("created_by <> ''", "created_by"),
    CheckConstraint("per_stratum > 0", "per_stratum"),
    CheckConstraint("second_fraction BETWEEN 0 AND 1", "second_fraction"),
    Index("audit_sample_county_idx", "county", "id"),
)

# A sampled detection, frozen as the run found it.
audit_item = Table(
    "audit_item",
    metadata,
    id_column(),
    Column("sample_fk", BigInteger, ForeignKey("lotline.audit_sample.id"), nullable=False),
    Column("detection_fk", BigInteger, ForeignKey("lotline.detection.id"), nullable=False),
    Column("property_fk", BigInteger, nullable=False),
    Column("boundary_fk", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("source", Text, nullable=False),  # of the boundary
    Column("score", Double, nullable=False),
    Column("segmenter", Text, nullable=False),
    polygons_column(),
    Column("clipped_area_m2", Double, nullable=False),
    Column("stratum_count", Integer, nullable=False),  # detections of its label and source
    Column("needs_second", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("sample_fk", "detection_fk"),
    UniqueConstraint("sample_fk", "position"),
    ForeignKeyConstraint(
        ["boundary_fk", "property_fk"], ["lotline.boundary.id", "lotline.boundary.property_fk"]
    ),
    ForeignKeyConstraint(
        ["detection_fk", "property_fk"],
        ["lotline.detection.id", "lotline.detection.property_fk"],
    ),
    CheckConstraint("source IN ('lot', 'buffer_30m')", "source"),
    CheckConstraint("stratum_count > 0", "stratum_count"),
    CheckConstraint("clipped_area_m2 >= 0", "clipped_area_m2"),
)

audit_answer = Table(
    "audit_answer",
    metadata,
    id_column(),
    Column("item_fk", BigInteger, ForeignKey("lotline.audit_item.id"), nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("label", Text),  # the true one, of the verdict "label"
    # The true outline, of the verdict "outline", and its area inside the boundary.
    Column("geom", Geometry("MULTIPOLYGON", srid=4326, spatial_index=False)),
    Column("clipped_area_m2", Double),
    Column("note", Text, nullable=False, server_default=""),
    now_column("created_at"),
    Column("review_fk", BigInteger, ForeignKey("lotline.review.id")),  # the event that it made
    Column("idempotency_key", Text, unique=True),
    # Of several answers of a reviewer the newest counts: people press the wrong key.
    Index("audit_answer_item_idx", "item_fk", "reviewer", "id"),
    CheckConstraint("reviewer <> ''", "reviewer"),
    CheckConstraint("verdict IN ('correct', 'wrong', 'outline', 'label', 'unsure')", "verdict"),
    CheckConstraint("(verdict = 'label') = (label IS NOT NULL)", "label"),
    CheckConstraint("(verdict = 'outline') = (geom IS NOT NULL)", "geom"),
    CheckConstraint(
        "(geom IS NULL) = (clipped_area_m2 IS NULL) AND clipped_area_m2 >= 0", "clipped_area_m2"
    ),
)

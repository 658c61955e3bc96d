"""The tables of what people decide, and of who may; see `tables`.

Triggers, which make events append-only, are in the migrations.
"""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline.store.table_parts import id_column, metadata, now_column

# SQL: whether the newest mark `f` (of full_review) of the property `p` holds.
FULL_REVIEW_HOLDS = """f.is_full AND f.boundary_fk = p.boundary_fk
    AND f.chip_sha256 IS NOT DISTINCT FROM p.chip_sha256
    AND NOT EXISTS (SELECT FROM lotline.detection d WHERE d.property_fk = p.id
        AND d.state = 'proposed' AND d.label = ANY(f.labels))"""


def detections_of(property_key: str) -> str:
    """SQL table: the detections of a property in any state.

    Those that are superseded, and the others, have an index each. `property_fk = …` alone can use
    neither, and would read the detections of all counties for each property.
    """
    return f"""(SELECT * FROM lotline.detection
            WHERE property_fk = {property_key} AND state <> 'superseded'
        UNION ALL SELECT * FROM lotline.detection
            WHERE property_fk = {property_key} AND state = 'superseded')"""  # noqa: S608


review = Table(
    "review",
    metadata,
    id_column(),
    Column("detection_fk", BigInteger, ForeignKey("lotline.detection.id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    # The detection before and after: state, label, version; `before` also has geom and areas.
    Column("before", JSONB, nullable=False, server_default="{}"),
    Column("after", JSONB, nullable=False, server_default="{}"),
    Column("geom", Geometry("MULTIPOLYGON", srid=4326, spatial_index=False)),
    Column("label", Text),
    now_column("created_at"),
    Column("idempotency_key", Text, unique=True),
    # The event that an `undo` takes back.
    Column("undoes", BigInteger, unique=True),
    UniqueConstraint("id", "detection_fk"),
    ForeignKeyConstraint(
        ["undoes", "detection_fk"], ["lotline.review.id", "lotline.review.detection_fk"]
    ),
    CheckConstraint("(action = 'undo') = (undoes IS NOT NULL)", "undo"),
    CheckConstraint(
        "action IN ('accept', 'edit', 'relabel', 'reject', 'add', 'restore', 'delete', 'undo')",
        "action",
    ),
    CheckConstraint("reviewer <> ''", "reviewer"),
    Index("review_detection_idx", "detection_fk", "id"),
    Index(
        "review_before_geom_idx",
        text("CAST(before ->> 'geom' AS geometry)"),
        postgresql_using="gist",
        postgresql_where=text("action IN ('edit', 'relabel')"),
    ),
)

# All objects of these labels on a property were decided, or that is withdrawn; append-only.
full_review = Table(
    "full_review",
    metadata,
    id_column(),
    Column("property_fk", BigInteger, ForeignKey("lotline.property.id"), nullable=False),
    Column("boundary_fk", BigInteger, nullable=False),
    Column("chip_sha256", Text, ForeignKey("lotline.chip.sha256")),
    Column("labels", ARRAY(Text), nullable=False),
    Column("is_full", Boolean, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    now_column("created_at"),
    Column("idempotency_key", Text, unique=True),
    ForeignKeyConstraint(
        ["boundary_fk", "property_fk"], ["lotline.boundary.id", "lotline.boundary.property_fk"]
    ),
    CheckConstraint("reviewer <> ''", "reviewer"),
    CheckConstraint("cardinality(labels) > 0", "labels"),
    Index("full_review_property_idx", "property_fk", "id"),
)

# Who may use the review panel; only hashes of the secrets are stored.
review_token = Table(
    "review_token",
    metadata,
    id_column(),
    Column("reviewer", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("counties", ARRAY(Text)),  # NULL for all
    Column("sha256", Text, nullable=False, unique=True),
    now_column("created_at"),
    Column("used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    CheckConstraint("role IN ('viewer', 'reviewer', 'admin')", "role"),
    CheckConstraint("reviewer <> ''", "reviewer"),
    CheckConstraint("cardinality(counties) > 0", "counties"),
)

review_session = Table(
    "review_session",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("token_fk", BigInteger, ForeignKey("lotline.review_token.id"), nullable=False),
    now_column("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("review_session_token_idx", "token_fk"),
)

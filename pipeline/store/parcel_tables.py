"""The tables of cached parcels; see `pipeline.store.parcel_cache`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline.store.table_parts import id_column, metadata, now_column, polygons_column


def _layer_fk() -> Column[int]:
    layer = ForeignKey("lotline.parcel_layer.id", ondelete="CASCADE")
    return Column("layer_fk", BigInteger, layer, nullable=False)


parcel_layer = Table(
    "parcel_layer",
    metadata,
    id_column(),
    Column("county", Text, nullable=False),
    Column("digest", Text, nullable=False),  # of everything that affects responses, see LayerKey
    Column("origin", Text, nullable=False),
    Column("stamp", Text),  # the LayerVersion last observed
    now_column("used_at"),
    UniqueConstraint("county", "digest"),
)

parcel_answer = Table(
    "parcel_answer",
    metadata,
    id_column(),
    _layer_fk(),
    Column("stamp", Text, nullable=False),
    # Hashed: a query may contain an id of any length, an index entry may not.
    Column("question_sha256", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("fetched_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("layer_fk", "stamp", "question_sha256"),
    Index("parcel_answer_age_idx", "layer_fk", "fetched_at"),
)

parcel_hit = Table(
    "parcel_hit",
    metadata,
    Column(
        "answer_fk", BigInteger, ForeignKey("lotline.parcel_answer.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("place", Integer, primary_key=True),
    Column("parcel_id", Text),
    Column("object_id", BigInteger),
    Column("site", JSONB),
    Column("parcel_type", Text),
    Column("lacks_id", Boolean, nullable=False, server_default="false"),
    polygons_column(nullable=True),
)  # fmt: skip

parcel_copy = Table(
    "parcel_copy",
    metadata,
    id_column(),
    _layer_fk(),
    Column("stamp", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="copying"),
    now_column("fetched_at"),
    Column("after_object_id", BigInteger),  # where an interrupted snapshot resumes
    Column("rows", BigInteger, nullable=False, server_default="0"),
    Column("without_geometry", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("layer_fk", "state"),
    CheckConstraint("state IN ('copying', 'complete')", "state"),
)

parcel = Table(
    "parcel",
    metadata,
    Column(
        "copy_fk", BigInteger, ForeignKey("lotline.parcel_copy.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("object_id", BigInteger, primary_key=True, autoincrement=False),
    # Numbers the rows with one object id: a joined layer has one for each account on a parcel.
    Column("place", Integer, primary_key=True, autoincrement=False, server_default="0"),
    Column("parcel_id", Text),
    Column("site", JSONB),
    Column("parcel_type", Text),
    Column("lacks_id", Boolean, nullable=False, server_default="false"),
    # House numbers, each prefixed with the snapshot's id: one index serves every county.
    Column("house_keys", ARRAY(BigInteger), nullable=False),
    polygons_column(nullable=True),
    Index("parcel_parcel_id_idx", "parcel_id", postgresql_using="hash"),
    # No pending list (fastupdate): every query would have to scan it.
    Index("parcel_house_keys_idx", "house_keys", postgresql_using="gin",
          postgresql_with={"fastupdate": "off"}),
    Index("parcel_geom_idx", "geom", postgresql_using="gist"),
)  # fmt: skip

"""What all tables have in common: the schema, names of constraints, and repeated columns."""

from __future__ import annotations

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    MetaData,
    func,
)

SCHEMA = "lotline"

metadata = MetaData(
    schema=SCHEMA,
    # PostgreSQL's own naming, so that a constraint in an error message can be found here.
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)


def id_column() -> Column[int]:
    """The generated primary key."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def now_column(name: str) -> Column[object]:
    """A time that is that of the insert by default."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def polygons_column(*, nullable: bool = False) -> Column[object]:
    """Multipolygons in EPSG:4326."""
    kind = Geometry("MULTIPOLYGON", srid=4326, spatial_index=False)
    return Column("geom", kind, nullable=nullable)

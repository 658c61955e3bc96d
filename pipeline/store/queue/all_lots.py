"""Loads every lot of a county's parcel layer into the queue, each once.

Functions take a `Connection`; the caller commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.bulk_copy import StagingTable
from pipeline.store.queue.loading import STAGED_PROPERTIES, add_staged

# Layer rows: several may be parts of one lot, and several may have the same geometry.
_LOT_PARTS = StagingTable(
    "staged_piece",
    {
        "line": "bigint",
        "property_id": "text",
        "parcel_id": "text",
        "longitude": "float8",
        "latitude": "float8",
        "size": "float8",
        "shape": "bytea",
    },
    key="line",
)

# Of several rows of one id, the largest gives the point. Of several ids with the same geometry,
# the first one is used.
_STAGE_LOTS = text("""
INSERT INTO staged_property (line, property_id, longitude, latitude, parcel_id)
SELECT line, property_id, longitude, latitude, parcel_id FROM (
    SELECT DISTINCT ON (shape) * FROM (
        SELECT DISTINCT ON (property_id) * FROM staged_piece
        ORDER BY property_id, size DESC, line
    ) largest ORDER BY shape, parcel_id IS NULL, property_id
) lot
""")

# Two statements: one with OR would compare every lot with every property.
_DROP_KNOWN = (
    text("""
DELETE FROM staged_property lot USING lotline.property known
WHERE known.county = :county AND known.property_id = lot.property_id
"""),
    text("""
DELETE FROM staged_property lot USING lotline.property known
WHERE known.county = :county AND known.parcel_id = lot.parcel_id
"""),
)

_COUNT = text("SELECT count(*) FROM staged_property")


@dataclass(frozen=True, slots=True)
class LotPart:
    """A row of a parcel layer: a lot or a part of one.

    Attributes:
        longitude, latitude: of a point inside it, in degrees.
        size: to compare parts by, in any unit.
        shape: equal for equal geometries.
    """

    property_id: str
    parcel_id: str | None
    longitude: float
    latitude: float
    size: float
    shape: bytes


@dataclass(frozen=True, slots=True)
class LotCounts:
    """Number of lots of a layer, and of those that are not yet in the queue."""

    count: int
    new: int


def stage(conn: Connection, county: str, parts: Iterable[LotPart]) -> LotCounts:
    """Stage a layer's lots for this transaction; `add` then inserts the new ones."""
    _LOT_PARTS.copy_rows(
        conn,
        (
            (
                line,
                part.property_id,
                part.parcel_id,
                part.longitude,
                part.latitude,
                part.size,
                part.shape,
            )
            for line, part in enumerate(parts, 1)
        ),
    )
    STAGED_PROPERTIES.create_empty(conn)
    count = conn.execute(_STAGE_LOTS).rowcount
    for drop in _DROP_KNOWN:
        conn.execute(drop, {"county": county})
    return LotCounts(count, int(conn.execute(_COUNT).scalar_one()))


def add(conn: Connection, county: str) -> int:
    """Insert the staged lots that are not yet in the queue; returns how many."""
    return add_staged(conn, county)

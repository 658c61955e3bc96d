"""A county's lots as properties: every one of its layer, each once.

Functions take a `Connection`, and the caller commits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.bulk_copy import StagingTable
from pipeline.store.queue.loading import STAGED_PROPERTIES, add_staged

# Rows of a layer that may be pieces of one lot, or several in one place.
_PIECES = StagingTable(
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

# Of the rows of an id, the largest says where it is; of the ids of one place, the first is the
# lot's. One that is asked about by its parcel id already has its property.
_WHOLE = text("""
INSERT INTO staged_property (line, property_id, longitude, latitude, parcel_id)
SELECT line, property_id, longitude, latitude, parcel_id FROM (
    SELECT DISTINCT ON (shape) * FROM (
        SELECT DISTINCT ON (property_id) * FROM staged_piece
        ORDER BY property_id, size DESC, line
    ) largest ORDER BY shape, parcel_id IS NULL, property_id
) lot
""")

# One after the other: either id in one condition would compare every lot with every property.
_FORGET_KNOWN = (
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
    """A row of a layer that is a lot, or a part of one.

    Attributes:
        longitude, latitude: of a point that lies in it, in degrees.
        size: to compare pieces by, in any unit.
        shape: equal for the same geometry.
    """

    property_id: str
    parcel_id: str | None
    longitude: float
    latitude: float
    size: float
    shape: bytes


@dataclass(frozen=True, slots=True)
class LotCounts:
    """How many lots a layer has, and how many of them are no property yet."""

    count: int
    new: int


def stage(conn: Connection, county: str, pieces: Iterable[LotPart]) -> LotCounts:
    """Hold a layer's lots, for this transaction, so that `add` can make them properties."""
    _PIECES.copy_rows(
        conn,
        (
            (
                line,
                piece.property_id,
                piece.parcel_id,
                piece.longitude,
                piece.latitude,
                piece.size,
                piece.shape,
            )
            for line, piece in enumerate(pieces, 1)
        ),
    )
    STAGED_PROPERTIES.create_empty(conn)
    count = conn.execute(_WHOLE).rowcount
    for forget in _FORGET_KNOWN:
        conn.execute(forget, {"county": county})
    return LotCounts(count, int(conn.execute(_COUNT).scalar_one()))


def add(conn: Connection, county: str) -> int:
    """Make the staged lots properties, where they are none yet; how many they were."""
    return add_staged(conn, county)

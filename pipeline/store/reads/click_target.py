"""What a click on a property needs: its boundary, its imagery, and what measured its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import shapely
from sqlalchemy import Connection, text

from parcels.boundary import Boundary
from pipeline.errors import NotStored, StoreError

_TARGET = text("""
SELECT p.county, p.chip_sha256, p.method, b.source, b.area_m2, b.origin, b.parcel_ids,
    ST_AsBinary(b.geom) AS geom
FROM lotline.property p LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.id = :id AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
""")

# What measured the label first, then what measured the others, the newest first.
_MEASURED_BY = text("""
SELECT m.segmenter, m.weights_sha256, r.settings -> 'prompts' ->> :label AS prompt
FROM lotline.measurement m LEFT JOIN lotline.run r ON r.id = m.run_fk
WHERE m.property_fk = :id AND m.current
ORDER BY m.label = :label DESC, m.run_fk DESC NULLS LAST
""")


@dataclass(frozen=True, slots=True)
class MeasuredBy:
    """A segmenter that measured a label of a property.

    Attributes:
        prompt: that its run had for the label that was asked; None if it had none.
    """

    segmenter: str
    weights_sha256: str | None
    prompt: str | None


@dataclass(frozen=True, slots=True)
class ClickTarget:
    """A property with a boundary.

    Attributes:
        imagery_sha256: of the lot's imagery in the last inference.
        measured_by: what measured the asked label first, then the others.
    """

    county: str
    boundary: Boundary
    imagery_sha256: str | None
    measured_by: tuple[MeasuredBy, ...]


def click_target(
    conn: Connection, property_key: int, label: str, counties: Sequence[str] | None = None
) -> ClickTarget:
    """A property by its key, for a label.

    Raises:
        NotStored: there is none, or it may not be seen.
        StoreError: it has no boundary.
    """
    where = {"id": property_key, "counties": None if counties is None else list(counties)}
    row = conn.execute(_TARGET, where).one_or_none()
    if row is None:
        raise NotStored(f"there is no property {property_key}")
    if row.geom is None:
        raise StoreError(f"property {property_key} has no boundary: run a batch first")
    boundary = Boundary(
        shapely.from_wkb(row.geom), row.source, row.area_m2, row.method or "point", row.origin,
        tuple(row.parcel_ids or ()),
    )  # fmt: skip
    measured = conn.execute(_MEASURED_BY, {"id": property_key, "label": label})
    by = tuple(MeasuredBy(each.segmenter, each.weights_sha256, each.prompt) for each in measured)
    return ClickTarget(row.county, boundary, row.chip_sha256, by)

"""The order in which properties are reviewed: filtered, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

# Neighbours follow each other, as in a batch.
_NEXT = text("""
SELECT p.id FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
LEFT JOIN lotline.property here ON here.id = :after
WHERE (CAST(:county AS text) IS NULL OR p.county = :county)
    AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
    AND (CAST(:source AS text) IS NULL OR b.source = :source)
    AND (here.id IS NULL OR (p.county, coalesce(p.sort_key, ''), p.id)
        > (here.county, coalesce(here.sort_key, ''), here.id))
    AND EXISTS (
        SELECT FROM lotline.detection d WHERE d.property_fk = p.id AND d.state <> 'superseded'
            AND (CAST(:label AS text) IS NULL OR d.label = :label)
            AND (CAST(:state AS text) IS NULL OR d.state = :state))
ORDER BY p.county, coalesce(p.sort_key, ''), p.id LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class WorkFilter:
    """Properties with at least one detection of this label and state; None is any."""

    county: str | None = None
    label: str | None = None
    state: str | None = None
    source: str | None = None


def next_property(
    conn: Connection, wanted: WorkFilter, after: int, counties: Sequence[str] | None = None
) -> int | None:
    """The key of the property that follows `after` (0 for the first); None at the end."""
    found = conn.execute(
        _NEXT,
        {
            "county": wanted.county,
            "label": wanted.label,
            "state": wanted.state,
            "source": wanted.source,
            "after": after,
            "counties": None if counties is None else list(counties),
        },
    ).scalar()
    return None if found is None else int(found)

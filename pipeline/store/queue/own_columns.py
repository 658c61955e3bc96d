"""Stores the customer's own columns of a staged properties file, as text by column name."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, text

# A file adds its columns and replaces those that it has again: another list of the same properties
# keeps the columns that only it has.
_MERGE = text("""
WITH merged AS (
    INSERT INTO lotline.own_columns AS old (property_fk, cells)
    SELECT p.id, staged.own_columns::jsonb
    FROM staged_property staged JOIN lotline.property p USING (property_id)
    WHERE p.county = :county AND staged.own_columns IS NOT NULL
    ORDER BY p.id
    ON CONFLICT (property_fk) DO UPDATE SET cells = old.cells || excluded.cells
        WHERE NOT old.cells @> excluded.cells
    RETURNING xmax <> 0 AS is_change
)
SELECT count(*) FILTER (WHERE is_change) FROM merged
""")


def as_json(cells: Mapping[str, str]) -> str | None:
    """A row's cells for staging; None without own columns."""
    return json.dumps(cells, ensure_ascii=False) if cells else None


def merge(conn: Connection, county: str) -> int:
    """Store the staged cells; returns how many properties had other ones."""
    return int(conn.execute(_MERGE, {"county": county}).scalar_one())

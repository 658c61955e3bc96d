"""Loads properties into a county's queue, from a file (as a list) or from staged lots.

Functions take a `Connection`; the caller commits. Properties are bulk-copied into a staging table
and merged by a fixed number of statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.properties_csv import BadRow, BadRows, duplicate_problem
from pipeline.store.bulk_copy import StagingTable
from pipeline.store.queue import own_columns

# The newest lists of a county are kept, and those that a long batch may still be using.
KEEP_LISTS = 5
KEEP_DAYS = 7

# An advisory lock: loads of one county run one after another, and the last one wins.
_LOCK_COUNTY = text("SELECT pg_advisory_xact_lock(:class, hashtext(:county))")
_LOCK_CLASS = 0x107720

STAGED_PROPERTIES = StagingTable(
    "staged_property",
    {
        "line": "bigint",
        "property_id": "text",
        "longitude": "float8",
        "latitude": "float8",
        "parcel_id": "text",
        "address": "text",
        "own_columns": "text",
    },
    key="line",
)

# A row of a file: its line, its property and, if the file has any, the customer's own columns.
ListedRow = tuple[int, Property] | tuple[int, Property, Mapping[str, str]]

_DUPLICATES = StagingTable(
    "staged_duplicate",
    {"line": "bigint", "property_id": "text", "first_line": "bigint"},
    key="line",
)

# Of a duplicate id, the first line is used.
_DROP_DUPLICATES = text("""
WITH repeated AS (
    SELECT property_id, min(line) AS first FROM staged_property
    GROUP BY property_id HAVING count(*) > 1
), dropped AS (
    DELETE FROM staged_property staged USING repeated
    WHERE staged.property_id = repeated.property_id AND staged.line > repeated.first
    RETURNING staged.line, staged.property_id, repeated.first
)
INSERT INTO staged_duplicate (line, property_id, first_line) SELECT * FROM dropped
""")

_READ_DUPLICATES = text("""
SELECT line, property_id, first_line FROM staged_duplicate ORDER BY line LIMIT :most
""")

_POINT = "ST_SetSRID(ST_MakePoint(staged.longitude, staged.latitude), 4326)"

# A property is processed again if its point, parcel id or address differs; otherwise its row is
# unchanged.
_DIFFERING = f"""lotline.property old JOIN staged_property staged USING (property_id)
    WHERE old.county = :county AND (old.point, old.parcel_id, old.address)
        IS DISTINCT FROM ({_POINT}, staged.parcel_id, staged.address)"""

# Locks rows in the same order as the result writer, to avoid deadlocks. A separate statement, so
# that the next one sees what was committed while this one waited.
_LOCK_DIFFERING = text(f"""
SELECT count(*) FROM (
    SELECT old.id FROM {_DIFFERING} ORDER BY old.id FOR NO KEY UPDATE OF old) locked
""")  # noqa: S608

# A property that moved loses its results at the old place; reviewed detections stay. A changed
# address counts as a move only if the property was located by its address. All parts of the
# statement see the rows as they were before it.
_UPDATE_CHANGED = text(f"""
WITH differing AS MATERIALIZED (
    SELECT old.id, {_POINT} AS point, staged.parcel_id, staged.address,
        (old.point, old.parcel_id) IS DISTINCT FROM ({_POINT}, staged.parcel_id)
            OR (old.address IS DISTINCT FROM staged.address
                AND (old.method IN ('address', 'house_number') OR old.located_by <> 'given'))
            AS moved
    FROM {_DIFFERING}
), changed AS (
    UPDATE lotline.property p SET
        point = new.point, parcel_id = new.parcel_id, address = new.address,
        (boundary_fk, chip_sha256, coverage_fraction, method, located_by, located_point, confidence,
         matched_address) = (
            SELECT p.boundary_fk, p.chip_sha256, p.coverage_fraction, p.method, p.located_by,
                p.located_point, p.confidence, p.matched_address
            WHERE new.moved IS NOT TRUE),  -- else all NULL
        state = 'pending', reason = '', detail = '', attempts = 0, only_labels = NULL,
        lease_owner = NULL, leased_until = NULL, updated_at = now()
    FROM differing new WHERE p.id = new.id
    RETURNING p.id, new.moved
), retired AS (
    UPDATE lotline.measurement SET current = false
    FROM changed WHERE property_fk = changed.id AND moved AND current
), superseded AS (
    UPDATE lotline.detection SET state = 'superseded'
    FROM changed
    WHERE property_fk = changed.id AND moved AND state = 'proposed' AND review_fk IS NULL
)
SELECT count(*) FROM changed
""")  # noqa: S608

_INSERT_NEW = text(f"""
INSERT INTO lotline.property (county, property_id, point, parcel_id, address)
SELECT :county, property_id, {_POINT}, parcel_id, address FROM staged_property staged
WHERE NOT EXISTS (
    SELECT 1 FROM lotline.property old
    WHERE old.county = :county AND old.property_id = staged.property_id)
ORDER BY line
ON CONFLICT (county, property_id) DO NOTHING
""")  # noqa: S608

_USE_LIST = text("""
UPDATE lotline.property_list SET used_at = now()
WHERE county = :county AND sha256 = :sha256 AND is_current
RETURNING id, bad_row_count, bad_rows
""")

_UPSERT_LIST = text("""
INSERT INTO lotline.property_list (county, sha256, bad_row_count, bad_rows, own_columns)
VALUES (:county, :sha256, :bad_row_count, CAST(:bad_rows AS jsonb), :own_columns)
ON CONFLICT (county, sha256) DO UPDATE SET bad_row_count = excluded.bad_row_count,
    bad_rows = excluded.bad_rows, own_columns = excluded.own_columns, is_current = true,
    loaded_at = now(), used_at = now()
RETURNING id
""")

_INSERT_LISTED = text("""
INSERT INTO lotline.listed (list_fk, property_fk)
SELECT :list, p.id
FROM staged_property JOIN lotline.property p USING (property_id)
WHERE p.county = :county ORDER BY p.id
ON CONFLICT DO NOTHING
""")

_MARK_OTHER_LISTS_OUTDATED = text("""
UPDATE lotline.property_list SET is_current = false
WHERE county = :county AND sha256 IS DISTINCT FROM :sha256 AND is_current
""")

_DELETE_OLD_LISTS = text("""
WITH old AS (
    DELETE FROM lotline.property_list
    WHERE county = :county AND used_at < now() - make_interval(days => :days)
        AND id NOT IN (SELECT id FROM lotline.property_list WHERE county = :county
                       ORDER BY used_at DESC, id DESC LIMIT :kept)
    RETURNING id
)
DELETE FROM lotline.listed WHERE list_fk IN (SELECT id FROM old)
""")


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Numbers of new, changed (now pending again) and unchanged properties."""

    new: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class PropertyList:
    """A stored list: the properties of a file, and its bad rows."""

    id: int
    bad_rows: BadRows


def load(conn: Connection, county: str, properties: Iterable[Property]) -> LoadResult:
    """Upsert properties into a county's queue.

    An existing property becomes pending again if its point, parcel id or address changed. Of a
    duplicate property_id, the first one is used.
    """
    _stage(conn, enumerate(properties, 1), BadRows())
    return _merge(conn, county, None)


def current_list(conn: Connection, county: str, sha256: str) -> PropertyList | None:
    """The list of a file that was loaded before.

    None if it was not, or if a later list has changed a property of the county since.
    """
    row = conn.execute(_USE_LIST, {"county": county, "sha256": sha256}).one_or_none()
    if row is None:
        return None
    examples = [BadRow(line, problem) for line, problem in row.bad_rows]
    return PropertyList(row.id, BadRows(row.bad_row_count, examples))


def load_list(
    conn: Connection,
    county: str,
    sha256: str,
    rows: Iterable[ListedRow | BadRow],
    own_names: Sequence[str] = (),
) -> PropertyList:
    """Load a file's properties as `load` does, and store them as a list.

    Args:
        rows: of the file.
        own_names: the customer's own columns, in the order of the file.
    """
    bad_rows = BadRows()
    _stage(conn, _good(rows, bad_rows), bad_rows)
    _merge(conn, county, sha256)
    values = {
        "county": county,
        "sha256": sha256,
        "bad_row_count": bad_rows.count,
        "bad_rows": json.dumps([(row.line, row.problem) for row in bad_rows.examples]),
        "own_columns": list(own_names),
    }
    list_id = int(conn.execute(_UPSERT_LIST, values).scalar_one())
    conn.execute(_INSERT_LISTED, {"county": county, "list": list_id})
    conn.execute(_DELETE_OLD_LISTS, {"county": county, "days": KEEP_DAYS, "kept": KEEP_LISTS})
    return PropertyList(list_id, bad_rows)


def stage_again(conn: Connection, rows: Iterable[ListedRow | BadRow]) -> None:
    """Find the duplicates of a file whose list is loaded already, for `iter_duplicates`."""
    bad_rows = BadRows()
    _stage(conn, _good(rows, bad_rows), bad_rows)


def iter_duplicates(conn: Connection, limit: int | None = None) -> Iterator[BadRow]:
    """Rows of the file last loaded in this transaction whose id an earlier row has, by line."""
    found = conn.execute(
        _READ_DUPLICATES, {"most": limit}, execution_options={"stream_results": True}
    )
    for row in found:
        yield BadRow(row.line, duplicate_problem(row.property_id, row.first_line))


def add_staged(conn: Connection, county: str) -> int:
    """Insert the rows of `STAGED_PROPERTIES`; existing ones stay. Returns how many were new.

    Each staged id must be unique.
    """
    conn.execute(_LOCK_COUNTY, {"class": _LOCK_CLASS, "county": county})
    return conn.execute(_INSERT_NEW, {"county": county}).rowcount


def _good(rows: Iterable[ListedRow | BadRow], bad_rows: BadRows) -> Iterator[ListedRow]:
    for row in rows:
        if isinstance(row, BadRow):
            bad_rows.add(row)
        else:
            yield row


def _stage(conn: Connection, rows: Iterable[ListedRow], bad_rows: BadRows) -> None:
    """Copy the properties into the staging table and drop duplicate ids as bad rows."""
    STAGED_PROPERTIES.copy_rows(conn, map(_staged, rows))
    _DUPLICATES.create_empty(conn)
    dropped = conn.execute(_DROP_DUPLICATES).rowcount
    if dropped:
        bad_rows.add(*iter_duplicates(conn, BadRows.MAX_EXAMPLES), count=dropped)


def _staged(row: ListedRow) -> tuple[object, ...]:
    line, item, *own = row
    cells = own_columns.as_json(own[0]) if own else None
    return (
        line, item.property_id, item.longitude, item.latitude, item.parcel_id, item.address, cells,
    )  # fmt: skip


def _merge(conn: Connection, county: str, sha256: str | None) -> LoadResult:
    conn.execute(_LOCK_COUNTY, {"class": _LOCK_CLASS, "county": county})
    changed = int(conn.execute(_LOCK_DIFFERING, {"county": county}).scalar_one())
    if changed:
        conn.execute(_UPDATE_CHANGED, {"county": county})
    new = conn.execute(_INSERT_NEW, {"county": county}).rowcount
    staged = int(conn.execute(text("SELECT count(*) FROM staged_property")).scalar_one())
    if own_columns.merge(conn, county) or changed:
        conn.execute(_MARK_OTHER_LISTS_OUTDATED, {"county": county, "sha256": sha256})
    return LoadResult(new, changed, staged - new - changed)

"""Which source a county in the database has: another registry entry with its key is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Row, text

from parcels.registry.county_source import CountySource
from pipeline.county_entry import CountyEntry
from pipeline.errors import CountyMismatch

Binding = Literal["new", "same", "adopted", "rebound"]

_INSERT = text("""
INSERT INTO lotline.county (key, source, fingerprint, registry)
VALUES (:key, CAST(:source AS jsonb), :fingerprint, :registry)
ON CONFLICT (key) DO NOTHING
""")

# Locked: of two batches that bind a county at the same time, one waits for the other.
_READ_LOCKED = text("SELECT * FROM lotline.county WHERE key = :key FOR UPDATE")

_READ = text("SELECT * FROM lotline.county WHERE key = :key")

_UPDATE = text("""
UPDATE lotline.county SET source = CAST(:source AS jsonb), fingerprint = :fingerprint,
    registry = :registry, bound_at = CASE WHEN :is_same THEN bound_at ELSE now() END
WHERE key = :key
""")

_COUNT_PROPERTIES = text("SELECT count(*) FROM lotline.property WHERE county = :key")
_HAS_PROPERTIES = text("SELECT EXISTS (SELECT FROM lotline.property WHERE county = :key)")


def bind_county(conn: Connection, entry: CountyEntry) -> Binding:
    """Bind a county to its source before the first of its properties is stored.

    Returns:
        "adopted" if the county has properties of an earlier Lotline, whose source is not known.

    Raises:
        CountyMismatch: the county's properties come from another source, or the key that was asked
            for is that of another county.
    """
    _check_written(conn, entry)
    has_properties = conn.execute(_HAS_PROPERTIES, {"key": entry.key}).scalar_one()
    if conn.execute(_INSERT, _values(entry)).rowcount:
        return "adopted" if has_properties else "new"
    stored = conn.execute(_READ_LOCKED, {"key": entry.key}).one()
    is_same = _source(stored).is_same(entry.source)
    if has_properties and not is_same:
        raise _mismatch(conn, stored, entry)
    if (stored.fingerprint, stored.registry) != (entry.source.fingerprint, _path_of(entry)):
        conn.execute(_UPDATE, {**_values(entry), "is_same": is_same})
    return "same" if is_same else "new"


def check_county(conn: Connection, entry: CountyEntry) -> None:
    """Check that what is stored under the entry's key comes from the entry's source.

    Writes nothing. A county of an earlier Lotline, which is not bound yet, passes.

    Raises:
        CountyMismatch: it comes from another source, or the key that was asked for is that of
            another county.
    """
    _check_written(conn, entry)
    stored = conn.execute(_READ, {"key": entry.key}).one_or_none()
    if stored is None or _source(stored).is_same(entry.source):
        return
    if conn.execute(_HAS_PROPERTIES, {"key": entry.key}).scalar_one():
        raise _mismatch(conn, stored, entry)


def bound_registry(conn: Connection, key: str) -> Path | None:
    """The registry file of a county's entry; None is the shipped one, or a county of an earlier
    Lotline.
    """
    stored = conn.execute(_READ, {"key": key}).one_or_none()
    return None if stored is None or stored.registry is None else Path(stored.registry)


def rebind_county(conn: Connection, entry: CountyEntry) -> tuple[str | None, int]:
    """Bind a county to another source, and keep what is stored of it.

    Returns:
        The description of the earlier source (None if there was none), and the number of properties
        that are kept.
    """
    conn.execute(_INSERT, _values(entry))
    stored = conn.execute(_READ_LOCKED, {"key": entry.key}).one()
    earlier = _source(stored)
    is_same = earlier.is_same(entry.source)
    conn.execute(_UPDATE, {**_values(entry), "is_same": is_same})
    kept = conn.execute(_COUNT_PROPERTIES, {"key": entry.key}).scalar_one()
    return None if is_same else earlier.description, kept


def _check_written(conn: Connection, entry: CountyEntry) -> None:
    """Refuse an entry of a similar name where the database has the very key that was asked for.

    Without `--registry`, `riverside` finds the shipped `riverside-ca`.
    """
    if entry.written in (None, entry.key):
        return
    stored = conn.execute(_READ, {"key": entry.written}).one_or_none()
    if stored is None or not conn.execute(_HAS_PROPERTIES, {"key": stored.key}).scalar_one():
        return
    raise CountyMismatch(
        f"the database has a county {stored.key!r}, of {_registry_words(stored.registry)}; "
        f"{_registry_words(_path_of(entry))} has no such key, only {entry.key!r}. "
        f"{_use_the_other(stored.registry, _path_of(entry))}"
        f"If you mean the other county, write --county {entry.key}"
    )


def _values(entry: CountyEntry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "source": json.dumps(entry.source.as_json()),
        "fingerprint": entry.source.fingerprint,
        "registry": _path_of(entry),
    }


def _path_of(entry: CountyEntry) -> str | None:
    return None if entry.registry is None else str(entry.registry)


def _source(stored: Row[Any]) -> CountySource:
    return CountySource.from_json(stored.source)


def _mismatch(conn: Connection, stored: Row[Any], entry: CountyEntry) -> CountyMismatch:
    count = conn.execute(_COUNT_PROPERTIES, {"key": entry.key}).scalar_one()
    here = _path_of(entry)
    option = f" --registry {shlex.quote(here)}" if here else ""
    return CountyMismatch(
        f"the database has another county under the key {entry.key!r}: its {count:,} properties "
        f"come from {_source(stored).description}, entry {entry.key!r} of "
        f"{_registry_words(stored.registry)}, bound {stored.bound_at:%Y-%m-%d}; this entry, of "
        f"{_registry_words(here)}, describes {entry.source.description}. "
        f"{_use_the_other(stored.registry, here)}"
        f"If both are the same county, run `lotline db rebind --county {entry.key}{option}`. If "
        "not, give one of the entries another key, or use another database (DATABASE_URL)"
    )


def _registry_words(path: str | None) -> str:
    return path or "the shipped registry"


def _use_the_other(bound: str | None, here: str | None) -> str:
    if bound == here:
        return ""
    if bound is None:
        return "To use the shipped registry, leave out --registry (REGISTRY). "
    return f"To use the earlier registry, pass --registry {shlex.quote(bound)} (REGISTRY=). "

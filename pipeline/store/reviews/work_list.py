"""The list of properties to review: filtered, in the order of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

from pipeline.store.reviews.leases import LeaseHolder, ReviewLease, is_free, take_first

# Neighbours follow each other, as in a batch; `property_order_idx` has this order.
_ORDER = "p.county, coalesce(p.sort_key, ''), p.id"
# What the parts of a filter ask for: a statement has only those that are there, which the planner
# can use, unlike `:label IS NULL OR ...`.
_OF_PROPERTY = {
    "county": "p.county = :county",
    "counties": "p.county = ANY(:counties)",
    "source": "b.source = :source",
    "holder": is_free("p.id"),
    "here": f"({_ORDER}) > (:here_county, :here_sort_key, :here)",
}
_OF_DETECTION = {"label": "d.label = :label", "state": "d.state = :state", "run": "d.run_fk = :run"}
_PLACE = text("""
SELECT county, coalesce(sort_key, '') AS sort_key, id FROM lotline.property WHERE id = :after
""")

_RUNS = text("""
SELECT id, segmenter, state, started_at FROM lotline.run WHERE county = :county
ORDER BY id DESC LIMIT 200
""")


@dataclass(frozen=True, slots=True)
class WorkFilter:
    """Properties with at least one detection of this label, state and run; None is any."""

    county: str | None = None
    label: str | None = None
    state: str | None = None
    source: str | None = None
    run: int | None = None


@dataclass(frozen=True, slots=True)
class ListedProperty:
    """A property in the list."""

    property_key: int


def next_property(
    conn: Connection, wanted: WorkFilter, after: int, counties: Sequence[str] | None = None
) -> int | None:
    """The key of the property that follows `after` (0 for the first); None at the end."""
    return _next(conn, wanted, after, counties)


def runs_of(conn: Connection, county: str) -> list[dict[str, Any]]:
    """The runs of a county by which the list can be filtered, newest first."""
    return [dict(row) for row in conn.execute(_RUNS, {"county": county}).mappings()]


def lease_next(
    conn: Connection,
    wanted: WorkFilter,
    after: int,
    holder: LeaseHolder,
    counties: Sequence[str] | None = None,
) -> tuple[ListedProperty, ReviewLease] | None:
    """Lease the property that follows `after` and that nobody else has; None at the end."""

    def find() -> ListedProperty | None:
        found = _next(conn, wanted, after, counties, holder)
        return None if found is None else ListedProperty(found)

    return take_first(conn, find, holder, "list")


def _next(
    conn: Connection,
    wanted: WorkFilter,
    after: int,
    counties: Sequence[str] | None,
    holder: LeaseHolder | None = None,
) -> int | None:
    """The key of the next property; with a holder, of those that nobody else has."""
    here = conn.execute(_PLACE, {"after": after}).one_or_none()
    values = {
        **asdict(wanted),
        "counties": None if counties is None else list(counties),
        "holder": None if holder is None else holder.key,
        "here": None if here is None else here.id,
        "here_county": None if here is None else here.county,
        "here_sort_key": None if here is None else here.sort_key,
    }

    def asked(conditions: dict[str, str]) -> str:
        given = [each for name, each in conditions.items() if values[name] is not None]
        return "".join(f" AND {each}" for each in given)

    statement = text(f"""
        SELECT p.id FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
        WHERE EXISTS (
            SELECT FROM lotline.detection d
            WHERE d.property_fk = p.id AND d.state <> 'superseded'{asked(_OF_DETECTION)}
        ){asked(_OF_PROPERTY)}
        ORDER BY {_ORDER} LIMIT 1
    """)  # noqa: S608
    found = conn.execute(statement, values).scalar()
    return None if found is None else int(found)

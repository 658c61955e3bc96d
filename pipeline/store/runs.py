"""Runs: one batch with its settings, counts, faults and timings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update

from pipeline.errors import StoreError
from pipeline.store import tables

End = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept."""

    id: int
    county: str
    settings: dict[str, Any]
    segmenter: str
    weights_sha256: str | None
    state: Literal["running", "finished", "interrupted", "failed"]
    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, Any]
    faults: dict[str, Any]
    timings: dict[str, Any]


def start(
    conn: Connection,
    county: str,
    settings: Mapping[str, Any],
    segmenter: str,
    weights_sha256: str | None,
) -> int:
    """Begin a run; its id."""
    values = {
        "county": county,
        "settings": dict(settings),
        "segmenter": segmenter,
        "weights_sha256": weights_sha256,
    }
    return int(
        conn.execute(insert(tables.run).values(values).returning(tables.run.c.id)).scalar_one()
    )


def finish(
    conn: Connection,
    run_id: int,
    state: End,
    counts: Mapping[str, Any],
    faults: Mapping[str, Any],
    timings: Mapping[str, Any],
) -> None:
    """End a run.

    Raises:
        StoreError: there is no such run.
    """
    values = {
        "state": state,
        "finished_at": func.now(),
        "counts": dict(counts),
        "faults": dict(faults),
        "timings": dict(timings),
    }
    done = conn.execute(update(tables.run).where(tables.run.c.id == run_id).values(values))
    if not done.rowcount:
        raise StoreError(f"there is no run {run_id}: start it before it is finished")


def latest(conn: Connection, county: str) -> Run | None:
    """The county's newest run, None before the first."""
    newest = (
        select(tables.run)
        .where(tables.run.c.county == county)
        .order_by(tables.run.c.id.desc())
        .limit(1)
    )
    row = conn.execute(newest).one_or_none()
    return None if row is None else Run(**row._mapping)

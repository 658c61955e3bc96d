"""Runs: when a batch began, with which settings, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, update

from pipeline.store.tables import run


def start(
    conn: Connection,
    county: str,
    settings: Mapping[str, Any],
    segmenter: str,
    weights_sha256: str | None,
) -> int:
    """Write a run that begins now; its number."""
    new = insert(run).values(
        county=county, settings=settings, segmenter=segmenter, weights_sha256=weights_sha256
    )
    return int(conn.execute(new.returning(run.c.id)).scalar_one())


def finish(
    conn: Connection,
    run_id: int,
    state: str,
    counts: Mapping[str, int],
    faults: Sequence[Mapping[str, str]],
    timings: Mapping[str, Any],
) -> None:
    """Write how a run ended: "finished", "interrupted" or "failed"."""
    conn.execute(
        update(run)
        .where(run.c.id == run_id)
        .values(state=state, finished_at=func.now(), counts=counts, faults=faults, timings=timings)
    )

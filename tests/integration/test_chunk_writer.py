"""Outcomes are gathered, and written when there are enough of them or when they waited long."""

from __future__ import annotations

import math

import pytest
from lots import COUNTY, LAWN, begin, finding, found, hold, lot, queue
from sqlalchemy import text

from pipeline.batch import writing
from pipeline.batch.writing import ChunkWriter
from pipeline.store import properties
from pipeline.store.database import Database
from pipeline.store.outcomes import Answered, Outcome, Unanswered, Written
from pipeline.store.properties import LeasedProperty

Told = list[tuple[int, Written | None]]


def _leased(database: Database, count: int) -> tuple[list[LeasedProperty], ChunkWriter, Told]:
    with database.engine.begin() as conn:
        queue(conn, count)
        run = begin(conn)
        leased = properties.lease(conn, COUNTY, "worker", count, 900, None, run.id)
    told: Told = []

    def tell(lease: LeasedProperty, _: Outcome, written: Written | None) -> None:
        told.append((lease.id, written))

    return leased, ChunkWriter(database.engine, run, "worker", tell), told


def test_what_is_gathered_is_written_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "CHUNK_LOTS", 3)
    monkeypatch.setattr(writing, "CHUNK_S", math.inf)
    leased, writer, told = _leased(database, 5)
    counts = [writer.add(lease, Unanswered(lease.id, "failed", "not_found")) for lease in leased]
    assert counts == [0, 0, 3, 0, 0]
    assert [fk for fk, _ in told] == [lease.id for lease in leased[:3]]
    assert writer.flush() == 2
    assert writer.flush() == 0
    with database.engine.connect() as conn:
        assert properties.states(conn, COUNTY) == {("failed", "not_found"): 5}


def test_what_waited_long_is_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "CHUNK_S", -1.0)
    leased, writer, _ = _leased(database, 2)
    result = found(finding(LAWN))
    assert [writer.add(lease, Answered(lease.id, lot(), result)) for lease in leased] == [1, 1]


def test_what_was_taken_meanwhile_is_told(database: Database) -> None:
    leased, writer, told = _leased(database, 2)
    with database.engine.begin() as conn:
        hold(conn, [leased[0].id], "rival")
    for lease in leased:
        writer.add(lease, Unanswered(lease.id, "deferred", "unavailable"))
    writer.flush()
    assert told[0] == (leased[0].id, None)
    assert told[1] == (leased[1].id, Written("deferred", "unavailable"))


def test_leases_are_held_for_longer_while_a_batch_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased, writer, _ = _leased(database, 2)
    monkeypatch.setattr(writing, "LEASE_S", -7200.0)  # so that a while has passed at once
    left = text("SELECT leased_until < now() FROM lotline.property WHERE id = :id")
    writer.add(leased[0], Unanswered(leased[0].id, "failed", "not_found"))
    writer.flush()
    with database.engine.connect() as conn:
        assert conn.execute(left, {"id": leased[1].id}).scalar_one() is True

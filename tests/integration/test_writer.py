"""Writing chunks under faults: refused lots, lost leases, rollbacks, killed backends, restarts."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import tenacity
from lots import (
    CHIP,
    COUNTY,
    LAWN,
    TREE,
    lease_to,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    read_property,
    set_state,
    shifted,
    square,
    start_run,
)
from shapely import MultiPolygon, Polygon
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from detection.results import Detection, LotResult
from pipeline.errors import StoreError
from pipeline.store.database import Database, open_database
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.results import merge as merge_module
from pipeline.store.results import writer
from pipeline.store.results.outcomes import NotProcessed, Outcome, Processed, RunInfo
from pipeline.store.reviews import verdicts

BOW_TIE = MultiPolygon([Polygon([(-90, 35), (-89, 36), (-89, 35), (-90, 36)])])
GARDEN = make_result(make_detection(LAWN), make_detection(TREE, "tree"))


def _ready(engine: Engine, count: int) -> tuple[RunInfo, list[int]]:
    """A run, and properties leased to "worker"."""
    with engine.begin() as conn:
        ids = load_properties(conn, count)
        lease_to(conn, ids)
        return start_run(conn), ids


def _rows(engine: Engine) -> dict[str, int]:
    """Number of rows in each table that a chunk writes to."""
    tables = ("boundary", "chip", "detection", "measurement", "measurement_detection")
    with engine.connect() as conn:
        count = {
            t: conn.execute(text(f"SELECT count(*) FROM lotline.{t}")).scalar() for t in tables
        }
    return {name: int(rows or 0) for name, rows in count.items()}


NOTHING = dict.fromkeys(
    ("boundary", "chip", "detection", "measurement", "measurement_detection"), 0
)


def _states(engine: Engine, ids: Sequence[int]) -> list[str]:
    with engine.connect() as conn:
        return [read_property(conn, lot_id).state for lot_id in ids]


# Refused lots

BAD: dict[str, tuple[Callable[[int], Outcome], str]] = {
    "score": (
        lambda fk: Processed(
            fk, make_boundary(), make_result(replace(make_detection(LAWN), score=1.5))
        ),
        "detection_score_check",
    ),
    "outline": (
        lambda fk: Processed(
            fk, make_boundary(), make_result(replace(make_detection(LAWN), geometry=BOW_TIE))
        ),
        "detection_geom_check",
    ),
    "boundary": (
        lambda fk: Processed(fk, replace(make_boundary(), geometry=BOW_TIE), make_result()),
        "boundary_geom_check",
    ),
    "flat boundary": (
        lambda fk: Processed(fk, replace(make_boundary(), area_m2=0.0), make_result()),
        "area_m2_check",
    ),
    "not on Earth": (
        lambda fk: Processed(
            fk,
            make_boundary(),
            make_result(replace(make_detection(LAWN), geometry=shifted(LAWN, 10_000_000))),
        ),
        "not on Earth",
    ),
    "text": (
        lambda fk: Processed(fk, replace(make_boundary(), note="\x00"), make_result()),
        "0x00|NUL",
    ),
    "surrogate": (lambda fk: NotProcessed(fk, "failed", "segmenter", "\ud800"), "surrogates"),
}


@pytest.mark.parametrize("what", BAD)
def test_refused_lot_fails_and_the_others_are_written(database: Database, what: str) -> None:
    bad, said = BAD[what]
    run, ids = _ready(database.engine, 9)
    outcomes: list[Outcome] = [Processed(fk, make_boundary(), GARDEN) for fk in ids]
    outcomes[5] = bad(ids[5])
    written = writer.write(database.engine, run, outcomes, "worker")
    assert [written[fk].state for fk in ids] == ["done"] * 5 + ["failed"] + ["done"] * 3
    with database.engine.connect() as conn:
        prop = read_property(conn, ids[5])
        assert (prop.state, prop.reason, prop.lease_owner) == ("failed", "refused", None)
        assert prop.boundary_fk is None
        assert read_detections(conn, ids[5]) == []
        assert re.search(said, prop.detail), prop.detail
        assert all(len(read_detections(conn, fk)) == 2 for fk in ids if fk != ids[5])


def test_several_refused_lots_fail_and_the_others_are_written(database: Database) -> None:
    run, ids = _ready(database.engine, 20)
    bad, _ = BAD["score"]
    refused = {ids[i] for i in (0, 7, 8, 19)}
    outcomes = [bad(fk) if fk in refused else Processed(fk, make_boundary(), GARDEN) for fk in ids]
    written = writer.write(database.engine, run, outcomes, "worker")
    assert {fk for fk in ids if written[fk].reason == "refused"} == refused
    assert _rows(database.engine)["detection"] == 2 * 16


# Lost leases


def test_lost_lease_is_not_written(database: Database) -> None:
    run, ids = _ready(database.engine, 4)
    with database.engine.begin() as conn:
        lease_to(conn, ids[1:2], "rival")
        conn.execute(
            text("UPDATE lotline.property SET state = 'pending', lease_owner = NULL, "
                 "leased_until = NULL WHERE id = :id"),
            {"id": ids[2]},
        )  # fmt: skip
    outcomes: list[Outcome] = [Processed(fk, make_boundary(), GARDEN) for fk in [*ids[:3], 10**9]]
    outcomes.append(NotProcessed(ids[3], "deferred", "unavailable", "HTTP 503"))
    written = writer.write(database.engine, run, outcomes, "worker")
    assert {fk: w.state for fk, w in written.items()} == {ids[0]: "done", ids[3]: "deferred"}
    assert _states(database.engine, ids) == ["done", "leased", "pending", "deferred"]
    assert _rows(database.engine)["boundary"] == 1
    # Written properties are no longer leased: a late writer of another run changes nothing.
    with database.engine.begin() as conn:
        late = start_run(conn)
    assert writer.write(database.engine, late, outcomes, "worker") == {}


# Idempotency


def _written_once(engine: Engine, outcomes: Callable[[Sequence[int]], list[Outcome]]) -> RunInfo:
    """A run that leased its properties and wrote their outcomes."""
    with engine.begin() as conn:
        ids = load_properties(conn, 4)
        run = start_run(conn)
        LeaseScan(COUNTY, "worker", run.id, 900).lease(conn, 4)
    writer.write(engine, run, outcomes(ids), "worker")
    return run


def _garden_and_others(ids: Sequence[int]) -> list[Outcome]:
    dark = LotResult("no_imagery", reason="missing", detail="no file covers it")
    return [
        Processed(ids[0], make_boundary(), GARDEN),
        Processed(ids[1], make_boundary(), dark),
        NotProcessed(ids[2], "deferred", "unavailable", "HTTP 503"),
        NotProcessed(ids[3], "failed", "not_found", "no lot"),
    ]


def _ids(engine: Engine) -> list[int]:
    with engine.connect() as conn:
        return list(conn.execute(text("SELECT id FROM lotline.property ORDER BY id")).scalars())


def test_repeated_write_of_a_run_is_idempotent(database: Database) -> None:
    """A worker died after its commit, and another one repeats its work."""
    run = _written_once(database.engine, _garden_and_others)
    ids, before = _ids(database.engine), _rows(database.engine)
    again = writer.write(database.engine, run, _garden_and_others(ids), "another worker")
    assert {fk: (w.state, w.reason, w.detail) for fk, w in again.items()} == {
        ids[0]: ("done", "measured", ""),
        ids[1]: ("no_imagery", "missing", "no file covers it"),
        ids[2]: ("deferred", "unavailable", "HTTP 503"),
        ids[3]: ("failed", "not_found", "no lot"),
    }
    assert (again[ids[0]].new, again[ids[0]].unchanged) == (0, 2)
    assert _rows(database.engine) == before
    with database.engine.connect() as conn:
        assert read_property(conn, ids[0]).attempts == 1


def test_outcome_without_a_result_does_not_replace_a_written_result(database: Database) -> None:
    run = _written_once(database.engine, _garden_and_others)
    ids = _ids(database.engine)
    failed: list[Outcome] = [NotProcessed(fk, "failed", "segmenter", "lost a worker") for fk in ids]
    again = writer.write(database.engine, run, failed, "worker")
    kept = ["done", "no_imagery", "deferred", "failed"]
    assert [again[fk].state for fk in ids] == kept == _states(database.engine, ids)
    assert again[ids[3]].reason == "not_found"
    # A result does replace an outcome without one.
    better = writer.write(
        database.engine, run, [Processed(ids[2], make_boundary(), GARDEN)], "worker"
    )
    assert (better[ids[2]].state, better[ids[2]].new) == ("done", 2)


@pytest.mark.parametrize("then", ["asked for again", "taken", "finished"])
def test_property_leased_by_another_run_is_not_written(database: Database, then: str) -> None:
    run = _written_once(database.engine, _garden_and_others)
    ids = _ids(database.engine)
    with database.engine.begin() as conn:
        set_state(conn, ids, "pending")
        if then != "asked for again":
            later = start_run(conn)
            LeaseScan(COUNTY, "rival", later.id, 900).lease(conn, 4)
    if then == "finished":
        found_nothing: list[Outcome] = [Processed(fk, make_boundary(), make_result()) for fk in ids]
        writer.write(database.engine, later, found_nothing, "rival")
    before = _states(database.engine, ids)
    assert writer.write(database.engine, run, _garden_and_others(ids), "worker") == {}
    assert _states(database.engine, ids) == before


def test_lost_commit_reply_is_retried(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the chunk was committed is unknown, so it is written again."""
    with database.engine.begin() as conn:
        load_properties(conn, 3)
        run = start_run(conn)
        leased = LeaseScan(COUNTY, "worker", run.id, 900).lease(conn, 3)
    lost: list[int] = []

    def lose(conn: Connection) -> None:
        if not lost:
            lost.append(1)
            driver = conn.connection.driver_connection
            assert driver is not None
            driver.commit()
            driver.close()
            raise OperationalError("COMMIT", None, psycopg.OperationalError("connection lost"))

    event.listen(database.engine, "commit", lose)
    chunk = [Processed(lease.id, make_boundary(), GARDEN) for lease in leased]
    written = writer.write(database.engine, run, chunk, "worker")
    assert lost
    assert [(w.state, w.reason) for w in written.values()] == [("done", "measured")] * 3
    assert _rows(database.engine) == {
        "boundary": 3, "chip": 1, "detection": 6, "measurement": 6, "measurement_detection": 6,
    }  # fmt: skip


# Rollbacks


def _raise_once(monkeypatch: pytest.MonkeyPatch, sqlstate: str, times: int = 1) -> list[Connection]:
    """The server raises this after a chunk was merged, before its commit."""
    calls: list[Connection] = []
    merge = merge_module.write_chunk

    def merge_and_fail(conn: Connection, *rest: Any) -> Any:
        calls.append(conn)
        written = merge(conn, *rest)
        if len(calls) <= times:
            conn.execute(text(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))
        return written

    monkeypatch.setattr(writer, "write_chunk", merge_and_fail)
    return calls


@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "57P01", "08006", "53300", "55P03"])
def test_transient_error_is_retried(
    database: Database, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    run, ids = _ready(database.engine, 3)
    calls = _raise_once(monkeypatch, sqlstate, times=2)
    written = writer.write(
        database.engine, run, [Processed(fk, make_boundary(), GARDEN) for fk in ids], "worker"
    )
    assert len(calls) == 3
    assert [written[fk].new for fk in ids] == [2, 2, 2]
    assert _rows(database.engine)["detection"] == 6


@pytest.mark.parametrize(
    ("sqlstate", "error", "said"),
    [
        ("53100", StoreError, "the database's disk is full .*free space there"),
        ("57014", DBAPIError, "RAISE"),
        ("42501", DBAPIError, "RAISE"),
    ],
)
def test_permanent_error_is_not_retried(
    database: Database,
    other: Engine,
    monkeypatch: pytest.MonkeyPatch,
    sqlstate: str,
    error: type[Exception],
    said: str,
) -> None:
    run, ids = _ready(database.engine, 2)
    calls = _raise_once(monkeypatch, sqlstate)
    chunk = [Processed(fk, make_boundary(), GARDEN) for fk in ids]
    with pytest.raises(error, match=said):
        writer.write(other, run, chunk, "worker")
    assert len(calls) == 1
    assert _rows(database.engine) == NOTHING
    assert _states(database.engine, ids) == ["leased"] * 2, "the lots are not at fault"


def test_full_disk_during_copy_is_reported(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ids = _ready(database.engine, 6)

    def fill() -> None:
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    _in_mid_copy(monkeypatch, fill)
    with pytest.raises(StoreError, match=r"disk is full .could not extend.*SHOW data_directory"):
        writer.write(
            database.engine, run, [Processed(fk, make_boundary(), GARDEN) for fk in ids], "worker"
        )
    assert _rows(database.engine) == NOTHING
    assert _states(database.engine, ids) == ["leased"] * 6


def test_retry_stops_after_its_limit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ids = _ready(database.engine, 1)
    calls = _raise_once(monkeypatch, "40P01", times=99)
    monkeypatch.setattr(writer._transaction.retry, "stop", tenacity.stop_after_attempt(3))
    with pytest.raises(OperationalError):
        writer.write(database.engine, run, [Processed(ids[0], make_boundary(), GARDEN)], "worker")
    assert len(calls) == 3
    assert _rows(database.engine) == NOTHING


def test_concurrent_writers_of_the_same_chips_do_not_deadlock(database: Database) -> None:
    """The chunks have the same chips in a different order."""
    run, ids = _ready(database.engine, 40)
    chips = [replace(CHIP, sha256=f"{i:064x}") for i in range(20)]

    def chunk(fks: Sequence[int], turn: int) -> list[Outcome]:
        return [
            Processed(
                fk, make_boundary(), make_result(make_detection(LAWN), chip=chips[(turn * i) % 20])
            )
            for i, fk in enumerate(fks)
        ]

    chunks = [chunk(ids[:20], 1), chunk(ids[20:], -1)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: writer.write(database.engine, run, one, "worker"), chunks))
    assert set(_states(database.engine, ids)) == {"done"}
    assert _rows(database.engine) == {
        "boundary": 40, "chip": 20, "detection": 40, "measurement": 80, "measurement_detection": 40,
    }  # fmt: skip


# Killed backends and servers


def _terminate(engine: Engine, doing: str) -> None:
    """Terminate the one backend that runs this query."""
    with engine.connect() as conn:
        ended = conn.execute(
            text("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                 "WHERE datname = current_database() AND query LIKE :doing "
                 "AND pid <> pg_backend_pid()"),
            {"doing": doing},
        ).scalars()  # fmt: skip
        assert list(ended) == [True]


@pytest.fixture
def other(database: Database) -> Iterator[Engine]:
    """Other connections to the same database."""
    with open_database(database.url, Path("unused")) as opened:
        yield opened.engine


def _in_mid_copy(monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]) -> list[int]:
    """Cause a fault once during the copy; returns the indices of the copied findings."""
    indices: list[int] = []
    row = merge_module._finding_row

    def row_with_fault(index: int, finding: Any) -> tuple[object, ...]:
        if index == 5 and index not in indices:
            fault()
        indices.append(index)
        return row(index, finding)

    monkeypatch.setattr(merge_module, "_finding_row", row_with_fault)
    return indices


def test_backend_killed_during_copy_rolls_back_and_is_retried(
    database: Database, other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ids = _ready(database.engine, 6)
    seen: list[dict[str, int]] = []

    def die() -> None:
        _terminate(other, "COPY staged_finding%")
        seen.append(_rows(other))

    places = _in_mid_copy(monkeypatch, die)
    written = writer.write(
        database.engine, run, [Processed(fk, make_boundary(), GARDEN) for fk in ids], "worker"
    )
    assert seen == [NOTHING]
    assert places[-12:] == list(range(12))
    assert len(places) > 12
    assert [written[fk].new for fk in ids] == [2] * 6
    assert _rows(other) == {
        "boundary": 6, "chip": 1, "detection": 12, "measurement": 12, "measurement_detection": 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO lotline.boundary",
        "INSERT INTO lotline.chip",
        "INSERT INTO lotline.detection",
        "WITH written AS",
        "UPDATE lotline.property p SET state = lot.state",
    ],
)
def test_backend_killed_between_statements_rolls_back_and_is_retried(
    database: Database, other: Engine, statement: str
) -> None:
    run, ids = _ready(database.engine, 3)
    seen: list[dict[str, int]] = []

    def die(conn: Any, cursor: Any, query: str, *_: Any) -> None:
        if query.strip().startswith(statement) and not seen:
            with other.begin() as apart:
                pid = conn.connection.driver_connection.info.backend_pid
                apart.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
            seen.append(_rows(other))

    event.listen(database.engine, "after_cursor_execute", die)
    written = writer.write(
        database.engine, run, [Processed(fk, make_boundary(), GARDEN) for fk in ids], "worker"
    )
    assert seen == [NOTHING]
    assert [written[fk].new for fk in ids] == [2, 2, 2]
    assert _rows(other)["detection"] == 6


@pytest.mark.parametrize("how", ["stopped", "crashed", "killed"])
def test_server_restart_during_copy_is_retried(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with open_database(None, open_folder) as opened:
        server = opened.server
        assert server is not None
        run, ids = _ready(opened.engine, 6)

        def restart() -> None:
            if how == "killed":  # and not restarted
                _end(open_folder, signal.SIGKILL)
                return
            if how == "crashed":  # the next start has to recover from the log
                _end(open_folder, signal.SIGQUIT)
            server.stop()
            server.start()

        places = _in_mid_copy(monkeypatch, restart)
        written = writer.write(
            opened.engine, run, [Processed(fk, make_boundary(), GARDEN) for fk in ids], "worker"
        )
        assert len(places) > 12
        assert [written[fk].new for fk in ids] == [2] * 6
        assert _rows(opened.engine)["detection"] == 12
        server.stop()


def _end(folder: Path, how: signal.Signals) -> None:
    [pid_file] = folder.rglob("postmaster.pid")
    process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
    process.send_signal(how)
    process.wait(60)


# Number of statements and rows read


def _statements(engine: Engine, run: RunInfo, chunk: Sequence[Outcome]) -> list[str]:
    asked: list[str] = []

    def note(_: Any, __: Any, query: str, *___: Any) -> None:
        asked.append(" ".join(query.split())[:60])

    event.listen(engine, "before_cursor_execute", note)
    writer.write(engine, run, chunk, "worker")
    event.remove(engine, "before_cursor_execute", note)
    return asked


def _apart(property_fk: int, *found: Detection, width: float = 10) -> Processed:
    """A result on the property's own ground, 20 steps from the next: verdicts are of the ground."""
    east = property_fk * 20.0
    outline = shifted(make_boundary(width).geometry, east)
    boundary = replace(make_boundary(width), geometry=outline)
    moved = [replace(each, geometry=shifted(each.geometry, east)) for each in found]
    return Processed(property_fk, boundary, make_result(*moved))


def test_number_of_statements_is_independent_of_the_chunk_size(database: Database) -> None:
    run, ids = _ready(database.engine, 51)
    asked = []
    for lots in ([ids[0]], ids[1:]):
        first = [_apart(fk, *GARDEN.detections) for fk in lots]
        writer.write(database.engine, run, first, "worker")
        with database.engine.begin() as conn:
            for fk in lots:
                lawn, tree = read_detections(conn, fk)
                verdicts.reject(conn, lawn.id, "ann")
                verdicts.edit(conn, tree.id, "ann", shifted(square(1, 6, 2, 2), fk * 20.0))
            lease_to(conn, lots)
        moved = (
            make_detection(shifted(LAWN, 0.2)),
            make_detection(TREE, "tree"),
            make_detection(square(6, 3, 3, 6)),  # a part of it is on the rejected lawn
        )
        again: list[Outcome] = [_apart(fk, *moved) for fk in lots]
        asked.append(_statements(database.engine, run, again))
        with database.engine.connect() as conn:
            assert [row.state for row in read_detections(conn, lots[-1])] == [
                "rejected", "accepted", "proposed",
            ]  # fmt: skip
            assert read_areas_m2(conn, lots[-1])["lawn"] > 0
    assert asked[0] == asked[1]
    assert len(asked[0]) < 40


def _rows_read(conn: Connection) -> int:
    """Number of rows of our tables that this transaction has read so far."""
    return conn.execute(
        text("SELECT CAST(sum(seq_tup_read + idx_tup_fetch) AS int) FROM pg_stat_xact_user_tables "
             "WHERE schemaname = 'lotline'")
    ).scalar_one()  # fmt: skip


def test_rows_read_are_independent_of_the_county_size(database: Database) -> None:
    """Without statistics: a bad plan would read an entire county."""
    run, ids = _ready(database.engine, 1010)
    read = []
    for lots in (ids[:5], ids[-5:]):
        with database.engine.begin() as conn:
            merge_module.write_chunk(
                conn, run, [_apart(fk, *GARDEN.detections) for fk in lots], "worker"
            )
            for fk in lots:
                drawn = shifted(square(1, 1, 2, 4), fk * 20.0)
                verdicts.edit(conn, read_detections(conn, fk)[0].id, "ann", drawn)
            lease_to(conn, lots)
        with database.engine.connect() as conn:
            # Otherwise reads of earlier transactions of this connection may still be counted.
            conn.execute(text("SELECT pg_stat_force_next_flush()"))
            conn.commit()
            moved = make_detection(shifted(LAWN, 0.2)), make_detection(shifted(TREE, 0.2), "tree")
            chunk = [_apart(fk, *moved, width=9) for fk in lots]
            written = merge_module.write_chunk(conn, run, chunk, "worker")
            assert [written[fk].superseded for fk in lots] == [1] * 5
            read.append(_rows_read(conn))
            conn.commit()
        others = [_apart(fk, *GARDEN.detections) for fk in ids[5:-5]]
        writer.write(database.engine, run, others, "worker")
    assert read[1] < 1.5 * read[0], read


def test_chunk_without_results_is_two_statements(database: Database) -> None:
    run, ids = _ready(database.engine, 9)
    chunk = [NotProcessed(fk, "failed", "not_found", f"no lot {fk}") for fk in ids]
    assert len(_statements(database.engine, run, chunk)) == 2
    with database.engine.connect() as conn:
        assert read_property(conn, ids[4]).detail == f"no lot {ids[4]}"


def test_chunk_can_mix_no_imagery_and_detections(database: Database) -> None:
    run, ids = _ready(database.engine, 2)
    dark = LotResult("no_imagery", reason="missing", detail="no file covers it")
    chunk = [Processed(ids[0], make_boundary(), dark), Processed(ids[1], make_boundary(), GARDEN)]
    written = writer.write(database.engine, run, chunk, "worker")
    assert [(w.state, w.reason) for w in (written[ids[0]], written[ids[1]])] == [
        ("no_imagery", "missing"), ("done", "measured"),
    ]  # fmt: skip
    with database.engine.connect() as conn:
        assert read_areas_m2(conn, ids[0]) == {}

"""How a batch ends when a stage fails, hangs or is stopped: one error, no lease, no thread left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from batches import rows_of
from largecounty import KEY, TWIN, LargeCounty, make
from segmenters import FreeSegmenter
from sqlalchemy.exc import OperationalError

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop, runner
from pipeline.batch.engines import local, pool_tasks
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.queue.states import release

_STAGES = {"survey", "read", "ready", "segment", "measure", "measured", "write"}


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("county"), 200)


@pytest.fixture(autouse=True)
def few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 60)


@pytest.fixture
def run(county: LargeCounty, database: Database, tmp_path: Path) -> Callable[..., BatchReport]:
    def run(segmenter: FreeSegmenter | None = None, key: str = KEY, **more: object) -> BatchReport:
        order = BatchRequest(key, county.registry, county.properties, segmenter="free", **more)  # type: ignore[arg-type]  # any part of an order
        settings = Settings(database_url=database.url, home=tmp_path)
        return run_batch(order, settings, build=lambda *_: segmenter or FreeSegmenter())

    return run


def _ended(database: Database) -> list[str]:
    """The states of the runs; nothing is leased, and no stage is at work."""
    assert not _STAGES & {thread.name for thread in threading.enumerate()}
    with database.engine.connect() as conn:
        leased = conn.exec_driver_sql("SELECT 1 FROM lotline.property WHERE state = 'leased'")
        assert leased.all() == []
        runs = conn.exec_driver_sql("SELECT state FROM lotline.run ORDER BY id")
        return [state for (state,) in runs]


@contextmanager
def _slow(name: str, monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[threading.Event]:
    """A stage of the local engine that hangs after so many calls, until the test is over."""
    where = local if hasattr(local, name) else pool_tasks
    stage, calls = getattr(where, name), 0
    hangs, over = threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            hangs.set()
            over.wait(60)
        return stage(*given)

    monkeypatch.setattr(where, name, slowly)
    try:
        yield hangs
    finally:
        over.set()


@pytest.mark.parametrize("stage", ["survey", "read", "segment", "measure", "write_outcomes"])
def test_the_error_of_any_stage_ends_the_run_once(
    stage: str,
    run: Callable[..., BatchReport],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = local if hasattr(local, stage) else pool_tasks
    right, calls = getattr(where, stage), 0
    monkeypatch.setattr(local, "MAX_LOTS_PER_WRITE", 50)

    def fails_later(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the ground opened")
        return right(*given)

    monkeypatch.setattr(where, stage, fails_later)
    with pytest.raises(RuntimeError, match="the ground opened"):
        run()
    assert _ended(database) == ["failed"]
    run()
    assert _ended(database) == ["failed", "finished"]


@pytest.mark.parametrize("stage", ["survey", "read"])
def test_ctrl_c_does_not_wait_for_a_slow_server(
    stage: str,
    run: Callable[..., BatchReport],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _slow(stage, monkeypatch, 2) as hangs:

        def interrupt() -> None:
            hangs.wait(30)
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        report = run()
        assert report.interrupted
    for thread in threading.enumerate():
        if thread.name in _STAGES:
            thread.join(20)
    # What was surveyed too late was not followed by one more lease.
    assert _ended(database) == ["interrupted"]


def test_nothing_is_leased_once_a_run_has_ended(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(local, "write_outcomes", gone)
    with _slow("survey", monkeypatch, 1) as hangs:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            run()
        assert hangs.is_set()
    for thread in threading.enumerate():
        if thread.name in _STAGES:
            thread.join(20)
    assert _ended(database) == ["failed"]


_RIVAL = """
WITH rival AS (
    INSERT INTO lotline.run (county, state, settings, segmenter)
    SELECT county, 'running', settings, segmenter FROM lotline.run RETURNING id
)
UPDATE lotline.property p SET state = 'leased', lease_owner = 'rival', attempts = 1,
    leased_until = now() + interval '1 hour', run_fk = rival.id
FROM rival WHERE p.state = 'pending'
"""


def test_what_a_rival_held_that_is_killed_meanwhile_is_done(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, held = local.survey, 0

    def survey_once_a_rival_was_killed(*given: Any) -> Any:
        nonlocal held
        if not held:
            with database.engine.begin() as conn:
                held = conn.exec_driver_sql(_RIVAL).rowcount
        return survey(*given)

    monkeypatch.setattr(local, "survey", survey_once_a_rival_was_killed)
    report = run()
    assert held > 0
    assert set(report.status.by_state) == set(report.processed)
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) > 200
    with database.engine.connect() as conn:
        states = conn.exec_driver_sql("SELECT state FROM lotline.run ORDER BY id")
        assert [state for (state,) in states] == ["finished", "killed"]


_LOSE_LOCKS = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def test_a_run_whose_lock_is_lost_does_not_take_itself_for_dead(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, surveyed = local.survey, 0

    def survey_without_a_lock(*given: Any) -> Any:
        nonlocal surveyed
        surveyed += 1
        if surveyed == 4:  # the next lease finds nothing
            with database.engine.begin() as conn:
                assert conn.exec_driver_sql(_LOSE_LOCKS).all() == [(True,)]
        return survey(*given)

    monkeypatch.setattr(local, "survey", survey_without_a_lock)
    report = run()
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) > 200
    assert _ended(database) == ["finished"]


def test_what_a_rival_gives_back_meanwhile_is_done_too(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than was counted when the run began: a rival had most of the county then."""
    run(limit=1)
    rival = "UPDATE lotline.property SET state = 'leased', lease_owner = 'rival', attempts = 1, "
    with database.engine.begin() as conn:
        conn.exec_driver_sql(
            rival + "leased_until = now() + interval '1 hour' "
            "WHERE id > (SELECT min(id) + 20 FROM lotline.property) AND state = 'pending'"
        )
    survey = local.survey

    def survey_once_the_rival_stopped(*given: Any) -> Any:
        with database.engine.begin() as conn:
            release(conn, "rival")
        return survey(*given)

    monkeypatch.setattr(local, "survey", survey_once_the_rival_stopped)
    report = run()
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) - 1 > 200


def test_the_first_error_is_told_where_the_database_is_gone_too(
    run: Callable[..., BatchReport],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def opened(*_: object) -> None:
        raise RuntimeError("the ground opened")

    def refused(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("the server is away"))

    monkeypatch.setattr(local, "survey", opened)
    monkeypatch.setattr(runner.lifecycle, "finish", refused)
    with pytest.raises(RuntimeError, match="the ground opened"):
        run()
    assert "the server is away" in caplog.text


class _Odd(FreeSegmenter):
    """Answers one chip with something that is no masks, however it is asked."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer
        self.place: tuple[float, ...] | None = None

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        self.place = self.place or chips[0].bounds
        right = super().segment(chips, labels)
        odd: Any = self.answer
        return [
            odd if chip.bounds == self.place else masks
            for chip, masks in zip(chips, right, strict=True)
        ]


@pytest.mark.parametrize("answer", [None, 7, [None], ["lawn"]], ids=str)
def test_what_is_no_mask_fails_the_lots_of_its_chip_alone(
    answer: object, run: Callable[..., BatchReport], database: Database
) -> None:
    report = run(_Odd(answer))
    assert report.processed["failed", "segmenter"] > 0
    assert report.processed["done", "measured"] > 0
    assert _ended(database) == ["finished"]


def test_a_segmenter_that_wants_to_end_the_process_does_not(
    run: Callable[..., BatchReport], database: Database
) -> None:
    class Leaves(FreeSegmenter):
        def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
            raise SystemExit(len(chips) - len(labels))

    with pytest.raises(RuntimeError, match="SystemExit"):
        run(Leaves())
    assert _ended(database) == ["failed"]


def test_one_chip_at_once_in_another_thread_gives_the_same_rows(
    run: Callable[..., BatchReport], database: Database
) -> None:
    class One(FreeSegmenter):
        chips_per_batch = 1

    expected = run().processed
    reports: list[BatchReport] = []
    service = threading.Thread(target=lambda: reports.append(run(One(), TWIN)))
    service.start()
    service.join(60)
    assert reports[0].processed == expected
    assert rows_of(database.url, TWIN) == rows_of(database.url, KEY)


def test_a_limit_below_a_chunk_is_kept_to(run: Callable[..., BatchReport]) -> None:
    assert run(limit=7).done == 7
    assert run(limit=70).done == 70


def test_a_segmenter_that_cannot_be_sent_stays_where_it_is(
    run: Callable[..., BatchReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes measure, and need none."""

    class OnADevice(FreeSegmenter):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()  # as a network's handles, it cannot be pickled

    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 1)
    monkeypatch.setattr(local, "_cores", lambda: 2)
    report = run(OnADevice(), limit=60)
    assert report.processed["done", "measured"] > 0

"""How a batch ends when a stage fails, hangs or is stopped: one error, no lease or thread left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from batches import county_rows
from largecounty import KEY, TWIN, LargeCounty, make_county
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
    return make_county(tmp_path_factory.mktemp("county"), 200)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 60)


@pytest.fixture
def run(county: LargeCounty, database: Database, tmp_path: Path) -> Callable[..., BatchReport]:
    def run(segmenter: FreeSegmenter | None = None, key: str = KEY, **more: object) -> BatchReport:
        request = BatchRequest(key, county.registry, county.properties, segmenter="free", **more)  # type: ignore[arg-type]  # any field
        settings = Settings(database_url=database.url, home=tmp_path)
        return run_batch(request, settings, build=lambda *_: segmenter or FreeSegmenter())

    return run


def _run_states(database: Database) -> list[str]:
    """The states of the runs, once no lease and no thread is left."""
    assert not _STAGES & {thread.name for thread in threading.enumerate()}
    with database.engine.connect() as conn:
        leased = conn.exec_driver_sql("SELECT 1 FROM lotline.property WHERE state = 'leased'")
        assert leased.all() == []
        runs = conn.exec_driver_sql("SELECT state FROM lotline.run ORDER BY id")
        return [state for (state,) in runs]


@contextmanager
def _hanging_stage(
    name: str, monkeypatch: pytest.MonkeyPatch, after: int
) -> Iterator[threading.Event]:
    """Let a stage of the local engine hang after `after` calls, until the block ends."""
    module = local if hasattr(local, name) else pool_tasks
    stage, calls = getattr(module, name), 0
    hangs, released = threading.Event(), threading.Event()

    def hang(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            hangs.set()
            released.wait(60)
        return stage(*args)

    monkeypatch.setattr(module, name, hang)
    try:
        yield hangs
    finally:
        released.set()


@pytest.mark.parametrize("stage", ["survey", "read", "segment", "measure", "write_outcomes"])
def test_an_error_in_any_stage_ends_the_run_once(
    stage: str,
    run: Callable[..., BatchReport],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = local if hasattr(local, stage) else pool_tasks
    function, calls = getattr(module, stage), 0
    monkeypatch.setattr(local, "MAX_LOTS_PER_WRITE", 50)

    def fail_second_call(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("stage failed")
        return function(*args)

    monkeypatch.setattr(module, stage, fail_second_call)
    with pytest.raises(RuntimeError, match="stage failed"):
        run()
    assert _run_states(database) == ["failed"]
    run()
    assert _run_states(database) == ["failed", "finished"]


@pytest.mark.parametrize("stage", ["survey", "read"])
def test_ctrl_c_does_not_wait_for_a_slow_server(
    stage: str,
    run: Callable[..., BatchReport],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _hanging_stage(stage, monkeypatch, 2) as hangs:

        def interrupt() -> None:
            hangs.wait(30)
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        report = run()
        assert report.interrupted
    for thread in threading.enumerate():
        if thread.name in _STAGES:
            thread.join(20)
    # A survey that ended after the stop was not followed by another lease.
    assert _run_states(database) == ["interrupted"]


def test_nothing_is_leased_after_a_run_has_ended(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("disk failed")

    monkeypatch.setattr(local, "write_outcomes", fail)
    with _hanging_stage("survey", monkeypatch, 1) as hangs:
        with pytest.raises(RuntimeError, match="disk failed"):
            run()
        assert hangs.is_set()
    for thread in threading.enumerate():
        if thread.name in _STAGES:
            thread.join(20)
    assert _run_states(database) == ["failed"]


_RIVAL = """
WITH rival AS (
    INSERT INTO lotline.run (county, state, settings, segmenter)
    SELECT county, 'running', settings, segmenter FROM lotline.run RETURNING id
)
UPDATE lotline.property p SET state = 'leased', lease_owner = 'rival', attempts = 1,
    leased_until = now() + interval '1 hour', run_fk = rival.id
FROM rival WHERE p.state = 'pending'
"""


def test_leases_of_a_rival_killed_during_the_run_are_reclaimed(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, leased_by_rival = local.survey, 0

    def survey_after_a_rival_was_killed(*args: Any) -> Any:
        nonlocal leased_by_rival
        if not leased_by_rival:
            with database.engine.begin() as conn:
                leased_by_rival = conn.exec_driver_sql(_RIVAL).rowcount
        return survey(*args)

    monkeypatch.setattr(local, "survey", survey_after_a_rival_was_killed)
    report = run()
    assert leased_by_rival > 0
    assert set(report.status.by_state) == set(report.processed)
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) > 200
    with database.engine.connect() as conn:
        states = conn.exec_driver_sql("SELECT state FROM lotline.run ORDER BY id")
        assert [state for (state,) in states] == ["finished", "killed"]


_TERMINATE_LOCK_HOLDERS = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def test_a_run_that_lost_its_lock_does_not_reclaim_its_own_leases(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, surveyed = local.survey, 0

    def survey_without_a_lock(*args: Any) -> Any:
        nonlocal surveyed
        surveyed += 1
        if surveyed == 4:  # the last chunk
            with database.engine.begin() as conn:
                assert conn.exec_driver_sql(_TERMINATE_LOCK_HOLDERS).all() == [(True,)]
        return survey(*args)

    monkeypatch.setattr(local, "survey", survey_without_a_lock)
    report = run()
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) > 200
    assert _run_states(database) == ["finished"]


def test_properties_that_a_rival_releases_are_processed_too(
    run: Callable[..., BatchReport], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the run counted at its start, when a rival had leased most of the county."""
    run(limit=1)
    rival = "UPDATE lotline.property SET state = 'leased', lease_owner = 'rival', attempts = 1, "
    with database.engine.begin() as conn:
        conn.exec_driver_sql(
            rival + "leased_until = now() + interval '1 hour' "
            "WHERE id > (SELECT min(id) + 20 FROM lotline.property) AND state = 'pending'"
        )
    survey = local.survey

    def survey_after_the_rival_released(*args: Any) -> Any:
        with database.engine.begin() as conn:
            release(conn, "rival")
        return survey(*args)

    monkeypatch.setattr(local, "survey", survey_after_the_rival_released)
    report = run()
    assert sum(report.processed.values()) == sum(report.status.by_state.values()) - 1 > 200


def test_the_first_error_is_raised_when_the_database_fails_too(
    run: Callable[..., BatchReport],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stage failed")

    def fail_in_database(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("server is down"))

    monkeypatch.setattr(local, "survey", fail)
    monkeypatch.setattr(runner.lifecycle, "finish", fail_in_database)
    with pytest.raises(RuntimeError, match="stage failed"):
        run()
    assert "server is down" in caplog.text


class _InvalidMasks(FreeSegmenter):
    """Returns something that is not a list of masks for one chip, each time."""

    def __init__(self, invalid: object) -> None:
        super().__init__()
        self.invalid = invalid
        self.bounds: tuple[float, ...] | None = None

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        self.bounds = self.bounds or chips[0].bounds
        valid = super().segment(chips, labels)
        invalid: Any = self.invalid
        return [
            invalid if chip.bounds == self.bounds else masks
            for chip, masks in zip(chips, valid, strict=True)
        ]


@pytest.mark.parametrize("invalid", [None, 7, [None], ["lawn"]], ids=str)
def test_an_invalid_mask_fails_only_the_lots_of_its_chip(
    invalid: object, run: Callable[..., BatchReport], database: Database
) -> None:
    report = run(_InvalidMasks(invalid))
    assert report.processed["failed", "segmenter"] > 0
    assert report.processed["done", "measured"] > 0
    assert _run_states(database) == ["finished"]


def test_a_segmenter_that_exits_fails_the_run(
    run: Callable[..., BatchReport], database: Database
) -> None:
    class Exits(FreeSegmenter):
        def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
            raise SystemExit(len(chips) - len(labels))

    with pytest.raises(RuntimeError, match="SystemExit"):
        run(Exits())
    assert _run_states(database) == ["failed"]


def test_one_chip_per_batch_in_another_thread_gives_the_same_rows(
    run: Callable[..., BatchReport], database: Database
) -> None:
    class OneChipPerBatch(FreeSegmenter):
        chips_per_batch = 1

    expected = run().processed
    reports: list[BatchReport] = []
    thread = threading.Thread(target=lambda: reports.append(run(OneChipPerBatch(), TWIN)))
    thread.start()
    thread.join(60)
    assert reports[0].processed == expected
    assert county_rows(database.url, TWIN) == county_rows(database.url, KEY)


def test_limit_below_the_chunk_size(run: Callable[..., BatchReport]) -> None:
    assert run(limit=7).done == 7
    assert run(limit=70).done == 70


def test_a_segmenter_that_cannot_be_pickled_stays_in_its_process(
    run: Callable[..., BatchReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker processes only measure."""

    class NotPicklable(FreeSegmenter):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()  # not picklable, as a network's handles

    monkeypatch.setattr(local, "_MIN_LOTS_FOR_PROCESSES", 1)
    monkeypatch.setattr(local, "_cores", lambda: 2)
    report = run(NotPicklable(), limit=60)
    assert report.processed["done", "measured"] > 0

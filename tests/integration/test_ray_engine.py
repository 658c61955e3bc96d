"""The Ray engine on a cluster of three simulated machines, on loopback."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
import pytest
from batches import county_rows
from largecounty import KEY, LOT_M, ODD, TWIN, LargeCounty, crop_imagery, make_county
from raysegmenters import SmallChips, build_deadly, build_small, build_without_weights
from segmenters import FreeSegmenter

from detection.errors import SegmenterError
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.request import NoProgress, Progress
from pipeline.errors import ClusterError
from pipeline.settings import Settings
from pipeline.store.database import Database

# A Ray cluster uses each core, and waits for its processes only for a limited time.
pytestmark = pytest.mark.serial

# Ray reads it when it is imported: with it, Ray keeps 127.0.0.1 instead of the network's address.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="needs lotline[ray]")

TESTS = Path(__file__).resolve().parent.parent
LOTS = 300


@dataclass
class Machines:
    """A head and two machines, each with a GPU as far as Ray knows."""

    cluster: Any
    address: str

    def add(self) -> Any:
        """Add a machine with a GPU."""
        return self.cluster.add_node(**_node(num_cpus=1, num_gpus=1))


def _node(**more: object) -> dict[str, object]:
    return {
        "node_ip_address": "127.0.0.1",
        "object_store_memory": 200 * 2**20,
        "include_dashboard": False,
        **more,
    }


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as environment:
        # The workers import the tests' segmenters by name.
        environment.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A machine that is gone is missed after a few of these, and not after half a minute.
        environment.setenv("RAY_health_check_period_ms", "500")
        from ray.cluster_utils import Cluster

        cluster = Cluster(head_node_args=_node(num_cpus=2), initialize_head=True)
        machines = Machines(cluster, cluster.address)
        for _ in range(2):
            machines.add()
        yield machines
        cluster.shutdown()


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("county"), LOTS)


class Run:
    """Runs batches of one county, with the local engine and on the cluster."""

    def __init__(self, county: LargeCounty, database: Database, home: Path) -> None:
        self._county = county
        self._url = database.url
        self._home = home

    def local(self) -> BatchReport:
        return self._batch(KEY, build_small, NoProgress())

    def ray(
        self,
        address: str | None,
        build: Callable[..., FreeSegmenter] = build_small,
        progress: Progress | None = None,
    ) -> BatchReport:
        return self._batch(TWIN, build, progress or NoProgress(), "ray", address)

    def rows(self, key: str) -> object:
        return county_rows(self._url, key)

    def properties(self, key: str) -> list[tuple[Any, ...]]:
        return county_rows(self._url, key)["property"]

    def faults(self) -> dict[str, int]:
        """The recovered faults of the last run."""
        query = "SELECT account -> 'faults' FROM lotline.run ORDER BY id DESC LIMIT 1"
        with psycopg.connect(self._url) as conn:
            [faults] = conn.execute(query).fetchone() or ({},)
        return dict(faults)

    def _batch(
        self,
        key: str,
        build: Callable[..., FreeSegmenter],
        progress: Progress,
        engine: Literal["local", "ray"] = "local",
        address: str | None = None,
    ) -> BatchReport:
        request = BatchRequest(
            key,
            registry=self._county.registry,
            properties=self._county.properties,
            segmenter="free",
            engine=engine,
        )
        settings = Settings(database_url=self._url, home=self._home, ray_address=address)
        return run_batch(request, settings, progress, build)


@pytest.fixture
def run(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 150)
    return Run(county, database, tmp_path)


@pytest.fixture
def low_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is in flight, so that much is left when the first lots are written."""
    from pipeline.batch.engines.ray import scheduler, segmenter_pool, write_tasks

    for module, name, value in (
        (scheduler, "MAX_CALLS_PER_ACTOR", 1),
        (scheduler, "_MAX_UNMEASURED_CALLS", 0),
        (segmenter_pool, "MAX_CALLS_PER_ACTOR", 1),
        (write_tasks, "MAX_LOTS_PER_WRITE", 40),
        (write_tasks, "_MAX_UNWRITTEN_LOTS", 80),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def unimaged(
    tmp_path: Path, database: Database, low_capacity: None, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Batches of a county with imagery of one corner only, without the first chunk."""
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 30)
    county = make_county(tmp_path / "county", LOTS)
    crop_imagery(county, 0.4)
    return Run(county, database, tmp_path)


class CallAt(NoProgress):
    """Calls `action` once, when `lots` lots are written."""

    def __init__(self, lots: int, action: Callable[[], object]) -> None:
        self._left = lots
        self._action = action

    def advance(self, count: int) -> None:
        before, self._left = self._left, self._left - count
        if before > 0 >= self._left:
            self._action()


def _workers() -> list[psutil.Process]:
    """The cluster's workers: its machines are children of this process."""
    children = psutil.Process().children(recursive=True)
    return [process for process in children if process.name().startswith("ray::")]


def _read_log(log: Path) -> tuple[Counter[str], set[str]]:
    """How often each chip was segmented, and the processes that did it."""
    lines = [line.split(" ", 1) for line in log.read_text(encoding="ascii").splitlines()]
    return Counter(bounds for _, bounds in lines), {pid for pid, _ in lines}


def test_ray_writes_the_rows_of_the_local_engine_and_segments_each_chip_once(
    run: Run, machines: Machines, tmp_path: Path
) -> None:
    local = run.local()
    log = tmp_path / "segmented"
    ray = run.ray(machines.address, partial(build_small, log=log))
    assert ray.processed == local.processed
    assert run.rows(TWIN) == run.rows(KEY)

    chips, workers = _read_log(log)
    assert set(chips.values()) == {1}
    assert len(workers) == 2
    assert ray.timer is not None
    assert local.timer is not None
    assert ray.timer.calls["read"] == len(chips)
    assert ray.timer.calls["stitch"] == local.timer.calls["stitch"] > 0


def test_a_killed_worker_and_a_lost_machine_change_no_row(
    run: Run, machines: Machines, low_capacity: None, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run.local()
    machine = machines.add()

    def kill() -> None:
        by_name = {worker.name().split(".")[0]: worker for worker in _workers()}
        by_name["ray::SegmentWorker"].send_signal(signal.SIGKILL)
        by_name["ray::Surveyor"].send_signal(signal.SIGKILL)
        machines.cluster.remove_node(machine, allow_graceful=False)

    recovered = run.ray(machines.address, progress=CallAt(1, kill))
    assert recovered.processed == expected.processed
    assert run.rows(TWIN) == run.rows(KEY)
    assert "a segmenter worker was lost" in caplog.text
    faults = run.faults()
    assert faults["segmenter lost"] >= 1
    assert faults["surveyor lost"] == 1
    assert faults["chip batch lost"] >= 1


def test_outcomes_without_inference_are_bounded_too(
    unimaged: Run, machines: Machines, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.batch.engines.ray import workers, write_tasks

    write = workers.write_parts
    leased: list[int] = []

    def write_slowly(*args: Any) -> Any:
        time.sleep(0.5)
        return write(*args)

    class CountLeased(NoProgress):
        def advance(self, _count: int) -> None:
            query = "SELECT count(*) FROM lotline.property WHERE state = 'leased'"
            with database.engine.connect() as conn:
                leased.append(conn.exec_driver_sql(query).scalar_one())

    monkeypatch.setattr(write_tasks, "write_parts", write_slowly)
    report = unimaged.ray(machines.address, progress=CountLeased())
    assert sum(report.processed.values()) == LOTS + len(ODD)
    assert report.processed["no_imagery", "missing"] > 150
    measured = report.processed["done", "measured"]
    assert measured > 20
    # The lots that may await a write, those of two chunks in survey, and those with inference.
    assert 30 <= max(leased) <= 80 + 2 * 30 + measured


def test_ctrl_c_does_not_wait_for_a_slow_server(
    unimaged: Run, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes without inference of the chunks surveyed so far are written."""
    from pipeline.batch.engines.ray import engine, workers

    responded, run_has_ended = tmp_path / "responded", tmp_path / "run_has_ended"
    interrupted = tmp_path / "interrupted"

    def wait_for(file: Path, timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        while not file.exists() and time.monotonic() < give_up:
            time.sleep(0.1)

    class SlowSurveyor(workers.Surveyor):
        def survey(self, chunk: Any) -> Any:
            if chunk.number:
                # The first chunk's survey may take minutes to start; only then the wait counts.
                wait_for(interrupted, 420)
                wait_for(run_has_ended, 120)
                responded.touch()
            return super().survey(chunk)

    submit, is_sent = engine.RayEngine._submit_surveys, False

    def submit_and_interrupt(self: engine.RayEngine, chunks: Any) -> bool:
        nonlocal is_sent
        more_follow = submit(self, chunks)
        if not is_sent:
            is_sent = True
            first = next(iter(self._surveys))
            # After a lost machine, the surveyor's process may take long to start.
            ready, _ = engine.ray.wait([first], timeout=300)
            assert ready
            interrupted.touch()
            os.kill(os.getpid(), signal.SIGINT)
        return more_follow

    monkeypatch.setattr(engine, "Surveyor", SlowSurveyor)
    monkeypatch.setattr(engine.RayEngine, "_submit_surveys", submit_and_interrupt)
    report = unimaged.ray(machines.address)
    was_waited_for = responded.exists()
    run_has_ended.touch()
    assert report.interrupted
    assert not was_waited_for
    assert sum(report.processed.values()) > 0
    assert {row[1] for row in unimaged.properties(TWIN)} == {"no_imagery", "pending"}


def test_weights_that_no_worker_can_load_end_the_run_before_a_lot(
    run: Run, machines: Machines
) -> None:
    with pytest.raises(SegmenterError, match=r"/weights/sam3\.pt: no such file"):
        run.ray(machines.address, build_without_weights)
    assert {row[1] for row in run.properties(TWIN)} == {"pending"}


@pytest.mark.long
def test_a_segmenter_that_kills_every_worker_ends_the_run(run: Run, machines: Machines) -> None:
    with pytest.raises(ClusterError, match="every worker died while it loaded the segmenter"):
        run.ray(machines.address, build_deadly)
    assert {row[1] for row in run.properties(TWIN)} == {"pending"}


@pytest.mark.long
def test_a_chip_that_kills_its_workers_fails_only_its_lots(
    run: Run, machines: Machines, county: LargeCounty
) -> None:
    run.local()
    left, bottom, right, top = county.extent_m
    fatal_m = ((left + right) / 2, (bottom + top) / 2)
    report = run.ray(machines.address, partial(build_small, fatal_m=fatal_m))
    crashed = report.processed["failed", "crashed"]
    chip_m = SmallChips.chip_px * (SmallChips.gsd_m or 0)
    assert 0 < crashed <= (chip_m / LOT_M[0] + 3) * (chip_m / LOT_M[1] + 3)
    assert report.done == LOTS + 3
    found = {row[0]: row for row in run.properties(TWIN)}
    for row in run.properties(KEY):
        assert found[row[0]][2] == "crashed" or found[row[0]] == row


@pytest.mark.long
def test_after_ctrl_c_lots_in_flight_are_written_and_the_next_run_does_the_rest(
    run: Run, machines: Machines, low_capacity: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chips in flight are bounded by the capacity of the segmenters and writers."""
    from pipeline.batch.engines.ray import scheduler

    in_flight: list[int] = []
    submit = scheduler.Scheduler._submit

    def submit_and_record(self: scheduler.Scheduler, *args: Any) -> None:
        submit(self, *args)
        in_flight.append(self._chips_in_flight)

    monkeypatch.setattr(scheduler.Scheduler, "_submit", submit_and_record)

    expected = run.local()
    ctrl_c = partial(os.kill, os.getpid(), signal.SIGINT)
    stopped = run.ray(machines.address, progress=CallAt(1, ctrl_c))
    assert stopped.interrupted
    assert 0 < stopped.done < expected.done
    assert {row[1] for row in run.properties(TWIN)} >= {"done", "pending"}
    assert "leased" not in {row[1] for row in run.properties(TWIN)}
    run.ray(machines.address)
    assert run.rows(TWIN) == run.rows(KEY)
    capacity = 2 * SmallChips.chips_per_batch
    assert 0 < max(in_flight) < capacity + SmallChips.chips_per_batch

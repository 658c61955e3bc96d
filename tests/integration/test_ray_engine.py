"""The Ray engine on a cluster of three processes that stand for machines, on loopback."""

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
from batches import rows_of
from largecounty import KEY, LOT_M, ODD, TWIN, LargeCounty, crop_imagery, make
from raysegmenters import SmallChips, deadly, small, without_weights
from segmenters import FreeSegmenter

from detection.errors import SegmenterError
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.request import NoProgress, Progress
from pipeline.errors import ClusterError
from pipeline.settings import Settings
from pipeline.store.database import Database

# A Ray cluster takes each core for its own, and waits for its processes only so long.
pytestmark = pytest.mark.serial

# Ray reads it when it is imported: 127.0.0.1 is to stay that, and not become the network's.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
pytest.importorskip("ray", reason="needs lotline[ray]")

TESTS = Path(__file__).resolve().parent.parent
LOTS = 300


@dataclass
class Machines:
    """A head and two machines with a GPU each, as far as Ray knows."""

    cluster: Any
    address: str

    def add(self) -> Any:
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
        from ray.cluster_utils import Cluster

        cluster = Cluster(head_node_args=_node(num_cpus=2), initialize_head=True)
        there = Machines(cluster, cluster.address)
        for _ in range(2):
            there.add()
        yield there
        cluster.shutdown()


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("county"), LOTS)


class Run:
    """Batches of one county, the one on this machine and the other on the cluster."""

    def __init__(self, county: LargeCounty, database: Database, home: Path) -> None:
        self._county = county
        self._url = database.url
        self._home = home

    def local(self) -> BatchReport:
        return self._batch(KEY, small, NoProgress())

    def ray(
        self,
        address: str | None,
        build: Callable[..., FreeSegmenter] = small,
        progress: Progress | None = None,
    ) -> BatchReport:
        return self._batch(TWIN, build, progress or NoProgress(), "ray", address)

    def rows(self, key: str) -> object:
        return rows_of(self._url, key)

    def properties(self, key: str) -> list[tuple[Any, ...]]:
        return rows_of(self._url, key)["property"]

    def faults(self) -> dict[str, int]:
        """Of the last run, mended."""
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
        order = BatchRequest(
            key,
            registry=self._county.registry,
            properties=self._county.properties,
            segmenter="free",
            engine=engine,
        )
        settings = Settings(database_url=self._url, home=self._home, ray_address=address)
        return run_batch(order, settings, progress, build)


@pytest.fixture
def run(
    county: LargeCounty, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 150)
    return Run(county, database, tmp_path)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is in hand at a time, so that much is left when the first lots are written."""
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
    tmp_path: Path, database: Database, tight: None, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Batches of a county whose imagery is of one corner, and not of the first chunk."""
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 30)
    county = make(tmp_path / "county", LOTS)
    crop_imagery(county, 0.4)
    return Run(county, database, tmp_path)


class At(NoProgress):
    """Does something once, when so many lots are written."""

    def __init__(self, lots: int, do: Callable[[], object]) -> None:
        self._left = lots
        self._do = do

    def advance(self, count: int) -> None:
        before, self._left = self._left, self._left - count
        if before > 0 >= self._left:
            self._do()


def _workers() -> list[psutil.Process]:
    """Of the cluster, whose machines are children of this process."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if process.name().startswith("ray::")]


def _looks(log: Path) -> tuple[Counter[str], set[str]]:
    """How often each chip was shown, and the processes that were shown some."""
    lines = [line.split(" ", 1) for line in log.read_text(encoding="ascii").splitlines()]
    return Counter(bounds for _, bounds in lines), {pid for pid, _ in lines}


def test_rows_are_those_of_the_local_engine_and_each_chip_is_looked_at_once(
    run: Run, machines: Machines, tmp_path: Path
) -> None:
    local = run.local()
    log = tmp_path / "looks"
    there = run.ray(machines.address, partial(small, log=log))
    assert there.processed == local.processed
    assert run.rows(TWIN) == run.rows(KEY)

    shown, workers = _looks(log)
    assert set(shown.values()) == {1}
    assert len(workers) == 2
    assert there.timer is not None
    assert local.timer is not None
    assert there.timer.calls["read"] == len(shown)
    assert there.timer.calls["stitch"] == local.timer.calls["stitch"] > 0


def test_a_worker_killed_and_a_machine_lost_change_no_row(
    run: Run, machines: Machines, tight: None, caplog: pytest.LogCaptureFixture
) -> None:
    expected = run.local()
    one = machines.add()

    def strike() -> None:
        by_name = {worker.name().split(".")[0]: worker for worker in _workers()}
        by_name["ray::SegmentWorker"].send_signal(signal.SIGKILL)
        by_name["ray::Surveyor"].send_signal(signal.SIGKILL)
        machines.cluster.remove_node(one, allow_graceful=False)

    struck = run.ray(machines.address, progress=At(1, strike))
    assert struck.processed == expected.processed
    assert run.rows(TWIN) == run.rows(KEY)
    assert "a segmenter worker was lost" in caplog.text
    faults = run.faults()
    assert faults["segmenter lost"] >= 1
    assert faults["surveyor lost"] == 1
    assert faults["chip batch lost"] >= 1


def test_what_needs_no_look_is_bounded_too(
    unimaged: Run, machines: Machines, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.batch.engines.ray import workers, write_tasks

    right = workers.write_parts
    leased: list[int] = []

    def slowly(*given: Any) -> Any:
        time.sleep(0.5)
        return right(*given)

    class Counting(NoProgress):
        def advance(self, _count: int) -> None:
            query = "SELECT count(*) FROM lotline.property WHERE state = 'leased'"
            with database.engine.connect() as conn:
                leased.append(conn.exec_driver_sql(query).scalar_one())

    monkeypatch.setattr(write_tasks, "write_parts", slowly)
    report = unimaged.ray(machines.address, progress=Counting())
    assert sum(report.processed.values()) == LOTS + len(ODD)
    assert report.processed["no_imagery", "missing"] > 150
    looked_at = report.processed["done", "measured"]
    assert looked_at > 20
    # What may wait to be written, what was being surveyed then, and what was to be looked at.
    assert 30 <= max(leased) <= 80 + 2 * 30 + looked_at


def test_ctrl_c_does_not_wait_for_a_slow_server(
    unimaged: Run, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has said by then, and needs no look, is written."""
    from pipeline.batch.engines.ray import engine, workers

    answered = tmp_path / "answered"

    class Slow(workers.Surveyor):
        def survey(self, chunk: Any) -> Any:
            if chunk.number:
                time.sleep(20)
                answered.touch()
            return super().survey(chunk)

    survey, is_asked = engine.RayEngine._submit_surveys, False

    def interrupted(self: engine.RayEngine, chunks: Any) -> bool:
        nonlocal is_asked
        more_comes = survey(self, chunks)
        if not is_asked:
            is_asked = True
            first = next(iter(self._surveys))
            engine.ray.wait([first], timeout=30)
            os.kill(os.getpid(), signal.SIGINT)
        return more_comes

    monkeypatch.setattr(engine, "Surveyor", Slow)
    monkeypatch.setattr(engine.RayEngine, "_submit_surveys", interrupted)
    report = unimaged.ray(machines.address)
    assert report.interrupted
    assert not answered.exists()
    assert sum(report.processed.values()) > 0
    assert {row[1] for row in unimaged.properties(TWIN)} == {"no_imagery", "pending"}


def test_weights_that_no_worker_can_load_end_the_run_before_a_lot(
    run: Run, machines: Machines
) -> None:
    with pytest.raises(SegmenterError, match=r"/weights/sam3\.pt: no such file"):
        run.ray(machines.address, without_weights)
    assert {row[1] for row in run.properties(TWIN)} == {"pending"}


@pytest.mark.long
def test_a_segmenter_that_nobody_survives_loading_is_given_up(run: Run, machines: Machines) -> None:
    with pytest.raises(ClusterError, match="every worker died while it loaded the segmenter"):
        run.ray(machines.address, deadly)
    assert {row[1] for row in run.properties(TWIN)} == {"pending"}


@pytest.mark.long
def test_a_chip_that_kills_whoever_looks_at_it_takes_its_own_lots_alone(
    run: Run, machines: Machines, county: LargeCounty
) -> None:
    run.local()
    left, bottom, right, top = county.extent_m
    there_m = ((left + right) / 2, (bottom + top) / 2)
    report = run.ray(machines.address, partial(small, fatal_m=there_m))
    crashed = report.processed["failed", "crashed"]
    chip_m = SmallChips.chip_px * (SmallChips.gsd_m or 0)
    assert 0 < crashed <= (chip_m / LOT_M[0] + 3) * (chip_m / LOT_M[1] + 3)
    assert report.done == LOTS + 3
    found = {row[0]: row for row in run.properties(TWIN)}
    for row in run.properties(KEY):
        assert found[row[0]][2] == "crashed" or found[row[0]] == row


@pytest.mark.long
def test_after_ctrl_c_what_is_in_hand_is_written_and_the_next_run_does_the_rest(
    run: Run, machines: Machines, tight: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in hand is bounded, by what the segmenters and the writers have."""
    from pipeline.batch.engines.ray import scheduler

    in_hand: list[int] = []
    send = scheduler.Scheduler._submit

    def sent(self: scheduler.Scheduler, *batch: Any) -> None:
        send(self, *batch)
        in_hand.append(self._chips_in_flight)

    monkeypatch.setattr(scheduler.Scheduler, "_submit", sent)

    expected = run.local()
    ctrl_c = partial(os.kill, os.getpid(), signal.SIGINT)
    stopped = run.ray(machines.address, progress=At(1, ctrl_c))
    assert stopped.interrupted
    assert 0 < stopped.done < expected.done
    assert {row[1] for row in run.properties(TWIN)} >= {"done", "pending"}
    assert "leased" not in {row[1] for row in run.properties(TWIN)}
    run.ray(machines.address)
    assert run.rows(TWIN) == run.rows(KEY)
    room = 2 * SmallChips.chips_per_batch
    assert 0 < max(in_hand) < room + SmallChips.chips_per_batch

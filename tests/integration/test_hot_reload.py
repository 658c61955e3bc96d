"""A new champion is picked up between pieces of work; weights that fail are never used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from registered import KEY, LANDCOVER, Registered, landcover_folder, little_county, pickled
from sentstatements import sent_statements
from sqlalchemy import create_engine, text

from detection.errors import SegmenterError
from detection.labels import LABELS
from detection.segmenters import build_segmenter
from detection.segmenters.interface import Segmenter
from detection.segmenters.landcover.network import CLASSES
from detection.segmenters.landcover.weights import load_landcover
from pipeline import BatchRequest, run_batch
from pipeline.batch.request import NoProgress
from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.models import champion_holder
from pipeline.store.models.answer_check import check_answers, known_chip
from pipeline.store.models.champion_holder import ChampionHolder
from pipeline.store.models.load_events import recent_loads


@dataclass(frozen=True)
class Weights:
    """Folders of weights that differ a little from the package's."""

    one: Path
    two: Path

    @property
    def one_sha256(self) -> str:
        return load_landcover(self.one).sha256

    @property
    def two_sha256(self) -> str:
        return load_landcover(self.two).sha256


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    root = tmp_path_factory.mktemp("weights")
    return Weights(landcover_folder(root / "one", 0.01, 0), landcover_folder(root / "two", 0.02, 0))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_county(tmp_path_factory.mktemp("county"))


@pytest.fixture
def registered(database: Database, tmp_path: Path) -> Registered:
    return Registered(database, tmp_path / "stored")


@pytest.fixture
def holder(database: Database, tmp_path: Path) -> ChampionHolder:
    return ChampionHolder(database.engine, LANDCOVER, tmp_path / "cache")


def _loads(database: Database) -> list[tuple[int | None, str]]:
    with database.engine.connect() as conn:
        return [(each.model, each.outcome) for each in recent_loads(conn, LANDCOVER)][::-1]


def test_a_promotion_is_picked_up_and_what_is_at_work_keeps_its_weights(
    holder: ChampionHolder, registered: Registered, weights: Weights, database: Database
) -> None:
    at_work = holder.current()
    assert at_work.weights_sha256 == load_landcover().sha256
    one = registered.add(weights.one)
    assert holder.current() is at_work, "a candidate is not used"
    registered.promote(one)
    new = holder.current()
    assert (new.weights_sha256, holder.current()) == (weights.one_sha256, new)
    with sent_statements(database.engine) as sent:
        assert holder.current() is new
    assert len(sent) == 1, "nothing was promoted: one lookup"
    # The old one is whole: a batch that has it goes on.
    assert at_work.weights_sha256 == load_landcover().sha256
    assert check_answers(at_work)["lawn"] > 0.1
    registered.roll_back()
    assert holder.current().weights_sha256 == load_landcover().sha256
    assert _loads(database) == [(one, "loaded"), (None, "loaded")]


def _truncated(weights: Weights, canary: Path) -> dict[str, bytes]:
    content = (weights.two / "model.safetensors").read_bytes()
    config = (weights.two / "config.json").read_bytes()
    return {"model.safetensors": content[: len(content) // 2], "config.json": config}


def _another_config(weights: Weights, canary: Path) -> dict[str, bytes]:
    third = landcover_folder(canary.parent / "third", 0.03, 0)
    return {
        "model.safetensors": (third / "model.safetensors").read_bytes(),
        "config.json": (weights.one / "config.json").read_bytes(),
    }


def _changed(plane: int, change: float) -> Callable[[Weights, Path], Path]:
    return lambda _, canary: landcover_folder(canary.parent / "changed", change, plane)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(lambda _, canary: pickled(canary), "not a complete safetensors", id="pickle"),
        pytest.param(_truncated, "not a complete safetensors", id="truncated"),
        pytest.param(_another_config, "belongs to", id="files of two trainings"),
        pytest.param(_changed(0, float("nan")), "NaN or infinite", id="NaN"),
        pytest.param(_changed(CLASSES.index("lawn"), -1e4), "find lawn on 0.0%", id="a label lost"),
    ],
)
def test_weights_that_fail_are_not_used_and_the_champion_stays(
    made: Callable[[Weights, Path], Any],
    why: str,
    holder: ChampionHolder,
    registered: Registered,
    weights: Weights,
    database: Database,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = registered.add(weights.one)
    registered.promote(one)
    good = holder.current()
    canary = tmp_path / "canary"
    bad = registered.add(made(weights, canary))
    registered.promote(bad)
    with caplog.at_level(logging.ERROR):
        assert holder.current() is good
    assert f"model {bad} of landcover cannot be used, so model {one} stays in use" in caplog.text
    assert why in caplog.text
    assert not canary.exists(), "code of the weights ran"
    with sent_statements(database.engine) as sent:
        assert holder.current() is good
    assert len(sent) == 1, "it is not loaded again before the next promotion"
    assert _loads(database) == [(one, "loaded"), (bad, "failed")]
    two = registered.add(weights.two)
    registered.promote(two)
    assert holder.current().weights_sha256 == weights.two_sha256
    with database.engine.connect() as conn:
        [failed] = recent_loads(conn, LANDCOVER, bad)
    assert why in failed.detail


def test_files_that_are_not_what_was_registered(
    holder: ChampionHolder, registered: Registered, weights: Weights, database: Database
) -> None:
    good = holder.current()
    # Another file under the hash of the first.
    bad = registered.add(weights.one)
    [stored] = registered.stored_files()
    stored.write_bytes((weights.two / "model.safetensors").read_bytes())
    registered.promote(bad)
    assert holder.current() is good
    # Files with hashes of their own, registered as other weights.
    registered.promote(registered.add(weights.two, sha256="0" * 64))
    assert holder.current() is good
    with database.engine.connect() as conn:
        [wrong_hash, other_file] = recent_loads(conn, LANDCOVER)
    assert "have the hash" in wrong_hash.detail
    assert "is not what was registered" in other_file.detail


def test_a_cold_start_falls_back_to_the_last_good_one(
    registered: Registered, weights: Weights, database: Database, tmp_path: Path
) -> None:
    one = registered.add(weights.one)
    bad = registered.add(pickled(tmp_path / "canary"))
    for number in (one, bad):
        registered.promote(number)
    holder = ChampionHolder(database.engine, LANDCOVER, tmp_path / "cache")
    assert holder.current().weights_sha256 == weights.one_sha256
    assert holder.current() is holder.current()
    assert holder.version is not None
    assert holder.version.id == one
    assert not (tmp_path / "canary").exists()
    assert _loads(database) == [(bad, "failed"), (one, "loaded")]


def test_without_memory_for_two_it_is_tried_again(
    registered: Registered,
    weights: Weights,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problems: list[Exception] = [MemoryError("CUDA out of memory")] * 2

    def build(folder: str | None) -> Segmenter:
        if folder is not None and problems:
            raise problems.pop()
        return build_segmenter(LANDCOVER, folder)

    holder = ChampionHolder(database.engine, LANDCOVER, tmp_path / "cache", build)
    own = holder.current()
    one = registered.add(weights.one)
    registered.promote(one)
    assert holder.current() is own
    assert holder.current() is own
    assert len(problems) == 1, "not at each call"
    monkeypatch.setattr(champion_holder, "_RETRY_AFTER_S", 0.0)
    holder._retry_at_s = 0.0
    assert holder.current() is own
    assert holder.current().weights_sha256 == weights.one_sha256
    assert _loads(database) == [(one, "failed"), (one, "loaded")], "the second failure is not new"


def test_a_database_that_is_away_changes_nothing(
    registered: Registered, weights: Weights, database: Database, tmp_path: Path
) -> None:
    holder = ChampionHolder(database.engine, LANDCOVER, tmp_path / "cache")
    own = holder.current()
    registered.promote(registered.add(weights.one))
    holder._database = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert holder.current() is own
    holder._database = database.engine
    assert holder.current().weights_sha256 == weights.one_sha256


def test_callers_do_not_wait_while_another_one_loads(
    registered: Registered, weights: Weights, database: Database, tmp_path: Path
) -> None:
    is_loading, may_go_on = Event(), Event()

    def build(folder: str | None) -> Segmenter:
        if folder is not None:
            is_loading.set()
            assert may_go_on.wait(60)
        return build_segmenter(LANDCOVER, folder)

    holder = ChampionHolder(database.engine, LANDCOVER, tmp_path / "cache", build)
    own = holder.current()
    registered.promote(registered.add(weights.one))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(holder.current)
        assert is_loading.wait(60)
        assert all(holder.current() is own for _ in range(20))
        may_go_on.set()
        assert first.result().weights_sha256 == weights.one_sha256
    assert holder.current().weights_sha256 == weights.one_sha256


def test_no_call_fails_while_champions_come_and_go(
    holder: ChampionHolder, registered: Registered, weights: Weights, tmp_path: Path
) -> None:
    """Four threads segment while good and bad weights are promoted and taken back."""
    numbers = [registered.add(weights.one), registered.add(pickled(tmp_path / "canary"))]
    own, done = holder.current().weights_sha256, Event()
    chip, labels = known_chip(), [LABELS["lawn"]]

    def work() -> set[str | None]:
        seen = set()
        while not done.is_set():
            segmenter = holder.current()
            [masks] = segmenter.segment([chip], labels)
            assert len(masks) == 1
            seen.add(segmenter.weights_sha256)
        return seen

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        try:
            for number in numbers:
                registered.promote(number)
                holder.current()
                registered.roll_back()
                holder.current()
        finally:
            done.set()
        seen = set().union(*(each.result() for each in workers))
    assert seen <= {own, weights.one_sha256}
    assert holder.current().weights_sha256 == own


class PromotesMidway(NoProgress):
    """Promotes in the middle of a batch, and has another user of the holder pick it up."""

    def __init__(self, registered: Registered, number: int, holder: ChampionHolder) -> None:
        self._change = (registered, number, holder)
        self.swapped_to: str | None = None

    def start(self, total: int, what: str) -> None:  # noqa: ARG002
        registered, number, holder = self._change
        registered.promote(number)
        self.swapped_to = holder.current().weights_sha256


def _batch(
    registry: Path, database: Database, home: Path, progress: NoProgress, **more: Any
) -> dict[str, int]:
    """Run a batch of ten lots; the number of detections of its run by the weights they name."""
    settings = Settings(database_url=database.url, home=home)
    request = BatchRequest(KEY, registry=registry, segmenter=LANDCOVER, again=True)
    report = run_batch(request, settings, progress, **more)
    # One lot of the little county lies beyond its imagery.
    assert report.selected_by_state == {("done", "measured"): 9, ("no_imagery", "missing"): 1}
    with database.engine.connect() as conn:
        run = conn.execute(text("SELECT * FROM lotline.run ORDER BY id DESC LIMIT 1")).one()
        measured = conn.execute(
            text("SELECT DISTINCT weights_sha256 FROM lotline.measurement WHERE current")
        )
        assert set(measured.scalars()) == {run.weights_sha256}, "no lot was dropped"
        rows = conn.execute(
            text(
                "SELECT weights_sha256, count(*) FROM lotline.detection WHERE run_fk = :run "
                "GROUP BY weights_sha256"
            ),
            {"run": run.id},
        )
        found = {row.weights_sha256: row.count for row in rows}
    assert found.keys() <= {run.weights_sha256}, "one hash in all rows of a run"
    return found


def test_a_running_batch_keeps_its_weights_and_the_next_has_the_new(
    holder: ChampionHolder,
    registered: Registered,
    weights: Weights,
    database: Database,
    registry: Path,
    tmp_path: Path,
) -> None:
    numbers = [registered.add(folder) for folder in (weights.one, weights.two)]
    own = load_landcover().sha256
    hashes = []
    for number in numbers:
        midway = PromotesMidway(registered, number, holder)
        hashes += _batch(registry, database, tmp_path, midway, holder=holder)
        assert midway.swapped_to not in hashes, "swapped while the batch was at work"
    hashes += _batch(registry, database, tmp_path, NoProgress(), holder=holder)
    assert hashes == [own, weights.one_sha256, weights.two_sha256]


class Messages(NoProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, what: str) -> None:
        self.said.append(what)


def test_a_batch_whose_champion_is_damaged_says_so_and_uses_the_one_before(
    registered: Registered, weights: Weights, database: Database, registry: Path, tmp_path: Path
) -> None:
    one = registered.add(weights.one)
    bad = registered.add(pickled(tmp_path / "canary"))
    for number in (one, bad):
        registered.promote(number)
    messages = Messages()
    assert _batch(registry, database, tmp_path, messages).keys() == {weights.one_sha256}
    [said] = [each for each in messages.said if "cannot be used" in each]
    assert f"model {bad}, the champion of landcover" in said
    assert f"this batch has model {one}" in said
    assert _loads(database) == [(bad, "failed")]
    registered.roll_back()
    messages = Messages()
    _batch(registry, database, tmp_path, messages)
    assert f"landcover has the weights of model {one}, its champion" in messages.said


def test_a_holder_of_another_segmenter_is_refused(
    database: Database, registry: Path, tmp_path: Path
) -> None:
    spectral = ChampionHolder(database.engine, "spectral", tmp_path)
    settings = Settings(database_url=database.url, home=tmp_path)
    request = BatchRequest(KEY, registry=registry, segmenter=LANDCOVER)
    with pytest.raises(ModelError, match="the holder has spectral"):
        run_batch(request, settings, holder=spectral)
    with pytest.raises(SegmenterError, match="unknown segmenter"):
        ChampionHolder(database.engine, "nothing", tmp_path)

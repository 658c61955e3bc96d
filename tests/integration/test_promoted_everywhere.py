"""A promoted delta and its score thresholds reach batches, holders and serverless workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from registered import KEY, Registered, little_county, sam3_base, write_delta
from sqlalchemy import text

from detection.labels import LABELS
from detection.segmenters import build_segmenter
from detection.segmenters.interface import Segmenter
from pipeline import BatchRequest, run_batch
from pipeline.cli.app import lotline
from pipeline.serve.worker import start_worker, worker_settings
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.models.answer_check import known_chip
from pipeline.store.models.champion_holder import ChampionHolder
from pipeline.store.models.weights_source import build_with

# With it hardly a roof counts any more, and lawns are as before.
STRICT = {"roof": 0.99999}


class Promoted:
    """A base, and a delta of it that is registered."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.base = str(sam3_base(folder / "base"))
        delta = write_delta(self.base, folder / "delta")
        source = f"{self.base}{os.pathsep}{delta}"
        self.own_sha256 = build_segmenter("sam3", self.base).weights_sha256
        self.sha256 = build_segmenter("sam3", source).weights_sha256 or ""
        self._registered = Registered(database, folder / "stored")
        self._number = self._registered.add_delta(delta, self.sha256, "sam3")

    def promote(self, thresholds: Mapping[str, float] = STRICT) -> None:
        self._registered.promote_with(self._number, thresholds, "sam3")

    def roll_back(self) -> None:
        self._registered.roll_back("sam3")


@pytest.fixture
def promoted(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promoted:
    monkeypatch.delenv("SAM3_WEIGHTS", raising=False)  # the base is what each consumer is given
    return Promoted(database, tmp_path)


def roofs(segmenter: Segmenter) -> int:
    """How many roofs it finds on the known chip."""
    labels = [LABELS["lawn"], LABELS["roof"]]
    segmenter.prepare(labels)
    [masks] = segmenter.segment([known_chip(segmenter.chip_px)], labels)
    assert any(mask.label.name == "lawn" for mask in masks)
    return sum(mask.label.name == "roof" for mask in masks)


def test_a_batch_has_the_delta_on_the_base_that_it_names(
    promoted: Promoted, database: Database, tmp_path: Path
) -> None:
    registry = little_county(tmp_path / "county")

    def batch() -> tuple[str, int]:
        request = BatchRequest(
            KEY, registry=registry, segmenter="sam3", weights=promoted.base, limit=4,
            labels=("roof", "lawn"), again=True,
        )  # fmt: skip
        run_batch(request, Settings(database_url=database.url, home=tmp_path / "home"))
        with database.engine.connect() as conn:
            run = conn.execute(text("SELECT * FROM lotline.run ORDER BY id DESC LIMIT 1")).one()
            count = "SELECT count(*) FROM lotline.detection WHERE run_fk = :id AND label = 'roof'"
            found = conn.execute(text(count), {"id": run.id}).scalar_one()
        return run.weights_sha256, found

    own, found = batch()
    assert own == promoted.own_sha256
    assert found > 0
    promoted.promote({})
    stale = ["models", "stale", "--segmenter", "sam3"]
    named = {"DATABASE_URL": database.url, "SAM3_WEIGHTS": promoted.base}
    shown = CliRunner().invoke(lotline, stale, env=named)
    assert f"sam3 uses model 1, {promoted.sha256[:12]}" in shown.output
    sha256, without_thresholds = batch()
    assert sha256 == promoted.sha256
    promoted.roll_back()
    promoted.promote()
    sha256, strict = batch()
    assert sha256 == promoted.sha256
    assert strict < without_thresholds
    promoted.roll_back()
    assert batch() == (own, found)


def test_a_holder_has_the_delta_and_its_thresholds(
    promoted: Promoted, database: Database, tmp_path: Path
) -> None:
    build = partial(build_with, "sam3", base=promoted.base)
    promoted.promote()
    holder = ChampionHolder(database.engine, "sam3", tmp_path / "cache", build)
    assert holder.current().weights_sha256 == promoted.sha256
    assert roofs(holder.current()) == 0
    promoted.roll_back()
    assert holder.current().weights_sha256 == promoted.own_sha256
    assert roofs(holder.current()) > 0


@pytest.mark.parametrize("pointer", ["database", "file"])
def test_a_serverless_worker_has_the_delta_and_its_thresholds(
    promoted: Promoted,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pointer: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))

    def environment() -> dict[str, str]:
        found = {
            "LOTLINE_RESULTS": str(tmp_path / "results"), "LOTLINE_HOME": str(tmp_path / "worker"),
            "SEGMENTER": "sam3", "SAM3_WEIGHTS": promoted.base,
        }  # fmt: skip
        if pointer == "database":
            return found | {"DATABASE_URL": database.url}
        done = CliRunner().invoke(lotline, ["models", "publish", "sam3", "--to", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return found | {"LOTLINE_CHAMPION": f"{tmp_path}/champions/sam3.json"}

    start: Callable[[], Segmenter] = lambda: start_worker(worker_settings(environment())).segmenter  # noqa: E731
    own = start()
    assert (own.weights_sha256, roofs(own) > 0) == (promoted.own_sha256, True)
    promoted.promote()
    now = start()
    assert (now.weights_sha256, roofs(now)) == (promoted.sha256, 0)

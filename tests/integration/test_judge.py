"""Registered landcover weights are judged on reviewed lots, and pass the gate or do not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from judgedpairs import ReviewedCounty

from detection.segmenters.landcover.network import CLASSES
from detection.segmenters.landcover.segmenter import Landcover
from detection.segmenters.landcover.weights import load_landcover, save_landcover
from pipeline.cli.app import lotline
from pipeline.learning.corrections_manifest import CorrectionsManifest, manifest_sha256
from pipeline.store.database import Database
from pipeline.store.models.versions import ModelFacts, champion, register_model
from pipeline.store.objects.folder_or_bucket import open_objects

LOTS = 12
ENOUGH = ("--set", "min_lots=10", "--set", "min_blocks=6", "--set", "min_lots_with_label=2")


@dataclass(frozen=True)
class Truth:
    """Lots of which people accepted what the package's own weights find, all of them test."""

    county: ReviewedCounty
    pairs: Path
    manifest: CorrectionsManifest


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("judged")
    county = ReviewedCounty.generate(folder, LOTS).as_found_by(Landcover(device="cpu"))
    pairs = folder / "pairs"
    return Truth(county, pairs, county.export(open_objects(str(pairs))))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package's weights with a damaged head, and as they are but for their file."""
    root = tmp_path_factory.mktemp("weights")
    damaged = {
        "own": {"other": 1e-3},
        "less lawn": {"lawn": -2.0},
        "no pools": {"pool": -20.0},
        "lawn everywhere": {"lawn": 20.0},
    }
    folders = {}
    for name, biases in damaged.items():
        found = load_landcover()
        assert found.network.head.bias is not None
        for label, change in biases.items():
            found.network.head.bias.data[CLASSES.index(label)] += change
        folders[name] = root / name.replace(" ", "_")
        folders[name].mkdir()
        save_landcover(found.network, replace(found.config), folders[name])
    return folders


@dataclass
class Models:
    """`lotline models` over a database and the judged pairs."""

    database: Database
    truth: Truth

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(lotline, ["models", *words])

    def added(self, folder: Path) -> int:
        done = self("add", str(folder), "--by", "ann")
        assert done.exit_code == 0, done.output
        number = re.search(r"model (\d+): ", done.output)
        assert number
        return int(number[1])

    def judged(self, number: int, *words: str) -> tuple[int, dict[str, Any]]:
        done = self("judge", str(number), "--from", str(self.truth.pairs), "--json", *words)
        assert done.exit_code in (0, 1), done.output + str(done.exception)
        return done.exit_code, json.loads(done.stdout)

    def promoted(self, folder: Path) -> int:
        number = self.added(folder)
        done = self("promote", str(number), "--despite-gate", "a test")
        assert done.exit_code == 0, done.output
        return number


@pytest.fixture
def command(
    database: Database, truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Models:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))
    return Models(database, truth)


def rows_of(document: dict[str, Any], label: str) -> Sequence[dict[str, Any]]:
    return [row for row in document["rows"] if row["label"] == label]


def test_better_weights_pass_and_can_be_promoted(command: Models, weights: dict[str, Path]) -> None:
    command.promoted(weights["less lawn"])
    number = command.added(weights["own"])
    code, found = command.judged(number, *ENOUGH, "--by", "ann")
    assert (code, found["verdict"]) == (0, "passed"), found["sentence"]
    [target] = rows_of(found, "all labels")
    assert target["high"] < 0
    assert target["candidate"] < 1 < target["champion"]
    lawn = found["figures"]["candidate"]["labels"]["lawn"]
    assert lawn["iou"] > 0.99
    assert lawn["lots"] == LOTS
    assert (
        lawn["error_m2"]["sum"] < found["figures"]["champion"]["labels"]["lawn"]["error_m2"]["sum"]
    )
    pool = found["figures"]["candidate"]["labels"]["pool"]
    assert pool["objects"]["coco"]["ap50"] > 0.99
    assert pool["objects"]["coco_boxes"]["ap50"] > 0.99
    assert pool["objects"]["cgf1"] > 95
    assert pool["false_alarms"]["lots_without_label"] > 0
    done = command("promote", str(number), "--by", "ann")
    assert done.exit_code == 0, done.output
    with command.database.engine.connect() as conn:
        now = champion(conn, "landcover")
    assert now is not None
    assert now.id == number
    assert "passed the gate" in command("list").output
    shown = command("show", str(number)).output
    assert "all labels  area error, m²/lot" in shown
    again = command("judge", str(number), "--from", str(command.truth.pairs))
    assert "is the champion" in str(again.exception)


def test_weights_that_lost_a_label_are_refused_though_the_target_improves(
    command: Models, weights: dict[str, Path]
) -> None:
    command.promoted(weights["less lawn"])
    number = command.added(weights["no pools"])
    code, found = command.judged(number, *ENOUGH)
    assert (code, found["verdict"]) == (1, "refused")
    [target] = rows_of(found, "all labels")
    assert target["verdict"] == "better"
    assert {row["verdict"] for row in rows_of(found, "pool")} == {"worse"}
    assert found["sentence"].startswith("refused: pool is worse than tolerated")
    done = command("promote", str(number))
    assert "the gate does not let model" in str(done.exception)
    assert "--despite-gate" in str(done.exception)


def on_one_chip(command: Models, folder: Path) -> str:
    """The address of two lots on one chip, which are judged in a second."""
    objects = open_objects(str(folder))
    command.truth.county.export(objects, lots=command.truth.county.lots[5:7])
    return str(folder)


def test_weights_that_know_one_label_only_are_refused(
    command: Models, weights: dict[str, Path], tmp_path: Path
) -> None:
    """As after a training on the positives of one label: everything is a lawn."""
    number = command.added(weights["lawn everywhere"])
    where = on_one_chip(command, tmp_path / "pairs")
    done = command(
        "judge", str(number), "--from", where, "--set", "min_lots=2", "--set", "min_blocks=2"
    )
    assert done.exit_code == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("refused: "), done.stdout
    assert "are worse than tolerated" in last
    assert {"lawn", "tree", "roof"} <= {
        line.split()[0] for line in done.stdout.splitlines() if line.endswith(" worse")
    }


def test_too_few_lots_are_no_pass(
    command: Models, weights: dict[str, Path], tmp_path: Path
) -> None:
    number = command.added(weights["less lawn"])
    done = command("judge", str(number), "--from", on_one_chip(command, tmp_path / "pairs"))
    assert done.exit_code == 1
    assert "too few lots to decide: the test has 2 reviewed lots" in done.stdout
    assert "too few lots to decide" in str(command("promote", str(number)).exception)
    assert "too few lots to decide" in command("list").output


def learned(command: Models, manifest: CorrectionsManifest) -> int:
    """A model that says that it learned from a manifest; its files are not read."""
    facts = ModelFacts(
        "landcover", "e" * 64, "/nowhere", {}, data_sha256=manifest_sha256(manifest)
    )  # fmt: skip
    with command.database.engine.begin() as conn:
        return register_model(conn, facts, "ann")


def test_ground_that_the_weights_learned_from_judges_nothing(
    command: Models, tmp_path: Path
) -> None:
    objects = open_objects(str(tmp_path / "pairs"))
    county = command.truth.county
    first = county.export(objects, lambda number: "train" if number < 3 else "test")
    county.export(objects, lambda _: "test")  # an audit made a test of the first lots
    done = command("judge", str(learned(command, first)), "--from", str(tmp_path / "pairs"))
    assert re.search(r"learned from \d of the lots that would judge", str(done.exception))
    assert county.lots[0].property_id in str(done.exception)


def test_weights_whose_corrections_are_elsewhere_are_not_judged(command: Models) -> None:
    elsewhere = command.truth.manifest.model_copy(update={"pairs": ()})
    done = command("judge", str(learned(command, elsewhere)), "--from", str(command.truth.pairs))
    assert "has the lots that the weights learned from" in str(done.exception)


def test_a_manifest_without_a_test_judges_nothing(
    command: Models, weights: dict[str, Path], tmp_path: Path
) -> None:
    objects = open_objects(str(tmp_path / "pairs"))
    command.truth.county.export(objects, lambda _: "train", command.truth.county.lots[:2])
    number = command.added(weights["own"])
    done = command("judge", str(number), "--from", str(tmp_path / "pairs"))
    assert "has no pair of the test" in str(done.exception)
    assert "name them with --from" in command("judge", str(number)).output

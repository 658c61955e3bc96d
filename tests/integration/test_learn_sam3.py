"""`lotline learn` of a SAM3: a delta is trained, judged against the champion's, and promoted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labelledchips import write_small_sam3
from learningcounty import FEW_LOTS, LearningCounty, make_place

from detection.sample import SampleCounty
from detection.segmenters import base_sha256
from detection.training.sam3_decoder.delta import save_delta
from detection.training.sam3_decoder.recipe import load_start
from detection.training.sam3_decoder.tiers import TrainedParts
from pipeline.errors import LearningError
from pipeline.learning.registered_run import registered_facts
from pipeline.store.database import Database
from pipeline.store.models.promotions import promote
from pipeline.store.models.versions import ModelFacts, champion, register_model

LABELS = ("lawn", "roof", "pool")
# A training of seconds.
SHORT = (
    "--device", "cpu", "--steps", "4", "--set", "views=1", "--set", "batch=1", "--set", "words=",
    "--set", "checkpoint_every=4", "--set", "learning_rate=1e-5", "--set", "ema_decay=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleCounty]:
    return make_place(tmp_path_factory.mktemp("learn"))


@pytest.fixture
def loop(
    place: tuple[Path, SampleCounty],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> LearningCounty:
    return LearningCounty.measured(place, database, tmp_path, monkeypatch, "sam3-tiny", LABELS)


def register_spoilt(loop: LearningCounty, folder: Path) -> ModelFacts:
    """Promote a delta whose mask decoder was spoilt, as a champion that is easily beaten."""
    start = load_start("sam3-tiny")
    parts = TrainedParts(start.model, "mask")
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.mul_(0.5)
    folder.mkdir()
    save_delta(parts, folder, base_sha256=start.base_sha256, tier="mask")
    facts = registered_facts(folder, "sam3-tiny", str(loop.home / "registered"), "spoilt")
    facts = replace(facts, base_sha256=start.base_sha256)
    make_champion(loop, facts)
    return facts


def make_champion(loop: LearningCounty, facts: ModelFacts) -> int:
    with loop.database.engine.begin() as conn:
        number = register_model(conn, facts, "ann")
        promote(conn, number, "ann", "", despite_gate="a test")
    return number


@pytest.mark.long
def test_corrections_become_a_delta_that_batches_use(loop: LearningCounty, tmp_path: Path) -> None:
    loop.correct()
    loop.export()
    spoilt = register_spoilt(loop, tmp_path / "spoilt")
    assert loop.batch() == spoilt.weights_sha256
    planned = loop.learn("--tier", "heads", "--dry-run", "--promote")
    assert "would export the corrections, train sam3-decoder heads, register" in planned.output
    done = loop.learn("--tier", "heads", "--promote", *FEW_LOTS, "--", *SHORT)
    assert done.exit_code == 0, done.output
    assert re.search(r"all labels +area error.* better\n", done.output), done.output
    [_, number] = loop.registered()
    with loop.database.engine.connect() as conn:
        now = champion(conn, "sam3-tiny")
    assert now is not None
    assert (now.id, now.facts.tier) == (number, "sam3-decoder heads")
    assert now.facts.base_sha256 == base_sha256("sam3-tiny")
    assert loop.batch() == now.facts.weights_sha256
    again = loop.learn("--tier", "heads")
    assert (again.exit_code, loop.registered()) == (0, [number - 1, number])
    assert "Not enough for another round: 0 of 50" in again.output


def test_a_round_needs_the_base_of_the_champion(
    loop: LearningCounty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.correct()
    facts = ModelFacts("sam3-tiny", "a" * 64, str(tmp_path), {}, base_sha256="b" * 64)
    number = make_champion(loop, facts)
    refused = loop.learn("--tier", "mask")
    assert isinstance(refused.exception, LearningError)
    assert re.search(
        f"model {number}, the champion of sam3-tiny, is a delta of the weights bbbbbbbbbbbb, and "
        f"this version of Lotline has {base_sha256('sam3-tiny')[:12]}: install the version",
        str(refused.exception),
    )
    sam3 = replace(loop, segmenter="sam3")
    base, other = (write_small_sam3(tmp_path / name, seed) for seed, name in enumerate("ab"))
    monkeypatch.setenv("SAM3_WEIGHTS", str(other))
    make_champion(
        sam3, replace(facts, segmenter="sam3", base_sha256=base_sha256("sam3", str(base)))
    )
    refused = sam3.learn()
    assert isinstance(refused.exception, LearningError)
    assert "SAM3_WEIGHTS names" in str(refused.exception)
    monkeypatch.setenv("SAM3_WEIGHTS", str(base))
    planned = sam3.learn("--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "train sam3-decoder heads" in planned.output

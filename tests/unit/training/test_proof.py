"""Checkpoints count when their exported weights answer like the network; the judge chooses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from trainingtasks import ColourExport, ColourSegmenter, ColourTask

from detection.segmenters.interface import Segmenter
from detection.training.checkpoints import Checkpoints
from detection.training.loop import TrainedState, train
from detection.training.proof import read_proof
from detection.training.prove_later import prove_saved
from detection.training.recipes import Training
from detection.training.settings import TrainingSettings
from detection.training.task import Judgement

SETTINGS = TrainingSettings(
    steps=30, checkpoint_every=10, keep_last=1, learning_rate=0.5, ema_decay=0.5
)


class OtherTensor(ColourExport):
    """Writes a bias that the network does not have."""

    def export(self, network: nn.Module, folder: Path) -> None:
        super().export(network, folder)
        path = folder / "model.safetensors"
        save_file(load_file(path) | {"bias": torch.tensor([9.0])}, path)


class Truncated(ColourExport):
    """Writes half of the file."""

    def export(self, network: nn.Module, folder: Path) -> None:
        super().export(network, folder)
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:50])


class MissingTensor(ColourExport):
    """Leaves a tensor out."""

    def export(self, network: nn.Module, folder: Path) -> None:
        save_file({"weight": network.state_dict()["weight"]}, folder / "model.safetensors")


class NotANumber(ColourExport):
    """Writes weights that are not finite."""

    def export(self, network: nn.Module, folder: Path) -> None:
        state = network.state_dict()
        save_file(state | {"bias": torch.tensor([torch.nan])}, folder / "model.safetensors")


class FirstIsBest(ColourExport):
    """A judge for whom the loss is no guide: each checkpoint is worse than the one before."""

    def __init__(self) -> None:
        self.calls = 0

    def judge(self, segmenter: Segmenter) -> Judgement:
        del segmenter
        torch.rand(3)  # the next step's dropout must not notice
        self.calls += 1
        return Judgement(1 / self.calls, {"call": self.calls})


class NoisyTask(ColourTask):
    """Draws from the global generator, as dropout does."""

    def loss(self, step: int) -> Mapping[str, Tensor]:
        return {name: term * (1 + torch.rand(())) for name, term in super().loss(step).items()}


def run(
    folder: Path,
    export: ColourExport,
    messages: list[str] | None = None,
    task: ColourTask | None = None,
) -> TrainedState:
    said = messages if messages is not None else []
    return train(task or ColourTask(), SETTINGS, folder, export=export, on_message=said.append)


def test_proven_weights_are_those_that_detection_loads(tmp_path: Path) -> None:
    state = run(tmp_path, ColourExport())
    assert state.best is not None
    proof = read_proof(state.best)
    assert proof is not None
    assert proof.proven
    assert state.best_score == proof.score == pytest.approx(proof.figures["iou"])  # type: ignore[index]
    assert proof.score > 0.8  # type: ignore[operator]
    assert proof.different == 0
    segmenter = ColourExport().load(tmp_path / "weights")
    assert segmenter.weights_sha256 == proof.weights_sha256
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["checkpoint"] == state.best.name
    assert best["weights_sha256"] == proof.weights_sha256


@pytest.mark.parametrize(
    ("export", "reason"),
    [
        (OtherTensor(), "the exported weights answer differently from the network"),
        (NotANumber(), "the exported weights answer differently from the network"),
        (Truncated(), "SegmenterError"),
        (MissingTensor(), "SegmenterError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ColourExport) else "",
)
def test_a_corrupted_export_is_no_candidate(
    tmp_path: Path, export: ColourExport, reason: str
) -> None:
    messages: list[str] = []
    state = run(tmp_path, export, messages)
    assert (state.ended, state.best) == ("finished", None)
    assert len(messages) == 3
    assert all(reason in each and "is not proven and no candidate" in each for each in messages)
    [folder] = Checkpoints(tmp_path, "colour").folders()
    assert not (folder / "weights").exists()
    assert not (tmp_path / "weights").exists()


def test_the_judge_chooses_not_the_loss(tmp_path: Path) -> None:
    state = run(tmp_path, FirstIsBest())
    kept = [folder.name for folder in Checkpoints(tmp_path, "colour").folders()]
    assert kept == ["step-00000010", "step-00000030"]  # the best, and the last one
    assert state.best is not None
    assert state.best.name == "step-00000010"
    assert (tmp_path / "weights").resolve() == state.best.resolve() / "weights"


def test_proving_changes_no_step(tmp_path: Path) -> None:
    run(tmp_path / "proven", FirstIsBest(), task=NoisyTask())
    train(NoisyTask(), SETTINGS, tmp_path / "saved")
    proven = (tmp_path / "proven" / "metrics.jsonl").read_text().splitlines()
    saved = (tmp_path / "saved" / "metrics.jsonl").read_text().splitlines()
    losses = [[json.loads(line)["loss"] for line in lines] for lines in (proven, saved)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 30


def test_checkpoints_are_proven_later(tmp_path: Path) -> None:
    settings = replace(SETTINGS, keep_last=3)
    now = train(ColourTask(), settings, tmp_path / "now", export=ColourExport())
    train(ColourTask(), settings, tmp_path / "later")
    assert not (tmp_path / "later" / "best.json").exists()
    messages: list[str] = []
    training = Training(ColourTask(seed=8), SETTINGS, ColourExport())
    later = prove_saved(training, settings, tmp_path / "later", messages.append)
    assert later.ended == "measured"
    assert len(messages) == 3
    assert messages[-1].startswith("step-00000030 is proven: score")
    assert (now.best_score, now.step) == (later.best_score, later.step)
    for folder in Checkpoints(tmp_path / "now", "colour").folders():
        assert read_proof(folder) == read_proof(tmp_path / "later" / "checkpoints" / folder.name)


def test_a_segmenter_that_answers_alike_is_equal() -> None:
    from detection.training.proof import compare_answers

    network = ColourTask().network
    own = ColourSegmenter(network, None)
    assert compare_answers(own, own, ColourExport.probe) == (0, 0)

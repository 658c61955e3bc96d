"""Settings, schedule, average of the weights, groups of parameters, checkpoints from elsewhere."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from trainingtasks import LineTask

from detection.errors import CheckpointError, DamagedCheckpoint, TrainingError
from detection.training.checkpoints import Checkpoints
from detection.training.ema import WeightAverage
from detection.training.loop import train
from detection.training.random_states import random_states, restore_random_states, seed_all
from detection.training.run_record import append_metrics, drop_metrics, read_metrics, read_run
from detection.training.schedule import progress_at, rate_at
from detection.training.settings import TrainingSettings, changed, pairs
from detection.training.task import decay_groups


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 10, "seconds": 5.0}, "give either steps or seconds"),
        ({"steps": None}, "give either steps or seconds"),
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"warm_up": 1.0}, "warm_up is 1.0, but must be from 0 to less than 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0, but must be more than 0"),
        ({"autocast": "fp16"}, "autocast is fp16, but must be auto, bf16 or none"),
    ],
)
def test_wrong_settings_say_what_is_right(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingSettings(**values)


def test_settings_from_texts() -> None:
    texts = pairs(["learning_rate=3e-4", "keep_last=5", "time_limit_s=90", "betas=0.9,0.95"])
    settings = changed(TrainingSettings(), texts)
    assert settings.learning_rate == 3e-4
    assert (settings.keep_last, settings.time_limit_s) == (5, 90)
    assert settings.betas == (0.9, 0.95)
    assert changed(settings, {"time_limit_s": "none"}).time_limit_s is None


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["learnin_rate=1"], "no setting is named 'learnin_rate': did you mean learning_rate?"),
        (["keep_last=2.5"], "keep_last=2.5: the value must be of the type of 2"),
        (["learning_rate=fast"], "learning_rate=fast: the value must be of the type of 0.001"),
        (["keep_last"], "--set keep_last: write it as name=value"),
        (["keep_last="], "keep_last=: the value must be of the type of"),
    ],
)
def test_wrong_texts_say_what_is_right(texts: list[str], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        changed(TrainingSettings(), pairs(texts))
    assert str(caught.value) == message or message in str(caught.value)


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    settings = TrainingSettings(steps=1000, learning_rate=2.0, warm_up=0.1, final_rate=0.05)
    rates = [rate_at(settings, progress_at(settings, step, 0)) for step in range(1001)]
    assert 0 < rates[0] <= 0.02
    assert rates[50] == pytest.approx(1.0)
    assert max(rates) == rates[100] == pytest.approx(2.0)
    middle = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi / 2))
    assert rates[550] == pytest.approx(2 * middle)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_progress_by_seconds() -> None:
    settings = TrainingSettings(steps=None, seconds=200.0)
    assert progress_at(settings, 10**9, 50.0) == 0.25
    assert progress_at(settings, 0, 250.0) == 1


def test_the_average_is_that_of_the_formula_and_buffers_are_copied() -> None:
    task = LineTask()
    average = WeightAverage(task.network, 0.9)
    means = [each.detach().clone() for each in task.network.parameters()]
    generator = torch.Generator().manual_seed(1)
    for step in range(30):
        with torch.no_grad():
            for each in task.network.parameters():
                each.add_(torch.randn(each.shape, generator=generator))
            for each in task.network.buffers():
                each.add_(1)
        average.update(task.network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        means = [
            decay * mean + (1 - decay) * each.detach()
            for mean, each in zip(means, task.network.parameters(), strict=True)
        ]
    for mean, each in zip(means, average.network.parameters(), strict=True):
        torch.testing.assert_close(each, mean, rtol=1e-5, atol=1e-6)
    for copy, each in zip(average.network.buffers(), task.network.buffers(), strict=True):
        assert torch.equal(copy, each)
    assert not average.network.training


def test_biases_and_norms_have_no_decay() -> None:
    network = nn.ModuleDict(
        {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "embed": nn.Embedding(5, 4)}
    )
    network["conv"].weight.requires_grad_(True)
    decayed, others = decay_groups(network.named_parameters(), 0.1, 0.5, no_decay=("embed",))
    assert [each.shape for each in decayed["params"]] == [(4, 3, 3, 3)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 4
    assert decayed["lr_scale"] == others["lr_scale"] == 0.5


def test_random_states_survive_a_checkpoint(tmp_path: Path) -> None:
    def draw() -> tuple[Any, ...]:
        numpy_draw = np.random.rand(3).tolist()  # noqa: NPY002  the global generator
        return random.random(), numpy_draw, torch.rand(3).tolist()

    seed_all(5)
    torch.save(random_states(), tmp_path / "states.pt")
    drawn = draw()
    restore_random_states(torch.load(tmp_path / "states.pt", weights_only=True))
    assert drawn == draw()


def test_a_line_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": 1.0} for step in range(4)]
    append_metrics(tmp_path, rows)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2]
    drop_metrics(tmp_path, 2)
    append_metrics(tmp_path, rows[2:])
    assert read_metrics(tmp_path) == rows


def test_autocast_trains_too(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=60, learning_rate=2e-2, autocast="bf16", ema_decay=0)
    state = train(LineTask(), settings, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path)]
    assert state.skipped == 0
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(LineTask(), TrainingSettings(steps=4, checkpoint_every=2), tmp_path)
    return tmp_path


def rewrite(folder: Path, **values: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_run_is_described(run: Path) -> None:
    described = read_run(run)
    assert described["task"] == "line"
    assert described["settings"]["steps"] == 4
    assert described["data_sha256"] == LineTask().data_sha256
    assert described["parameters"] == 16 * 2 + 16 * 2 + 17


def test_a_checkpoint_of_another_task_is_refused(run: Path) -> None:
    with pytest.raises(CheckpointError, match="is a checkpoint of line, not of roofs"):
        Checkpoints(run, "roofs").load_last()


def test_a_checkpoint_of_another_format_is_refused(run: Path) -> None:
    rewrite(Checkpoints(run, "line").folders()[-1], format="lotline-training-9")
    with pytest.raises(CheckpointError, match="resume it with the version of Lotline that wrote"):
        Checkpoints(run, "line").load_last()


def test_a_checkpoint_of_another_network_is_refused(run: Path) -> None:
    task = LineTask()
    task.network = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="does not fit this network"):
        train(task, TrainingSettings(steps=4, checkpoint_every=2), run, resume=True)


def test_a_folder_that_is_no_checkpoint_is_reported(run: Path) -> None:
    (run / "checkpoints" / "step-00000099").mkdir()
    messages: list[str] = []
    loaded = Checkpoints(run, "line").load_last(messages.append)
    assert loaded is not None
    assert loaded[0].step == 4
    assert "step-00000099 is not a checkpoint of this trainer" in messages[0]


def test_no_readable_checkpoint_is_not_a_start_from_nothing(run: Path) -> None:
    for folder in Checkpoints(run, "line").folders():
        (folder / "state.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"none of the 2 checkpoints in .* can be read"):
        Checkpoints(run, "line").load_last()


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_cannot_run_code(run: Path, tmp_path: Path) -> None:
    folder = Checkpoints(run, "line").folders()[-1]
    torch.save({"network": _Attack(tmp_path / "attacked")}, folder / "state.pt")
    content = (folder / "state.pt").read_bytes()
    rewrite(folder, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with pytest.raises(DamagedCheckpoint, match="cannot be read"):
        Checkpoints(run, "line").load(folder)
    assert not (tmp_path / "attacked").exists()

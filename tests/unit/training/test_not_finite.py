"""A batch whose loss or gradients are not finite is named and skipped, and spoils nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from trainingtasks import LineTask

from detection.errors import TrainingDiverged
from detection.training.checkpoints import Checkpoints
from detection.training.loop import train
from detection.training.optimizer import GuardedOptimizer
from detection.training.run_record import read_metrics
from detection.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=20, checkpoint_every=5, read_every=3, learning_rate=1e-2)


class SteepTask(LineTask):
    """Its loss is finite in one step, but its gradient is not: the root of 0."""

    def loss(self, step: int) -> Mapping[str, Tensor]:
        terms = super().loss(step)
        root = (terms["square"] * 0).sqrt() if step == 4 else terms["square"]
        return {"root": root}


def state_of(task: LineTask, optimizer: GuardedOptimizer) -> dict[str, Tensor]:
    moments = optimizer.optimizer.state_dict()["state"]
    flat = {f"{i}.{name}": each for i in moments for name, each in moments[i].items()}
    return {name: each.clone() for name, each in (task.network.state_dict() | flat).items()}


@pytest.mark.parametrize("task", [LineTask(bad_steps=[4]), SteepTask()], ids=["loss", "gradient"])
def test_a_bad_step_changes_nothing(task: LineTask) -> None:
    optimizer = GuardedOptimizer(task.network, task.parameter_groups(), SETTINGS)
    for step in range(6):
        before = state_of(task, optimizer) if step else {}
        optimizer.begin(1e-2)
        total = torch.stack(list(task.loss(step).values())).sum()
        total.backward()
        _, skipped = optimizer.finish(total)
        after = state_of(task, optimizer)
        assert bool(skipped) == (step == 4)
        if step:
            unchanged = [name for name in before if torch.equal(before[name], after[name])]
            assert (len(unchanged) == len(before)) == (step == 4)
        assert all(torch.isfinite(value).all() for value in after.values())


def test_the_batch_is_named(tmp_path: Path) -> None:
    messages: list[str] = []
    task = LineTask(bad_steps=[4, 5, 9])
    state = train(task, SETTINGS, tmp_path, on_message=messages.append)
    assert (state.ended, state.skipped) == ("finished", 3)
    assert messages[0] == (
        "step 4: the loss (square, absolute) is not finite. Batch: points-4.csv. Skipped; the "
        "weights are those before it"
    )
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows if row["skipped"]] == [4, 5, 9]
    assert rows[4]["loss"] is None
    assert rows[4]["terms"] == {"square": None, "absolute": None}


def test_a_gradient_is_told_from_a_loss(tmp_path: Path) -> None:
    messages: list[str] = []
    train(SteepTask(), SETTINGS, tmp_path, on_message=messages.append)
    assert messages[0].startswith("step 4: a gradient is not finite. Batch: points-4.csv")


def test_several_in_a_row_stop_the_run_with_what_to_do(tmp_path: Path) -> None:
    task = LineTask(bad_steps=range(7, 30))
    with pytest.raises(TrainingDiverged) as caught:
        train(task, replace(SETTINGS, max_bad_steps=3), tmp_path)
    text = str(caught.value)
    assert text.startswith("step 9: the loss (square, absolute) is not finite. Batch: points-9.csv")
    assert "the last of 3 such steps in a row" in text
    assert "remove or repair these images, or resume with a lower learning_rate" in text
    assert [folder.name for folder in Checkpoints(tmp_path, "line").folders()] == ["step-00000005"]
    # With the images repaired, and with another rate, it goes on from there.
    settings = replace(SETTINGS, learning_rate=1e-3)
    assert train(LineTask(), settings, tmp_path, resume=True).ended == "finished"
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(20))


def test_a_row_of_bad_steps_is_counted_over_a_resume(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_bad_steps=4)
    with pytest.raises(TrainingDiverged):
        train(LineTask(bad_steps=range(8, 30)), settings, tmp_path)
    assert Checkpoints(tmp_path, "line").folders()[-1].name == "step-00000010"
    with pytest.raises(TrainingDiverged, match="step 11"):  # two more, not four
        train(LineTask(bad_steps=range(8, 30)), settings, tmp_path, resume=True)

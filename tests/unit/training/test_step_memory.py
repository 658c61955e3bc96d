"""A step that does not fit into memory is made smaller, said so, and changes nothing else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from trainingtasks import LineTask

from detection.errors import TrainingError
from detection.memory_ladder import MemoryLadder, out_of_memory
from detection.training import entry
from detection.training.loop import StepMetrics, train
from detection.training.optimizer import GuardedOptimizer
from detection.training.random_states import random_states
from detection.training.run_record import read_metrics, read_run
from detection.training.settings import TrainingSettings
from detection.training.step_memory import StepMemory
from detection.training.task import split_batch

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = TrainingSettings(
    steps=20, checkpoint_every=5, read_every=4, learning_rate=1e-2, keep_last=4
)


class SizedTask(LineTask):
    """Points by prompts; a step of more than `room` of their products has no memory.

    Attributes:
        room: by step, from that step on.
        tried: (batch, prompts) of each attempt.
    """

    name = "sized"

    def __init__(
        self, batch: int, prompts: int, room: Mapping[int, int], where: str = "forward"
    ) -> None:
        super().__init__()
        self._sizes = {"batch": batch, "prompts": prompts}
        self.room, self._where = room, where
        self.tried: list[tuple[int, int]] = []

    @property
    def sizes(self) -> Mapping[str, int]:
        return self._sizes

    def resize(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)

    def loss(self, step: int) -> Mapping[str, Tensor]:
        batch, prompts = self._sizes["batch"], self._sizes["prompts"]
        self.tried.append((batch, prompts))
        room = self.room[max(start for start in self.room if start <= step)]
        x, y = self.batch(step)
        # Never one row, of which the batch norm has no variance.
        x, y = x[: batch + 1].repeat(prompts, 1), y[: batch + 1].repeat(prompts, 1)
        result = self.network(x)
        if batch * prompts > room:
            if self._where == "forward":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            result.register_hook(_no_room)
        return {"square": (result - y).square().mean()}


def _no_room(_: Tensor) -> Tensor:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder)]


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_batch_then_prompts_are_halved_before_the_run(tmp_path: Path, where: str) -> None:
    messages: list[str] = []
    task = SizedTask(8, 4, {0: 2}, where)
    state = train(task, SETTINGS, tmp_path / "short", on_message=messages.append)
    assert state.ended == "finished"
    assert task.tried == [(8, 4), (4, 4), (2, 4), (1, 4), (1, 2)] + [(1, 2)] * 20
    said = [text.partition(" (")[0] for text in messages if "does not fit" in text]
    assert said == [
        f"{name} {size} does not fit into the memory of this machine: {name} {size // 2} from "
        "here on"
        for name, size in (("batch", 8), ("batch", 4), ("batch", 2), ("prompts", 4))
    ]
    assert "memory" in messages[0].partition(" (")[2]  # with the device's own words
    asked, used = {"batch": 8, "prompts": 4}, {"batch": 1, "prompts": 2}
    assert read_run(tmp_path / "short")["memory"] == {"asked": asked, "used": used}
    # As if the sizes that fit had been asked for.
    train(SizedTask(1, 2, {0: 2}), SETTINGS, tmp_path / "asked")
    assert losses(tmp_path / "short") == losses(tmp_path / "asked")


def test_a_step_that_fits_is_tried_and_leaves_no_trace(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = SizedTask(8, 4, {0: 99})
    optimizer = GuardedOptimizer(task.network, task.parameter_groups(), SETTINGS)
    memory = StepMemory(task, torch.device("cpu"), lambda _: None)

    def step() -> bool:
        optimizer.begin(0.1)
        total = sum(task.loss(0).values(), torch.zeros(()))
        total.backward()
        optimizer.finish(total)
        return True

    for moments in (False, True):  # at a start, and at a resume
        before = _state(task.network, optimizer)
        memory.try_out(step, task.network, optimizer)
        after = _state(task.network, optimizer)
        assert before.keys() == after.keys()
        assert any("exp_avg" in name for name in after) == moments
        for name, value in before.items():
            assert torch.equal(value, after[name]), name
        assert all(each.grad is None for each in task.network.parameters())
        step()
    assert any(not torch.equal(value, before[name]) for name, value in
               _state(task.network, optimizer).items())  # fmt: skip


def _state(network: nn.Module, optimizer: GuardedOptimizer) -> dict[str, Tensor]:
    state = {name: each.clone() for name, each in network.state_dict().items()}
    for index, moments in optimizer.optimizer.state_dict()["state"].items():
        state |= {f"{index}.{name}": each.clone() for name, each in moments.items()}
    return state | {"random": random_states()["torch"].clone()}


def test_a_resume_goes_on_with_the_sizes_that_fitted(tmp_path: Path) -> None:
    train(SizedTask(8, 2, {0: 4}), SETTINGS, tmp_path / "unbroken")

    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == 11:
            raise KeyboardInterrupt

    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(SizedTask(8, 2, {0: 4}), SETTINGS, broken, on_step=on_step)
    task = SizedTask(8, 2, {0: 99})  # more memory than before
    train(task, SETTINGS, broken, resume=True)
    assert set(task.tried) == {(2, 2)}
    assert read_run(broken)["memory"] == {
        "asked": {"batch": 8, "prompts": 2}, "used": {"batch": 2, "prompts": 2},
    }  # fmt: skip
    assert len(losses(broken)) == 20
    for loss, expected in zip(losses(broken), losses(tmp_path / "unbroken"), strict=True):
        assert loss == pytest.approx(expected, rel=0, abs=1e-6)


def test_memory_that_others_take_later_halves_the_batch_in_the_run(tmp_path: Path) -> None:
    messages: list[str] = []
    task = SizedTask(8, 1, {0: 8, 12: 3})
    state = train(task, SETTINGS, tmp_path, on_message=messages.append)
    assert (state.ended, state.step, state.skipped) == ("finished", 20, 0)
    assert task.tried[:13] == [(8, 1)] * 13  # the trial and steps 0 to 11
    assert task.tried[13:] == [(8, 1), (4, 1), *[(2, 1)] * 8]
    assert len([text for text in messages if "does not fit" in text]) == 2
    assert read_run(tmp_path)["memory"]["used"] == {"batch": 2, "prompts": 1}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (SizedTask(4, 2, {0: 0}), "one step of sized with batch 1 and prompts 1 does not fit"),
        (LineTask(), "one step of line does not fit into the memory of this machine"),
    ],
    ids=["sizes", "no sizes"],
)
def test_a_step_that_never_fits_says_what_to_do(
    tmp_path: Path, task: LineTask, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> Mapping[str, Tensor]:
        raise MemoryError

    if not isinstance(task, SizedTask):
        monkeypatch.setattr(task, "loss", full)
    with pytest.raises(TrainingError, match=message) as caught:
        train(task, SETTINGS, tmp_path)
    assert "Stop other processes" in str(caught.value)
    assert "`lotline doctor`" in str(caught.value)
    assert not (tmp_path / "run.json").exists()


def test_data_that_do_not_fit_are_an_error_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(entry, "build_training", full)
    with pytest.raises(TrainingError, match="too little memory to load or judge") as caught:
        entry.run_training(entry.TrainOptions("sam3-tiny", tmp_path), lambda _: None)
    assert "`lotline doctor`" in str(caught.value)


def test_another_error_is_not_a_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(_: int) -> Mapping[str, Tensor]:
        raise RuntimeError("shapes cannot be multiplied")

    task = SizedTask(8, 4, {0: 99})
    monkeypatch.setattr(task, "loss", wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        train(task, SETTINGS, tmp_path)
    assert task.sizes["batch"] == 8


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("Allocation on device"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("not enough memory: you tried to allocate 8 bytes."), True),
        (MemoryError(), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_recognized(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) == expected


def test_an_attempt_below_the_size_halves_what_it_used(caplog: pytest.LogCaptureFixture) -> None:
    ladder = MemoryLadder({"chips": 16, "prompts": 3}, "the GPU")
    with caplog.at_level(logging.WARNING):
        assert ladder.halve({"chips": 5})
        assert ladder.sizes == {"chips": 3, "prompts": 3}
        assert ladder.halve({"chips": 1})
        assert ladder.sizes == {"chips": 3, "prompts": 2}
        assert ladder.halve({"chips": 1})
        assert not ladder.halve({"chips": 1})
    assert caplog.messages[0].startswith("chips 5 does not fit into the memory of the GPU: chips 3")
    assert ladder.asked == {"chips": 16, "prompts": 3}


def test_a_small_batch_keeps_its_mix() -> None:
    assert [split_batch(8, 0.5, step) for step in range(3)] == [(4, 4)] * 3
    for batch in (1, 2, 3, 5):
        parts = [split_batch(batch, 1 / 8, step) for step in range(800)]
        assert all(rest + part == batch and min(rest, part) >= 0 for rest, part in parts)
        assert sum(part for _, part in parts) == batch * 100
    assert split_batch(6, 0.0, 4) == (6, 0)


# A process with little address space, in which the large batches really cannot be allocated.
CHILD = """
import resource, sys
from pathlib import Path
import torch
from torch import nn
from detection.training.loop import train
from detection.training.run_record import read_run
from detection.training.settings import TrainingSettings
from detection.training.task import decay_groups

class Wide:
    name, data_sha256, sizes = "wide", "00", {"batch": 64}
    network = nn.Linear(1, 1 << 18, bias=False)
    def resize(self, sizes):
        self.sizes = sizes
    def loss(self, step):
        return {"square": self.network(torch.ones(self.sizes["batch"], 1)).square().mean()}
    def parameter_groups(self):
        return decay_groups(self.network.named_parameters(), 0.0)
    def batch_name(self, step):
        return "ones"

torch.set_num_threads(1)
settings = TrainingSettings(steps=2, ema_decay=0, checkpoint_every=9)
train(Wide(), settings, Path(sys.argv[1]) / "first")  # loads all that a step needs
used = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmSize" in line)
limit = (used << 10) + (50 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
folder = Path(sys.argv[1]) / "short"
print(train(Wide(), settings, folder).ended, read_run(folder)["memory"]["used"]["batch"])
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_real_lack_of_memory_on_a_cpu(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended, batch = done.stdout.split()
    assert ended == "finished"
    # A step keeps the batch three times, of 1 MiB a row.
    assert 1 <= int(batch) <= 32

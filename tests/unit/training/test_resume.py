"""A run that was killed, stopped or out of disk goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from smalldisk import small_disk
from torch import Tensor
from trainingtasks import LineTask

from detection.errors import CheckpointError, TrainingError
from detection.training.checkpoints import Checkpoints
from detection.training.loop import StepMetrics, TrainedState, train
from detection.training.run_record import read_metrics
from detection.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = TrainingSettings(
    steps=40, checkpoint_every=10, read_every=4, learning_rate=1e-2, keep_last=2
)
# One before the kill and one after the checkpoint that it goes back to.
BAD_STEPS = (5, 22)
# Trains like `unbroken`, in a process that ends in the way of its second argument.
CHILD = """
import io, os, signal, sys
from pathlib import Path
import torch
from trainingtasks import LineTask
from detection.training import checkpoints
from detection.training.loop import train
from test_resume import BAD_STEPS, SETTINGS

how = sys.argv[2]

def on_step(metrics):
    if how == "at a step" and metrics.step == 27:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "by Ctrl-C" and metrics.step == 27:
        os.kill(os.getpid(), signal.SIGINT)

def save_half(state, file):
    whole = io.BytesIO()
    save(state, whole)
    if "00000020" in file.name:
        file.write(whole.getvalue()[:3000])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    file.write(whole.getvalue())

save = torch.save
if how == "in a save":
    torch.save = save_half
print(train(LineTask(bad_steps=BAD_STEPS), SETTINGS, Path(sys.argv[1]), on_step=on_step).ended)
"""


def run_child(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), how],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    state = train(LineTask(bad_steps=BAD_STEPS), SETTINGS, folder)
    assert (state.ended, state.step, state.skipped) == ("finished", 40, 2)
    return folder


def resume(folder: Path, settings: TrainingSettings = SETTINGS) -> TrainedState:
    return train(LineTask(bad_steps=BAD_STEPS), settings, folder, resume=True)


def final_state(folder: Path) -> dict[str, Tensor]:
    loaded = Checkpoints(folder, "line").load_last()
    assert loaded is not None
    manifest, state = loaded
    assert manifest.step == 40
    moments = state["optimizer"]["state"]
    return (
        {f"network.{name}": each for name, each in state["network"].items()}
        | {f"average.{name}": each for name, each in state["average"].items()}
        | {f"{index}.{name}": each for index in moments for name, each in moments[index].items()}
    )


def assert_same_run(folder: Path, unbroken: Path) -> None:
    """The same losses at every step to 1e-6, and the same network, average and moments."""
    rows, expected = read_metrics(folder), read_metrics(unbroken)
    assert [row["step"] for row in rows] == list(range(40))
    for row, other in zip(rows, expected, strict=True):
        assert row["skipped"] == other["skipped"]
        assert row["lr"] == other["lr"]
        assert (row["loss"] is None) == (row["step"] in BAD_STEPS)
        for name in ("loss", "norm") if row["loss"] is not None else ():
            assert row[name] == pytest.approx(other[name], rel=0, abs=1e-6)
    state, expected_state = final_state(folder), final_state(unbroken)
    assert state.keys() == expected_state.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected_state[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("how", "last"), [("at a step", 20), ("in a save", 10)])
def test_a_killed_run_resumes_exactly(tmp_path: Path, unbroken: Path, how: str, last: int) -> None:
    assert run_child(tmp_path, how).returncode == -signal.SIGKILL
    checkpoints = Checkpoints(tmp_path, "line").folders()
    assert checkpoints[-1].name == f"step-{last:08d}"
    leftovers = list((tmp_path / "checkpoints").glob(".draft-*"))
    assert bool(leftovers) == (how == "in a save")
    assert resume(tmp_path).ended == "finished"
    assert_same_run(tmp_path, unbroken)
    assert not list((tmp_path / "checkpoints").glob(".draft-*"))


def test_ctrl_c_saves_and_ends(tmp_path: Path, unbroken: Path) -> None:
    done = run_child(tmp_path, "by Ctrl-C")
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
    # Step 27 is reported when step 28 was done.
    assert Checkpoints(tmp_path, "line").folders()[-1].name == "step-00000028"
    resume(tmp_path)
    assert_same_run(tmp_path, unbroken)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == 13:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(LineTask(), SETTINGS, tmp_path, on_step=on_step)
    assert signal.getsignal(signal.SIGINT) is before
    assert Checkpoints(tmp_path, "line").folders()[-1].name == "step-00000010"


def test_a_time_limit_saves_and_ends(tmp_path: Path, unbroken: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.1
        return now

    limited = replace(SETTINGS, time_limit_s=3.0)
    task = LineTask(bad_steps=BAD_STEPS)
    state = train(task, limited, tmp_path, clock=clock)
    assert state.ended == "time limit"
    assert 0 < state.step < 40
    assert Checkpoints(tmp_path, "line").folders()[-1].name == f"step-{state.step:08d}"
    assert resume(tmp_path).ended == "finished"
    assert_same_run(tmp_path, unbroken)


def test_a_run_by_seconds_follows_the_clock_over_a_resume(tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.05
        return now

    settings = replace(SETTINGS, steps=None, seconds=6.0, time_limit_s=3.0)
    first = train(LineTask(), settings, tmp_path, clock=clock)
    assert first.ended == "time limit"
    assert first.seconds < 6
    second = train(
        LineTask(), replace(settings, time_limit_s=None), tmp_path, resume=True, clock=clock
    )
    assert second.ended == "finished"
    assert second.seconds >= 6
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == list(range(second.step))
    after_warm_up = [row["lr"] for row in rows if row["seconds"] > 0.05 * 6]
    assert after_warm_up == sorted(after_warm_up, reverse=True)
    assert after_warm_up[-1] < 0.05 * settings.learning_rate


def test_a_full_disk_loses_no_checkpoint(tmp_path: Path, unbroken: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as disk:
        filler = disk / "filler"

        def on_step(metrics: StepMetrics) -> None:
            if metrics.step == 12:
                with filler.open("wb") as file:
                    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
                    file.write(b"0" * max(0, free - 8192))

        run = disk / "run"
        with pytest.raises(CheckpointError, match="step 20 cannot be saved") as caught:
            train(LineTask(bad_steps=BAD_STEPS), SETTINGS, run, on_step=on_step)
        assert "the last one is step-00000010" in str(caught.value)
        assert not list((run / "checkpoints").glob(".draft-*"))
        filler.unlink()
        resume(run)
        assert_same_run(run, unbroken)


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, unbroken: Path
) -> None:
    run_child(tmp_path, "by Ctrl-C")
    last = Checkpoints(tmp_path, "line").folders()[-1] / "state.pt"
    last.write_bytes(last.read_bytes()[:-100])
    messages: list[str] = []
    task = LineTask(bad_steps=BAD_STEPS)
    train(task, SETTINGS, tmp_path, resume=True, on_message=messages.append)
    assert "step-00000028/state.pt is damaged" in messages[0]
    assert "the one before it is used" in messages[0]
    assert messages[1].startswith("resumed after step 20")
    assert_same_run(tmp_path, unbroken)
    assert (tmp_path / "checkpoints" / "damaged-step-00000028" / "state.pt").is_file()


def test_an_existing_run_is_not_overwritten(unbroken: Path) -> None:
    with pytest.raises(TrainingError, match="pass --resume to continue it"):
        train(LineTask(), SETTINGS, unbroken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 9}, "was trained with seed=0, now 9"),
        ({"steps": 50}, "was trained with steps=40, now 50"),
        ({"ema_decay": 0.0}, "was trained with ema_decay=0.998, now 0.0"),
    ],
)
def test_other_settings_are_refused(unbroken: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        resume(unbroken, replace(SETTINGS, **change))  # type: ignore[arg-type]


def test_other_data_are_refused(unbroken: Path) -> None:
    task = LineTask(bad_steps=BAD_STEPS)
    task.data_sha256 = "0" * 64
    with pytest.raises(CheckpointError, match="was trained on other data"):
        train(task, SETTINGS, unbroken, resume=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    errors: list[str] = []

    def on_step(metrics: StepMetrics) -> None:
        if metrics.step == 0:
            with pytest.raises(TrainingError) as caught:
                train(LineTask(), SETTINGS, tmp_path, resume=True)
            errors.append(str(caught.value))

    train(LineTask(), SETTINGS, tmp_path, on_step=on_step)
    assert "another process trains into" in errors[0]


def test_a_resume_of_nothing_starts(tmp_path: Path) -> None:
    assert resume(tmp_path / "new").ended == "finished"


def test_a_finished_run_stays_as_it_is(unbroken: Path) -> None:
    before = final_state(unbroken)
    assert resume(unbroken).step == 40
    for name, value in final_state(unbroken).items():
        assert torch.equal(value, before[name])

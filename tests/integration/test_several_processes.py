"""Several processes train as one with the whole batch would, and agree on all that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from labelledchips import SMALL, write_labelled_chips, write_small_sam3
from servers.mlflow import TrackedRuns, runs_in_memory
from trainingtasks import LineTask, SharedLine

from detection.errors import CheckpointError, TrainingError
from detection.training.checkpoints import Checkpoints
from detection.training.loop import train
from detection.training.ranks import Ranks, open_ranks
from detection.training.run_record import read_metrics, read_run
from detection.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = TrainingSettings(
    steps=40, checkpoint_every=10, read_every=4, learning_rate=1e-2, keep_last=2
)
# One process of a training of `SharedLine`; its arguments are the folder and what happens.
CHILD = """
import os, signal, sys
from pathlib import Path
from trainingtasks import LineTask, SharedLine
from detection.errors import TrainingError
from detection.training.loop import train
from detection.training.ranks import open_ranks
from test_several_processes import SETTINGS

folder, what = Path(sys.argv[1]), sys.argv[2]
with open_ranks("cpu") as (ranks, device):
    def on_loss(step):
        if what == "stop" and step == 23 and ranks.number == 1:
            os.kill(os.getpid(), signal.SIGINT)
    bad = {"bad": [(7, 3)], "diverge": [(step, 3) for step in range(5, 20)]}.get(what, [])
    task = LineTask() if what == "not shared" else SharedLine(bad=bad, on_loss=on_loss)
    say = lambda text: print(f"rank {ranks.number}: {text}", flush=True)
    try:
        state = train(task, SETTINGS, folder, resume=what == "resume", on_message=say, ranks=ranks)
        say(state.ended)
    except TrainingError as error:
        say(f"{type(error).__name__}: {error}")
"""


def torchrun(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
         "--nproc-per-node", "2", *words],
        env=os.environ | {
            "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **more,
        },
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def line(folder: Path, what: str, **more: str) -> str:
    """What two processes say that train `SharedLine`."""
    script = folder.parent / "child.py"
    script.write_text(CHILD)
    done = torchrun(str(script), str(folder), what, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_state(folder: Path) -> dict[str, Any]:
    loaded = Checkpoints(folder, read_run(folder)["task"]).load_last()
    assert loaded is not None
    return loaded[1]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    said = line(folder, "plain")
    assert said.count("finished") == 2
    return folder


@pytest.mark.parametrize("tier", ["heads", pytest.param("mask", marks=pytest.mark.long)])
def test_two_processes_take_the_steps_of_one_with_twice_the_batch(
    tmp_path: Path, tier: str
) -> None:
    write_labelled_chips(tmp_path / "data", range(4), validation=(3,))
    write_labelled_chips(tmp_path / "first", (8, 9))
    start = write_small_sam3(tmp_path / "start")
    config = start / "config.json"  # the masks of dropout would be others
    config.write_text(config.read_text().replace('"dropout": 0.1', '"dropout": 0.0'))
    settings = SMALL | {
        "start": str(start), "tier": tier, "rehearsal": str(tmp_path / "first"),
        "checkpoint_every": "4", "read_every": "1",
    }  # fmt: skip

    def words(out: Path, batch: int) -> list[str]:
        sets = [f"--set={name}={value}" for name, value in (settings | {"batch": batch}).items()]
        return ["-m", "detection.training", "sam3-decoder", "--data", str(tmp_path / "data"),
                "--device", "cpu", "--steps", "4", "--out", str(out), *sets]  # fmt: skip

    one, two = tmp_path / "one", tmp_path / "two"
    alone = subprocess.run(
        [sys.executable, *words(one, 4)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    done = torchrun(*words(two, 2))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is proven") == 1, "the first rank alone judges and reports"
    for a, b in zip(read_metrics(one), read_metrics(two), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["norm"] == pytest.approx(a["norm"], rel=1e-4)
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-4)
    states = [last_state(folder)["network"] for folder in (one, two)]
    for name, tensor in states[0].items():
        assert torch.allclose(states[1][name], tensor, rtol=0, atol=1e-5), name
    assert (two / "weights").is_dir()
    assert read_run(two)["ended"]["how"] == "finished"


def test_a_signal_to_one_process_ends_all_and_the_resume_is_exact(
    unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    said = line(folder, "stop")
    assert said.count("interrupted") == 2
    assert [path.name for path in Checkpoints(folder, "").folders()][-1] == "step-00000024"
    assert line(folder, "resume").count("finished") == 2
    rows = [(row["step"], row["loss"]) for row in read_metrics(folder)]
    assert rows == [(row["step"], row["loss"]) for row in read_metrics(unbroken)]
    assert [step for step, _ in rows] == list(range(40)), "one process writes them"
    states = [last_state(each) for each in (folder, unbroken)]
    for name, tensor in states[0]["network"].items():
        assert torch.equal(states[1]["network"][name], tensor), name
    first, second = states[0]["random_of_ranks"]
    assert not torch.equal(first["torch"], second["torch"]), "each has its own dropout"


def test_a_bad_image_of_one_process_is_skipped_by_all(unbroken: Path, tmp_path: Path) -> None:
    said = line(tmp_path / "run", "bad")
    assert "rank 0: step 7: the loss (square) is not finite. Batch: points-7.csv" in said
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in rows if row["skipped"]] == [7]
    before = read_metrics(unbroken)
    assert [row["loss"] for row in rows[:7]] == [row["loss"] for row in before[:7]]
    assert said.count("finished") == 2


@pytest.mark.long
def test_all_processes_end_where_the_training_diverges(tmp_path: Path) -> None:
    said = line(tmp_path / "run", "diverge")
    for rank in (0, 1):
        assert f"rank {rank}: TrainingDiverged: step 9" in said


def test_what_several_processes_cannot_do(unbroken: Path, tmp_path: Path) -> None:
    said = line(tmp_path / "run", "not shared")
    assert "TrainingError: line cannot be trained by several processes" in said
    with pytest.raises(CheckpointError, match="2 processes trained the run, and now there are 1"):
        train(SharedLine(), SETTINGS, unbroken, resume=True)
    environment = pytest.MonkeyPatch()
    with environment.context() as changed:
        changed.setenv("WORLD_SIZE", "2")
        with pytest.raises(TrainingError, match="take a GPU each"), open_ranks("cuda:1"):
            pass


@pytest.mark.long
def test_one_process_sends_the_run_to_mlflow(tmp_path: Path) -> None:
    with runs_in_memory() as (address, _):
        line(tmp_path / "run", "plain", MLFLOW_TRACKING_URI=address)
        [run] = TrackedRuns(address).all()
        assert run["status"] == "FINISHED"
        assert len(TrackedRuns(address).curve(run["id"], "loss")) == 40


def test_one_process_alone_exchanges_nothing(tmp_path: Path) -> None:
    ranks = Ranks()
    assert ranks.sum([1.0, 2.0]) == [1.0, 2.0]
    assert ranks.gather("a") == ["a"]
    value = torch.ones(2, requires_grad=True)
    assert not ranks.average(value).requires_grad
    state = train(SharedLine(), replace(SETTINGS, steps=3), tmp_path / "run", ranks=ranks)
    assert state.ended == "finished"
    assert "random_of_ranks" not in last_state(tmp_path / "run")
    assert not hasattr(LineTask(), "share")

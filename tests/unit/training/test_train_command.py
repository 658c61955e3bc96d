"""`lotline train` and `python -m detection.training`, with a small task in place of sam3-tiny."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from detection.errors import TrainingError
from detection.training import entry, recipes
from detection.training.__main__ import main
from detection.training.run_record import append_metrics, read_metrics, read_run
from detection.training.settings import duration_s
from pipeline.cli.train import train
from pipeline.report.training_curves import draw_curves

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"torch", "numpy", "detection"}:
            if not any("torch" in part or "numpy" in part for part in sys.modules if part == name):
                raise ModuleNotFoundError(f"blocked {name}", name=name)
import torch, numpy, torch._dynamo
sys.meta_path.insert(0, Block())
import detection.training.__main__
"""


@pytest.fixture(autouse=True)
def small_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes._RECIPES, "sam3-tiny", ("trainingtasks", "green pixels"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(train, ["sam3-tiny", *arguments])


def test_a_run_from_the_start_to_the_weights(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path), "--set", "read_every=5")
    assert done.exit_code == 0, done.output
    assert "Finished: sam3-tiny after 30 steps" in done.stdout
    assert f"Best weights: {tmp_path}/checkpoints/step-000000" in done.stdout
    assert (tmp_path / "weights" / "model.safetensors").is_file()
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(30))
    described = read_run(tmp_path)
    assert described["settings"]["read_every"] == 5
    assert described["recipe_settings"] == {"colours": 3}
    assert described["ended"]["how"] == "finished"
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    assert picture.shape[:2] == (840, 1320)


@pytest.mark.parametrize(("start_score", "worse"), [(1e9, True), (-1.0, False), (None, False)])
def test_weights_that_became_worse_are_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_score: float | None, worse: bool
) -> None:
    built = recipes.build_training

    def with_start(name: str, request: recipes.RecipeRequest) -> recipes.Training:
        training = built(name, request)
        resolved = {**training.resolved, "start_score": start_score}
        return dataclasses.replace(training, resolved=resolved)

    monkeypatch.setattr(entry, "build_training", with_start)
    done = run("--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert ("worse than the weights to start from (score 1000000000.0)" in done.output) is worse


def test_a_profile_trains_nothing(tmp_path: Path) -> None:
    done = run("--out", str(tmp_path), "--profile", "2")
    assert done.exit_code == 0, done.output
    assert f"Wrote {tmp_path / 'profile.txt'}" in done.stdout
    text = (tmp_path / "profile.txt").read_text()
    assert "colour on CPU" in text
    assert "waiting after each phase: forward" in text
    assert not (tmp_path / "checkpoints").exists()
    assert main(["sam3-tiny", "--out", str(tmp_path), "--profile", "1"]) == 0
    refused = main(["sam3-tiny", "--out", str(tmp_path), "--profile", "1", "--resume"])
    assert refused == 2


def test_torchrun_is_for_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run("--out", str(tmp_path / "run"))
    assert done.exit_code == 2
    assert "start `-m detection.training` with it instead" in done.output
    assert not (tmp_path / "run").exists()


def test_a_time_limit_then_a_resume(tmp_path: Path) -> None:
    first = run("--out", str(tmp_path), "--time-limit", "0.0001s")
    assert first.exit_code == 0, first.output
    assert "Stopped at the time limit; continue with --resume" in first.stdout
    again = run("--out", str(tmp_path), "--seed", "0")
    assert isinstance(again.exception, TrainingError)
    assert "pass --resume to continue it" in str(again.exception)
    second = run("--out", str(tmp_path), "--resume")
    assert second.exit_code == 0, second.output
    assert "after 30 steps" in second.stdout


def test_weights_are_proven_later(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path), "--no-prove").exit_code == 0
    assert not (tmp_path / "weights").exists()
    done = run("--out", str(tmp_path), "--measure-only")
    assert done.exit_code == 0, done.output
    assert "Measured: sam3-tiny after 30 steps" in done.stdout
    assert json.loads((tmp_path / "best.json").read_text())["proven"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "5", "--length", "5m"), "give either --steps or --length"),
        (("--length", "soon"), "'soon' is not a duration: write 90s, 25m or 1.5h"),
        (("--set", "colour=3"), "no setting is named 'colour'"),
        (("--set", "seed=3"), "set seed by its own option"),
        (("--set", "keep_last=0"), "keep_last is 0, but must be at least 1"),
        (("--measure-only",), "has no checkpoint that can be read: train first"),
        (("--measure-only", "--no-prove"), "leave out --no-prove"),
    ],
)
def test_wrong_options_say_what_is_right(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run("--out", str(tmp_path), *arguments)
    assert isinstance(done.exception, TrainingError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--set", "learning_rate=abc"], "learning_rate=abc: the value must be"),
        (["--device", "cuda:7"], "torch finds no CUDA device here"),
        (["--out", __file__], "is a file: give a folder"),
    ],
)
def test_what_needs_no_data_is_checked_before_they_are_loaded(
    wrong: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(entry, "build_training", lambda *_: pytest.fail("data were loaded"))
    done = run("--out", str(tmp_path / "run"), *wrong)
    assert isinstance(done.exception, TrainingError)
    assert message in str(done.exception)


def test_the_module_trains_as_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sam3-tiny", "--out", str(tmp_path / "a")]) == 0
    assert "finished after step 30" in capsys.readouterr().err
    assert main(["sam3-tiny", "--out", str(tmp_path / "a")]) == 2
    assert "error: " in capsys.readouterr().err
    run("--out", str(tmp_path / "b"))
    losses = [[row["loss"] for row in read_metrics(tmp_path / name)] for name in ("a", "b")]
    assert losses[0] == losses[1]


def test_the_trainer_needs_torch_and_numpy_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("25m", 1500), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


def test_curves_of_a_run_that_diverged(tmp_path: Path) -> None:
    rows = [
        {"step": step, "seconds": 1.0, "lr": 1e-3, "loss": None if step > 5 else 1.0 / (step + 1),
         "norm": None if step > 5 else 1.0, "skipped": step > 5, "terms": {"mask$": None}}
        for step in range(9)
    ]  # fmt: skip
    append_metrics(tmp_path, rows)
    path = draw_curves(tmp_path)
    assert path is not None
    assert np.ptp(matplotlib.image.imread(path)) > 0
    assert draw_curves(tmp_path / "empty") is None

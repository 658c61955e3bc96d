"""A training is sent to an MLflow server: all of it, sooner or later, and never in its way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from servers.mlflow import (
    RunsInMemory,
    TrackedRuns,
    mlflow_server,
    real_mlflow,
    runs_in_memory,
)
from trainingtasks import ColourExport, ColourTask, LineTask

from detection.errors import TrackingError, TrainingDiverged, TrainingError
from detection.training.loop import StepMetrics, train
from detection.training.run_record import read_best, read_metrics
from detection.training.settings import TrainingSettings
from detection.training.tracking import __main__ as send_later
from detection.training.tracking import tracked_run
from detection.training.tracking.sent import read_sent
from detection.training.tracking.settings import tracking_settings

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = TrainingSettings(steps=30, checkpoint_every=10, learning_rate=0.5, ema_decay=0.5)
CHILD = """
import os, signal, sys
from pathlib import Path
from trainingtasks import LineTask
from detection.training.loop import train
from test_tracking import SETTINGS

def on_step(metrics):
    if metrics.step == 25:
        os.kill(os.getpid(), signal.SIGKILL)
train(LineTask(), SETTINGS, Path(sys.argv[1]), on_step=on_step)
"""


@pytest.fixture(params=["in memory", "mlflow"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrackedRuns]:
    if request.param == "in memory":
        with runs_in_memory() as (address, _):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            yield TrackedRuns(address)
        return
    program = real_mlflow()
    if program is None:
        pytest.skip("MLflow is not installed: set LOTLINE_TEST_MLFLOW to its program")
    with mlflow_server(tmp_path / "server", program) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}/")
        yield TrackedRuns(address)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TrackedRuns, RunsInMemory]]:
    with runs_in_memory() as (address, server):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield TrackedRuns(address), server


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_metrics(folder)]


def test_parameters_curves_and_weights_are_sent(
    server: TrackedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "roofs & lawns")
    said: list[str] = []
    folder = tmp_path / "first"
    train(
        ColourTask(), SETTINGS, folder, export=ColourExport(), on_message=said.append,
        recipe_settings={"tier": "heads", "long": "x" * 700},
    )  # fmt: skip
    assert not [each for each in said if "MLflow" in each]
    [run] = server.all("roofs & lawns")
    assert (run["name"], run["status"]) == ("first", "FINISHED")
    params = run["params"]
    assert params["learning_rate"] == "0.5"
    assert params["task.tier"] == "heads"
    assert params["task.long"] == "x" * 500
    assert params["task"] == "colour"
    assert server.curve(run["id"], "loss") == losses(folder)
    assert server.curve(run["id"], "loss/entropy") == losses(folder)
    best = read_best(folder)
    assert [step for step, _ in server.curve(run["id"], "judge/score")] == [10, 20, 30]
    assert dict(server.curve(run["id"], "judge/iou"))[best["step"]] == pytest.approx(best["score"])
    assert run["tags"]["lotline.weights"] == f"checkpoints/{best['checkpoint']}/weights"
    assert run["tags"]["lotline.weights_files"] == "model.safetensors"
    assert run["tags"]["lotline.weights_sha256"] == best["weights_sha256"]


def test_a_killed_training_and_its_resume_are_one_run(server: TrackedRuns, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    paths = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert send_later.main([str(folder)]) == 0
    [run] = server.all()
    assert run["status"] == "KILLED"
    sent = len(server.curve(run["id"], "loss"))
    assert sent == len(read_metrics(folder)) > 0
    train(LineTask(), SETTINGS, folder, resume=True)
    [run] = server.all()
    assert run["status"] == "FINISHED"
    assert dict(server.curve(run["id"], "loss")) == dict(losses(folder))
    assert {step for step, _ in server.curve(run["id"], "loss")} == set(range(30))


def test_without_a_server_the_training_goes_on_and_the_next_one_sends_it(
    memory: tuple[TrackedRuns, RunsInMemory], tmp_path: Path
) -> None:
    runs, server = memory
    server.is_down = True
    said: list[str] = []
    state = train(LineTask(), SETTINGS, tmp_path / "one", on_message=said.append)
    assert state.ended == "finished"
    assert [each for each in said if "does not answer" in each and "the training goes on" in each]
    assert any("the next training beside it sends the rest" in each for each in said)
    server.is_down = False
    train(LineTask(seed=4), SETTINGS, tmp_path / "two")
    found = {run["name"]: run for run in runs.all()}
    assert {name: run["status"] for name, run in found.items()} == {
        "one": "FINISHED", "two": "FINISHED",
    }  # fmt: skip
    for name, run in found.items():
        assert runs.curve(run["id"], "loss") == losses(tmp_path / name)
    assert read_sent(tmp_path / "one").is_complete  # type: ignore[union-attr]


def test_a_server_that_goes_away_gets_the_rest_later(
    memory: tuple[TrackedRuns, RunsInMemory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, server = memory
    monkeypatch.setattr(tracked_run, "_EVERY_S", 0.01)

    def goes_away(_: StepMetrics) -> None:
        while not server.runs:  # until the first attempt has come
            time.sleep(0.01)
        server.is_down = True

    folder = tmp_path / "run"
    train(LineTask(), SETTINGS, folder, on_step=goes_away)
    [first] = server.runs.values()
    assert first["info"]["status"] == "RUNNING"
    server.is_down = False
    assert send_later.main([str(folder)]) == 0
    [run] = runs.all()
    assert run["status"] == "FINISHED"
    assert runs.curve(run["id"], "loss") == losses(folder)
    before = dict(server.runs[run["id"]])
    assert send_later.main([str(folder)]) == 0, "and nothing changes"
    assert server.runs == {run["id"]: before}


def test_a_server_that_never_answers_delays_only_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked_run, "_END_S", 0.05)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        state = train(LineTask(), SETTINGS, tmp_path / "run", on_message=said.append)
    assert (state.ended, state.step) == ("finished", 30)
    assert any("has not all of" in each for each in said)
    sent = read_sent(tmp_path / "run")
    assert sent is not None
    assert sent.run_id is None


def test_a_run_that_the_server_refuses_does_not_stop_the_others(
    memory: tuple[TrackedRuns, RunsInMemory], tmp_path: Path
) -> None:
    runs, server = memory
    server.is_down = True
    for name in ("a", "b", "c"):
        train(LineTask(), SETTINGS, tmp_path / name)
    server.is_down = False
    (tmp_path / "a" / "run.json").unlink()
    sent = json.loads((tmp_path / "b" / "mlflow.json").read_text())
    (tmp_path / "b" / "mlflow.json").write_text(json.dumps(sent | {"run_id": "deleted"}))
    said: list[str] = []
    train(LineTask(), SETTINGS, tmp_path / "d", on_message=said.append)
    assert {run["name"] for run in runs.all()} == {"c", "d"}
    assert any(f"{tmp_path / 'a'} is not sent to MLflow" in each for each in said)
    [refused] = [each for each in said if "refuses" in each]
    assert str(tmp_path / "b") in refused
    assert "RESOURCE_DOES_NOT_EXIST" in refused


def test_a_training_that_diverges_failed(
    memory: tuple[TrackedRuns, RunsInMemory], tmp_path: Path
) -> None:
    runs, _ = memory
    with pytest.raises(TrainingDiverged):
        train(LineTask(bad_steps=range(10, 20)), SETTINGS, tmp_path / "run")
    [run] = runs.all()
    assert run["status"] == "FAILED"
    steps = [step for step, _ in runs.curve(run["id"], "loss")]
    assert steps == list(range(10)), "what is not finite is not sent"
    assert sum(value for _, value in runs.curve(run["id"], "skipped")) == 10
    with pytest.raises(TrainingError, match="already has a run"):  # which is not a failure of it
        train(LineTask(), replace(SETTINGS, steps=5), tmp_path / "run")
    assert [each["status"] for each in runs.all()] == ["FAILED"]


def test_curves_of_a_wide_loss_are_sent_in_parts(
    memory: tuple[TrackedRuns, RunsInMemory], tmp_path: Path
) -> None:
    runs, _ = memory
    settings = replace(SETTINGS, steps=700, checkpoint_every=700, read_every=700)
    train(LineTask(), settings, tmp_path / "run")
    [run] = runs.all()
    assert [step for step, _ in runs.curve(run["id"], "loss/square")] == list(range(700))


@pytest.mark.parametrize(
    ("uri", "message"),
    [("file:/tmp/runs", "mlflow server"), ("databricks", "http://"), ("http://a:b", "address")],
)
def test_what_is_no_server_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said: list[str] = []
    train(LineTask(), replace(SETTINGS, steps=2), tmp_path / "run", on_message=said.append)
    assert any(message in each for each in said)
    assert send_later.main([str(tmp_path / "run")]) == 2


def test_passwords_are_in_the_header_only() -> None:
    found = tracking_settings(
        {"MLFLOW_TRACKING_URI": "https://ann:secret@mlflow.example:5000/sub/"}
    )
    assert found is not None
    assert found.uri == "https://mlflow.example:5000/sub"
    assert found.authorization == "Basic YW5uOnNlY3JldA=="
    assert "secret" not in repr(found)
    assert "YW5u" not in repr(found)
    with_token = {"MLFLOW_TRACKING_URI": "http://[::1]:1", "MLFLOW_TRACKING_TOKEN": "t"}
    token = tracking_settings(with_token)
    assert token is not None
    assert (token.uri, token.authorization) == ("http://[::1]:1", "Bearer t")
    assert tracking_settings({}) is None
    with pytest.raises(TrackingError):
        tracking_settings({"MLFLOW_TRACKING_URI": "sqlite:///runs.db"})

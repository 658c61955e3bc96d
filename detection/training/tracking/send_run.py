"""Brings a tracking server up to date with a run's folder; each part is sent once.

Parameters are run.json, curves are metrics.jsonl and the judge's figures of each checkpoint, tags
name the best weights. `mlflow.json` is written after each request, so that a process that is killed
repeats one request at most, which changes nothing there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from detection.training.run_record import PROOFS_NAME, read_best, read_run
from detection.training.tracking.rows_tail import RowsTail
from detection.training.tracking.sent import SentState, write_sent
from detection.training.tracking.server import MAX_METRICS, MAX_PARAMS, MetricPoint, MlflowServer

_TAG: Final = "lotline.run"
# Of names: MLflow takes letters, digits and these.
_OTHER: Final = re.compile(r"[^\w\-. /]", re.ASCII)
_MAX_KEY: Final = 250
# Servers before 2.8 take no more.
_MAX_VALUE: Final = 500


def send_run(folder: Path, server: MlflowServer, state: SentState, tail: RowsTail) -> None:
    """Send what the server has not.

    Args:
        tail: of metrics.jsonl.

    Raises:
        TrackingError: the server does not answer, or refuses.
        TrainingError: the folder has no run yet.
        OSError: its files cannot be read or written.
    """
    run = read_run(folder)
    if state.run_id is None:
        _create(folder, server, state)
    if not state.has_params:
        _send_params(server, state, run)
        state.has_params = True
        write_sent(folder, state)
    _send_metrics(folder, server, state, tail)
    _send_proofs(folder, server, state)
    if state.sent_status != state.status:
        if results := _results(folder):
            server.log(_id(state), tags=results)
        server.set_status(_id(state), state.status, state.ended_ms)
        state.sent_status = state.status
        write_sent(folder, state)


def _create(folder: Path, server: MlflowServer, state: SentState) -> None:
    experiment = server.experiment(server.settings.experiment)
    state.run_id = server.find_run(experiment, _TAG, state.key) or server.create_run(
        experiment,
        server.settings.name_of(folder),
        state.started_ms,
        {_TAG: state.key, "lotline.folder": str(folder.resolve())},
    )
    write_sent(folder, state)


def _send_params(server: MlflowServer, state: SentState, run: Mapping[str, Any]) -> None:
    params = list(run_params(run).items())
    for first in range(0, len(params), MAX_PARAMS):
        server.log(_id(state), params=dict(params[first : first + MAX_PARAMS]))


def run_params(run: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a run's record: the trainer's settings, "task.…", and what it ran on."""
    own = {
        name: value for name, value in run.items()
        if name not in ("settings", "recipe_settings", "ended", "memory")
    }  # fmt: skip
    recipe = {f"task.{name}": value for name, value in run.get("recipe_settings", {}).items()}
    used = run.get("memory", {}).get("used", {})
    memory = {f"used.{name}": value for name, value in used.items()}
    everything = {**own, **run.get("settings", {}), **recipe, **memory}
    return {_key(name): _text(value) for name, value in everything.items()}


def _send_metrics(folder: Path, server: MlflowServer, state: SentState, tail: RowsTail) -> None:
    rows = iter(tail.new_rows())
    try:
        waiting: list[MetricPoint] = []
        last = state.next_step - 1
        for row in rows:
            if row["step"] < state.next_step:
                continue
            points = list(_points(row, state.started_ms))
            if len(waiting) + len(points) > MAX_METRICS:
                _send_points(folder, server, state, waiting, last)
                waiting = []
            waiting += points[:MAX_METRICS]
            last = row["step"]
        if waiting:
            _send_points(folder, server, state, waiting, last)
    except BaseException:
        tail.rewind()
        raise


def _send_points(
    folder: Path, server: MlflowServer, state: SentState, points: list[MetricPoint], last: int
) -> None:
    server.log(_id(state), points)
    state.next_step = last + 1
    write_sent(folder, state)


def _points(row: Mapping[str, Any], started_ms: int) -> Iterator[MetricPoint]:
    """The numbers of a step; those that are not finite are left out."""
    at_ms = started_ms + round(row["seconds"] * 1000)
    numbers = {name: row.get(name) for name in ("loss", "norm", "lr")}
    numbers["skipped"] = float(bool(row.get("skipped")))
    numbers |= {f"loss/{name}": value for name, value in row.get("terms", {}).items()}
    yield from _finite_points(numbers, row["step"], at_ms)


def _send_proofs(folder: Path, server: MlflowServer, state: SentState) -> None:
    """The judge's figures of the checkpoints, also of those that are not kept."""
    for row in RowsTail(folder / PROOFS_NAME).new_rows()[state.proofs :]:
        numbers = {"judge/score": row["score"], "judge/proven": float(row["proven"])}
        numbers |= {f"judge/{name}": value for name, value in (row["figures"] or {}).items()}
        points = islice(_finite_points(numbers, row["step"], row["time_ms"]), MAX_METRICS)
        server.log(_id(state), list(points))
        state.proofs += 1
        write_sent(folder, state)


def _results(folder: Path) -> dict[str, str]:
    """The tags of the best weights; empty without any."""
    best = read_best(folder)
    if not best:
        return {}
    checkpoint = f"checkpoints/{best['checkpoint']}"
    files = sorted(path.name for path in (folder / checkpoint / "weights").glob("*"))
    found = {
        "weights": f"{checkpoint}/weights", "weights_files": ", ".join(files),
        "weights_sha256": best.get("weights_sha256"), "best_step": best.get("step"),
        "best_score": best.get("score"),
    }  # fmt: skip
    return {f"lotline.{name}": _text(value) for name, value in found.items() if value is not None}


def _finite_points(
    numbers: Mapping[str, float | None], step: int, at_ms: int
) -> Iterator[MetricPoint]:
    for name, value in numbers.items():
        if value is not None and math.isfinite(value):
            yield MetricPoint(_key(name), float(value), step, at_ms)


def _id(state: SentState) -> str:
    return state.run_id or ""


def _key(name: str) -> str:
    return _OTHER.sub("_", name)[:_MAX_KEY]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:_MAX_VALUE]

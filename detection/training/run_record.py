"""The record of a run: run.json (what ran) and metrics.jsonl (one line for each step)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detection.errors import TrainingError
from detection.training.atomic import write_text

_RUN_NAME, _METRICS_NAME = "run.json", "metrics.jsonl"


def write_run(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what runs: task, resolved settings, hash of the data, versions."""
    write_text(folder / _RUN_NAME, json.dumps(content, indent=2) + "\n")


def read_run(folder: Path) -> dict[str, Any]:
    """What ran in a folder.

    Raises:
        TrainingError: it is no folder of a run.
    """
    path = folder / _RUN_NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} is not the folder of a training run: {error}") from error
    return content


def append_metrics(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append the rows of steps. A number that is not finite is null, as JSON has no NaN.

    Raises:
        TrainingError: the file cannot be written.
    """
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    path = folder / _METRICS_NAME
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(lines)
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error}); the checkpoints stay. Free disk space, or check "
            "the permissions, then resume"
        ) from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of steps, up to a line that a killed process or a power cut left incomplete."""
    path = folder / _METRICS_NAME
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def drop_metrics(folder: Path, step: int) -> None:
    """Remove the rows from a step on, which a resumed run does again."""
    rows = [row for row in read_metrics(folder) if row["step"] < step]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_text(folder / _METRICS_NAME, lines)

"""The record of a run.

run.json has what ran, metrics.jsonl a line for each step, and proofs.jsonl one for each checkpoint
that was judged, also those that are not kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from detection.errors import TrainingError
from detection.training.atomic import write_text

METRICS_NAME: Final = "metrics.jsonl"
PROOFS_NAME: Final = "proofs.jsonl"
BEST_NAME: Final = "best.json"
LOCK_NAME: Final = ".lock"
"""Locked by the process that trains into the folder."""

_RUN_NAME: Final = "run.json"


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


def read_best(folder: Path) -> dict[str, Any]:
    """The best checkpoint with its figures; empty without one."""
    try:
        content = json.loads((folder / BEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def finite_or_null(value: float) -> float | None:
    """A number as JSON can have it: null if it is not finite."""
    return value if math.isfinite(value) else None


def append_metrics(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append the rows of steps. A number that is not finite is null, as JSON has no NaN.

    Raises:
        TrainingError: the file cannot be written.
    """
    _append(folder / METRICS_NAME, rows)


def append_proof(folder: Path, row: Mapping[str, Any]) -> None:
    """Append what was judged of a checkpoint.

    Raises:
        TrainingError: the file cannot be written.
    """
    _append(folder / PROOFS_NAME, [row])


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
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
    path = folder / METRICS_NAME
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
    write_text(folder / METRICS_NAME, lines)

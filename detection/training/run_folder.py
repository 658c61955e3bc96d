"""The folder of a run: its lock, its record, its checkpoints and a link to the best weights.

    run.json        what runs: task, resolved settings, hash of the data, sizes of a step, versions
    metrics.jsonl   step, seconds, lr, loss, norm of the gradients and every term, by step
    proofs.jsonl    whether each checkpoint is proven, and the judge's figures
    checkpoints/    see `checkpoints`
    best.json       the best checkpoint with its figures
    weights         a link to the best checkpoint's weights

All files are replaced atomically, and one process at a time trains into a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detection.errors import CheckpointError, TrainingError
from detection.training import run_record
from detection.training.atomic import DRAFT_PREFIX, remove_drafts, write_text
from detection.training.checkpoints import CheckpointManifest, Checkpoints, step_of
from detection.training.proof import (
    WEIGHTS_NAME,
    Proof,
    best_checkpoint,
    finite_row,
    prove,
    read_proof,
)
from detection.training.settings import CHANGEABLE, TrainingSettings
from detection.training.task import TrainingTask, WeightsExport


class RunFolder:
    """A run's folder, locked.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, task: TrainingTask, settings: TrainingSettings) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path, task.name)
        self._task_name, self._data_sha256 = task.name, task.data_sha256
        self._settings = settings

    def describe(
        self,
        task: TrainingTask,
        recipe_settings: Mapping[str, object],
        memory: Mapping[str, object],
    ) -> None:
        """Write down what runs; `memory` is `StepMemory.record`."""
        content = _description(task, self._settings, recipe_settings)
        run_record.write_run(self.path, content | {"memory": dict(memory)})

    def save(self, step: int, seconds: float, state: dict[str, Any]) -> Path:
        """Save a checkpoint with what identifies the run; its folder."""
        state |= {"settings": asdict(self._settings), "data_sha256": self._data_sha256}
        return self.checkpoints.save(step, seconds, state)

    def load_last(
        self, on_message: Callable[[str], None]
    ) -> tuple[CheckpointManifest, dict[str, Any]] | None:
        """The last checkpoint that can be read; None if there are none.

        Raises:
            CheckpointError: none can be read, or it is of other settings or data.
        """
        loaded = self.checkpoints.load_last(
            lambda damage: on_message(f"{damage}; the one before it is used")
        )
        if loaded is not None:
            self._check_same_run(loaded[1])
        return loaded

    def load_named(self, name: str) -> tuple[CheckpointManifest, dict[str, Any]]:
        """A checkpoint by the name of its folder.

        Raises:
            CheckpointError: it cannot be read, or is of other settings or data.
        """
        loaded = self.checkpoints.load(self.path / "checkpoints" / name)
        self._check_same_run(loaded[1])
        return loaded

    def _check_same_run(self, state: dict[str, Any]) -> None:
        if state["data_sha256"] != self._data_sha256:
            raise CheckpointError(
                f"{self.path} was trained on other data (hash {state['data_sha256'][:12]}, now "
                f"{self._data_sha256[:12]}): a resume needs the same. Train into another folder"
            )
        before = state["settings"]
        for name, value in asdict(self._settings).items():
            if name not in CHANGEABLE and before.get(name) != value:
                raise CheckpointError(
                    f"{self.path} was trained with {name}={before.get(name)}, now {value}: a "
                    "resume needs the same. Set it back, or train into another folder"
                )

    def prove(
        self, export: WeightsExport, network: nn.Module, folder: Path, *, again: bool = False
    ) -> str:
        """Prove a checkpoint, unless it already is, and update the best; what happened."""
        known = read_proof(folder)
        if known is not None and known.proven and not again:
            return f"{folder.name} is proven: score {known.score}"
        proof = prove(export, network, folder)
        row = {"step": step_of(folder), "time_ms": time.time_ns() // 1_000_000} | finite_row(proof)
        run_record.append_proof(self.path, row)
        self._point_to_best()
        if not proof.proven:
            return f"{folder.name} is not proven and no candidate: {proof.reason}"
        return f"{folder.name} is proven: score {proof.score}"

    def best(self) -> tuple[Path, Proof] | None:
        """The best proven checkpoint."""
        return best_checkpoint(self.checkpoints.folders())

    def prune(self) -> None:
        """Keep the last checkpoints and the best."""
        best = self.best()
        self.checkpoints.keep(self._settings.keep_last, best[0] if best else None)

    def _point_to_best(self) -> None:
        best = self.best()
        if best is None:
            return
        folder, proof = best
        content = {"step": step_of(folder), "checkpoint": folder.name} | asdict(proof)
        write_text(self.path / run_record.BEST_NAME, json.dumps(content, indent=2) + "\n")
        link = self.path / f"{DRAFT_PREFIX}{WEIGHTS_NAME}-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("checkpoints") / folder.name / WEIGHTS_NAME)
        link.replace(self.path / WEIGHTS_NAME)

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record the metrics of steps."""
        run_record.append_metrics(self.path, rows)

    def drop_metrics(self, step: int) -> None:
        """Forget the metrics from a step on."""
        run_record.drop_metrics(self.path, step)


@contextmanager
def open_run(
    path: Path, task: TrainingTask, settings: TrainingSettings, *, resume: bool
) -> Iterator[RunFolder]:
    """Lock a folder for a run, and remove what a killed process left unfinished.

    Raises:
        TrainingError: another process trains into it, it has checkpoints and `resume` is false, or
            it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / run_record.LOCK_NAME).open("w")
    except OSError as error:
        raise TrainingError(f"cannot train into {path}: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"another process trains into {path}: wait for it, or choose another folder"
            ) from error
        run = RunFolder(path, task, settings)
        if run.checkpoints.folders() and not resume:
            raise TrainingError(
                f"{path} already has a run: pass --resume to continue it, or choose another folder"
            )
        for folder in (path, path / "checkpoints", *run.checkpoints.folders()):
            remove_drafts(folder)
        yield run


def _description(
    task: TrainingTask, settings: TrainingSettings, recipe_settings: Mapping[str, object]
) -> dict[str, Any]:
    device = next(task.network.parameters()).device
    return {
        "task": task.name,
        "settings": asdict(settings),
        "recipe_settings": dict(recipe_settings),
        "data_sha256": task.data_sha256,
        "parameters": sum(parameter.numel() for parameter in task.network.parameters()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }

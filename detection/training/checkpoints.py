"""Checkpoints of a run: saved atomically, verified when read, the last few and the best kept.

    checkpoints/step-00000500/state.pt        everything that a resume needs
                              manifest.json   its SHA-256, step and task; written with it
                              weights/        exported for detection, see `proof`
                              proof.json      whether those are proven, and how good they are

A folder whose name starts with ".draft-" is not complete, and is not read.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from detection.errors import CheckpointError, DamagedCheckpoint
from detection.training.atomic import new_folder, remove_folder

_FORMAT = "lotline-training-1"
_STATE_NAME, _MANIFEST_NAME = "state.pt", "manifest.json"
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """What a checkpoint is, readable without loading it.

    Attributes:
        step: number of steps that were done.
        seconds: of training so far.
        sha256, bytes: of state.pt.
    """

    format: str
    task: str
    step: int
    seconds: float
    sha256: str
    bytes: int


class Checkpoints:
    """The checkpoints in a run's folder."""

    def __init__(self, run_folder: Path, task_name: str) -> None:
        self._folder = run_folder / "checkpoints"
        self._task_name = task_name

    def folders(self) -> list[Path]:
        """The folders of complete checkpoints, the oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    def save(self, step: int, seconds: float, state: dict[str, Any]) -> Path:
        """Save the state after a number of steps; the checkpoint's folder.

        Raises:
            CheckpointError: it cannot be written (disk full, no permission). Earlier ones stay.
        """
        folder = self._folder / checkpoint_name(step)
        try:
            with new_folder(folder) as draft:
                path = draft / _STATE_NAME
                with path.open("wb") as file:  # torch's own file stays open after a full disk
                    torch.save(state, file)
                digest, size = _digest(path)
                manifest = CheckpointManifest(_FORMAT, self._task_name, step, seconds, digest, size)
                (draft / _MANIFEST_NAME).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
        except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into either
            kept = self.folders()
            last = f"the last one is {kept[-1].name}" if kept else "there is none yet"
            raise CheckpointError(
                f"the checkpoint of step {step} cannot be saved in {self._folder} ({error}); "
                f"{last}. Free disk space, or check the permissions, then resume"
            ) from error
        return folder

    def load_last(
        self, on_damaged: Callable[[str], None] | None = None
    ) -> tuple[CheckpointManifest, dict[str, Any]] | None:
        """The newest checkpoint that can be read; None if there are none.

        Args:
            on_damaged: called with a message for each newer one that cannot be read.

        Raises:
            CheckpointError: there are some, but none can be read, or it is of another task.
        """
        folders = self.folders()
        damaged: list[Path] = []
        for folder in reversed(folders):
            try:
                loaded = self.load(folder)
            except DamagedCheckpoint as error:
                damaged.append(folder)
                if on_damaged is not None:
                    on_damaged(str(error))
            else:
                for each in damaged:  # kept for a look, but no checkpoint any more
                    remove_folder(each.with_name(f"damaged-{each.name}"))
                    each.rename(each.with_name(f"damaged-{each.name}"))
                return loaded
        if folders:
            raise CheckpointError(
                f"none of the {len(folders)} checkpoints in {self._folder} can be read: train into "
                "another folder"
            )
        return None

    def load(self, folder: Path) -> tuple[CheckpointManifest, dict[str, Any]]:
        """Read and verify a checkpoint.

        Raises:
            DamagedCheckpoint: it cannot be read.
            CheckpointError: it is of another task or program.
        """
        manifest = self._manifest(folder)
        path = folder / _STATE_NAME
        try:
            digest, size = _digest(path)
            if (digest, size) != (manifest.sha256, manifest.bytes):
                raise DamagedCheckpoint(
                    f"{path} is damaged: it has {size} bytes with the SHA-256 {digest[:12]}, but "
                    f"{manifest.bytes} bytes with {manifest.sha256[:12]} were written"
                )
            # Without code: a checkpoint from elsewhere can do no harm.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise DamagedCheckpoint(f"{path} cannot be read: {error}") from error
        return manifest, state

    def _manifest(self, folder: Path) -> CheckpointManifest:
        path = folder / _MANIFEST_NAME
        try:
            manifest = CheckpointManifest(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise DamagedCheckpoint(
                f"{folder} is not a checkpoint of this trainer: {path.name} cannot be read "
                f"({error})"
            ) from error
        if manifest.format != _FORMAT:
            raise CheckpointError(
                f"{folder} has the format {manifest.format!r} instead of {_FORMAT!r}: resume it "
                "with the version of Lotline that wrote it"
            )
        if manifest.task != self._task_name:
            raise CheckpointError(
                f"{folder} is a checkpoint of {manifest.task}, not of {self._task_name}"
            )
        return manifest

    def keep(self, last: int, best: Path | None) -> None:
        """Remove all but the last few and the best."""
        for folder in self.folders()[:-last]:
            if folder != best:
                remove_folder(folder)


def checkpoint_name(step: int) -> str:
    """The name of the folder of the checkpoint after so many steps."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step of a checkpoint's folder.

    Raises:
        CheckpointError: its name is not a checkpoint's.
    """
    match = _NAME.fullmatch(folder.name)
    if match is None:
        raise CheckpointError(f"{folder} is not a checkpoint's folder (step-00000500)")
    return int(match[1])


def _digest(path: Path) -> tuple[str, int]:
    """(SHA-256, bytes) of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()

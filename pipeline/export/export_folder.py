"""The folder of an export: files are written into a draft, then published, README.md last.

README.md marks a complete export. It is removed first and written last, so that an export that is
killed or fills the disk leaves a folder without it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import ExportError

README = "README.md"
MARK = "<!-- Lotline: this file is written last; without it the export is not complete -->"
# Inside the folder, because a rename does not work across file systems.
_DRAFT = ".making"
_LOCK = "lock"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class ExportDraft:
    """An export that is being written; its files are in `folder` until all are complete."""

    out: Path
    folder: Path

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A file to write; synced to disk at the end."""
        with (self.folder / name).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def size_bytes(self, name: str) -> int:
        """The size of a written file."""
        return (self.folder / name).stat().st_size

    def publish(self, outdated: str) -> None:
        """Move the files to their final names, the README last.

        Other files of the folder that match the glob `outdated` come from an earlier export and
        are deleted.
        """
        names = {path.name for path in self.folder.iterdir()} - {README, _LOCK}
        for name in sorted(names):
            (self.folder / name).replace(self.out / name)
        for path in self.out.glob(outdated):
            if path.name not in names:
                path.unlink()
        (self.folder / README).replace(self.out / README)


@contextmanager
def draft(out: Path) -> Iterator[ExportDraft]:
    """Start an export into a folder, which is created if it does not exist.

    Removes what a killed export left behind, and the README of an earlier export; its other files
    stay until `publish` replaces them.

    Raises:
        ExportError: the folder cannot be written, is full, is locked by another export, or has a
            README.md that is not from an export.
    """
    folder = out / _DRAFT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            _lock(lock.fileno(), out)
            try:
                _remove_leftovers(folder)
                _remove_readme(out / README)
                yield ExportDraft(out, folder)
            except OSError as error:
                if error.errno in _DISK_FULL:
                    raise ExportError(_disk_full_message(out, folder)) from error
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"{out} cannot be written ({error.strerror or error}). Make it writable, or pass "
            "another folder with --out"
        ) from error


def _lock(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ExportError(
            f"another export is writing into {out}. Wait for it, or pass another folder with --out"
        ) from None


def _remove_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()


def _remove_readme(readme: Path) -> None:
    if not readme.exists():
        return
    if MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise ExportError(
            f"{readme} is not from an export and would be overwritten. Pass another folder with "
            "--out"
        )
    readme.unlink()


def _disk_full_message(out: Path, folder: Path) -> str:
    written_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return (
        f"{out} is full after {written_mb:,.1f} MB: the export is incomplete and has no "
        "README.md. Free some space, raise the quota, or pass a folder on another disk with "
        "--out; then export again"
    )

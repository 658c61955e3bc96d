"""The folder of an export: filled beside what is there, then all at once, README.md last.

README.md is the sign that an export is complete. It goes first and comes last, so that whatever
stops an export in between, a kill or a full disk, leaves a folder without it.
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
# In the folder itself: the one beside it may be on another disk, from which nothing is renamed.
_MAKING = ".making"
_LOCK = "lock"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class ExportDraft:
    """An export that is being written: its files lie in `making` until all are whole."""

    out: Path
    making: Path

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A file to write, that is on the disk when this ends."""
        with (self.making / name).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def size_bytes(self, name: str) -> int:
        """Of a file that is written."""
        return (self.making / name).stat().st_size

    def publish(self, outdated: str) -> None:
        """Give the files their places, the README last.

        Files of the folder that match the glob `outdated` and are not among them are of an
        earlier export, and go.
        """
        names = {path.name for path in self.making.iterdir()} - {README, _LOCK}
        for name in sorted(names):
            (self.making / name).replace(self.out / name)
        for path in self.out.glob(outdated):
            if path.name not in names:
                path.unlink()
        (self.making / README).replace(self.out / README)


@contextmanager
def draft(out: Path) -> Iterator[ExportDraft]:
    """A new export into a folder, which is made if there is none.

    What an export that was killed left behind is removed first, and so is the README of an
    earlier one; its other files stay until `publish` replaces them.

    Raises:
        ExportError: the folder cannot be written, is full, is written by another export now, or
            has a README.md of somebody else.
    """
    making = out / _MAKING
    try:
        making.mkdir(parents=True, exist_ok=True)
        with (making / _LOCK).open("w") as lock:
            _take(lock.fileno(), out)
            try:
                _sweep(making)
                _remove_readme(out / README)
                yield ExportDraft(out, making)
            except OSError as error:
                if error.errno in _FULL:
                    raise ExportError(_full(out, making)) from error
                raise
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise ExportError(
            f"{out} cannot be written ({error.strerror or error}): make it writable, or name "
            "another folder with --out"
        ) from error


def _take(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ExportError(
            f"another export is writing into {out}: wait for it, or name another folder with --out"
        ) from None


def _sweep(making: Path) -> None:
    for path in making.iterdir():
        if path.name != _LOCK:
            path.unlink()


def _remove_readme(readme: Path) -> None:
    if not readme.exists():
        return
    if MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise ExportError(
            f"{readme} is not of an export, and would be written over: name a folder of its own "
            "with --out"
        )
    readme.unlink()


def _full(out: Path, making: Path) -> str:
    written_mb = sum(path.stat().st_size for path in making.iterdir()) / 1e6
    return (
        f"{out} is full: there was room for {written_mb:,.1f} MB of the export, which is not "
        "complete and has no README.md. Free some space (the parts of it are removed), raise the "
        "quota, or name a folder on another disk with --out; then export again"
    )

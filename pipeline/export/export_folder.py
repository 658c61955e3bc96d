"""The folder of an export: files are written into a draft, then published, README.md last.

README.md marks a complete export. It is removed first and written last, so that an export that is
killed or fills the disk leaves a folder without it. Files of the earlier export, in any format, are
replaced or removed; a file that is not from an export, or that a person has changed, never is.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import ExportError
from pipeline.export.manifest import MANIFEST, Manifest, file_sha256, read_manifest

log = logging.getLogger(__name__)

README = "README.md"
MARK = "<!-- Lotline: this file is written last; without it the export is not complete -->"
# Inside the folder, because a rename does not work across file systems.
_DRAFT = ".making"
_LOCK = "lock"
# Of a file that a person has changed, before an export replaces it.
_CHANGED_SUFFIX = ".changed"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class ExportDraft:
    """An export that is being written; its files are in `folder` until all are complete."""

    out: Path
    folder: Path
    earlier: Manifest = field(default_factory=Manifest)

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """A file to write; synced to disk at the end.

        Raises:
            ExportError: the folder has a file of that name that is not from an export.
        """
        if (self.out / name).exists() and not (name == README or self.earlier.has(name)):
            raise ExportError(
                f"{self.out / name} is not from an export and would be overwritten. Move it, or "
                "pass another folder with --out"
            )
        with (self.folder / name).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def size_bytes(self, name: str) -> int:
        """The size of a written file."""
        return (self.folder / name).stat().st_size

    def publish(self) -> None:
        """Move the files to their final names, the README last.

        The other files of the earlier export are deleted, unless a person has changed them.
        """
        names = {path.name for path in self.folder.iterdir()} - {README, _LOCK}
        digests = {name: file_sha256(self.folder / name) for name in names}
        self.earlier.merged(digests).write(self.out / MANIFEST)
        for name in sorted(names):
            self._set_aside_changed(self.out / name)
            (self.folder / name).replace(self.out / name)
        for name in sorted(self.earlier.names() - names - {README}):
            self._remove_outdated(self.out / name)
        Manifest().merged(digests).write(self.out / MANIFEST)
        (self.folder / README).replace(self.out / README)

    def _set_aside_changed(self, path: Path) -> None:
        if not path.exists() or self.earlier.is_unchanged(path):
            return
        aside = path.with_name(path.name + _CHANGED_SUFFIX)
        number = 2
        while aside.exists():
            aside = path.with_name(f"{path.name}{_CHANGED_SUFFIX}{number}")
            number += 1
        path.replace(aside)
        log.warning("%s was changed after its export: it is now %s", path, aside.name)

    def _remove_outdated(self, path: Path) -> None:
        if self.earlier.is_unchanged(path):
            path.unlink()
        elif path.exists():
            log.warning(
                "%s is of an earlier export and was changed since: left as it is, delete it if it "
                "is not needed",
                path,
            )


@contextmanager
def draft(out: Path) -> Iterator[ExportDraft]:
    """Start an export into a folder, which is created if it does not exist.

    Removes what a killed export left behind, and the README of an earlier export; its other files
    stay until `publish` replaces them.

    Raises:
        ExportError: the folder cannot be written, is full, is locked by another export, or has a
            README.md or another file of an export's name that is not from an export.
    """
    folder = out / _DRAFT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            _lock(lock.fileno(), out)
            try:
                _remove_leftovers(folder)
                earlier = read_manifest(out, _export_readme(out / README))
                if earlier.names() and not (out / MANIFEST).exists():
                    # Before the README, which may be the only list of these files.
                    earlier.write(out / MANIFEST)
                (out / README).unlink(missing_ok=True)
                yield ExportDraft(out, folder, earlier)
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


def _export_readme(readme: Path) -> str | None:
    """The text of an export's README; None if there is none."""
    if not readme.exists():
        return None
    text = readme.read_text(encoding="utf-8", errors="replace")
    if MARK not in text:
        raise ExportError(
            f"{readme} is not from an export and would be overwritten. Pass another folder with "
            "--out"
        )
    return text


def _disk_full_message(out: Path, folder: Path) -> str:
    written_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return (
        f"{out} is full after {written_mb:,.1f} MB: the export is incomplete and has no "
        "README.md. Free some space, raise the quota, or pass a folder on another disk with "
        "--out; then export again"
    )

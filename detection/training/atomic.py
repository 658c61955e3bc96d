"""Files and folders that are there completely or not at all, also after a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A name that starts so is not complete, and nobody reads it.
DRAFT_PREFIX = ".draft-"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft of a folder to write into; it gets its name once complete and on the disk.

    An existing folder of the name is replaced. On an error the draft is removed, and what was there
    stays.
    """
    draft = folder.with_name(f"{DRAFT_PREFIX}{folder.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        for path in sorted(draft.rglob("*")):
            _sync(path)
        _sync(draft)
        remove_folder(folder)
        draft.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder, which loses its name first: a crash leaves no half of it."""
    if folder.exists():
        draft = folder.with_name(f"{DRAFT_PREFIX}removed-{folder.name}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        folder.rename(draft)
        shutil.rmtree(draft)


def remove_drafts(folder: Path) -> None:
    """Remove what a killed process left unfinished. Only under the lock of the folder."""
    for path in folder.glob(f"{DRAFT_PREFIX}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace a file by a text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file by bytes."""
    draft = path.with_name(f"{DRAFT_PREFIX}{path.name}-{os.getpid()}")
    try:
        draft.write_bytes(data)
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

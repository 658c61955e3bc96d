"""A folder with one file, in which GDAL finds no other files beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from errno import ENOSPC
from pathlib import Path

from parcels.files.dataset import Dataset

_CHUNK = 1 << 20


class PrivateFolder:
    """An empty folder for a file; it is removed with this object.

    Attributes:
        path: for the file.
    """

    def __init__(self, name: str) -> None:
        folder = tempfile.mkdtemp(prefix="lotline-parcels-")
        self.path = Path(folder, name)
        self.remove = weakref.finalize(self, _remove, folder, os.getpid())


def _remove(folder: str, process_id: int) -> None:
    # A forked worker has a copy of the object, and the folder is still its parent's.
    if os.getpid() == process_id:
        shutil.rmtree(folder, ignore_errors=True)


def folder_with(dataset: Dataset) -> PrivateFolder:
    """A folder with a link to a dataset's file, or the file itself unpacked.

    Raises:
        OSError: it cannot be unpacked; the message says what to do.
        zipfile.BadZipFile, zlib.error: it is damaged.
    """
    folder = PrivateFolder(dataset.name)
    if not dataset.is_zip:
        folder.path.symlink_to((dataset.path / dataset.member).resolve())
        return folder
    try:
        with dataset.open() as packed, folder.path.open("wb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)
    except OSError as error:
        folder.remove()
        if error.errno != ENOSPC:
            raise
        raise OSError(
            f"{tempfile.gettempdir()} has no space to unpack its {dataset.size():,} bytes; unpack "
            "the zip yourself, and set 'path' to the file inside"
        ) from error
    return folder

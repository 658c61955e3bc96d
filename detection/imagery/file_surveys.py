"""What is found out about a file once, and kept while the file stays the same."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from rasterio.io import DatasetReader

# Surveys that a process keeps: those of fill are empty for most files, at most 512 kB for one.
_KEPT = 1024
_Found = TypeVar("_Found")


class FileSurveys(Generic[_Found]):
    """A cache of one kind of survey, by file, overview and bands."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, _Found] = OrderedDict()
        self._lock = Lock()

    def of(
        self,
        dataset: DatasetReader,
        indexes: list[int],
        survey: Callable[[DatasetReader, list[int]], _Found],
    ) -> _Found:
        """The survey of a file or of one of its overviews, made at its first use."""
        if dataset.name.startswith("/vsimem/"):
            return survey(dataset, indexes)
        key = _version(dataset, indexes)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = survey(dataset, indexes)
        with self._lock:
            self._found[key] = found
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found


def _version(dataset: DatasetReader, indexes: list[int]) -> Hashable:
    try:
        about = Path(dataset.name).stat()
        version = (about.st_mtime_ns, about.st_size)
    except OSError:  # a remote file
        version = (0, 0)
    # Each opening of a remote file has another prefix.
    name = re.sub(r"^/vsiriopener_[^/]*", "", dataset.name)
    return (name, version, dataset.width, tuple(indexes))

"""Results of chips on the disk, until the last block that needs them has them."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from pathlib import Path
from types import TracebackType

from detection.inference import ChipFailure, InferenceResult

_ChipResult = InferenceResult | ChipFailure


class SpilledResult:
    """A result in a file, which is deleted with the last reference to it."""

    def __init__(self, path: Path, result: _ChipResult) -> None:
        with path.open("wb") as file:
            pickle.dump(result, file, protocol=pickle.HIGHEST_PROTOCOL)
        self._path = path
        weakref.finalize(self, path.unlink, missing_ok=True)

    def load(self) -> _ChipResult:
        """The result."""
        with self._path.open("rb") as file:
            result: _ChipResult = pickle.load(file)  # noqa: S301 - written above, in a private folder
        return result


class SpillFolder:
    """A private temporary folder for `SpilledResult`s; use it as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lotline-chips-")
        self._count = 0

    def __enter__(self) -> SpillFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def put(self, result: _ChipResult) -> SpilledResult:
        """Write a result.

        Raises:
            OSError: the disk is full.
        """
        self._count += 1
        return SpilledResult(Path(self._folder.name, f"{self._count}.pickle"), result)

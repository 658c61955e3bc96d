"""Standard output and error that neither a full disk, a closed pipe nor an encoding can break.

The work matters more than what is printed about it: where a stream cannot be written, its text is
discarded and the command runs on. Whether standard output was lost is known at the end.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A reader that exits (`lotline batch | head`) has seen what it wanted.
_READER_GONE = {errno.EPIPE, errno.ECONNRESET}

_lost: dict[int, str] = {}


def open_closed_streams() -> None:
    """Connect closed standard streams (`2>&-`) to the null device.

    Otherwise the next file or connection gets the number 2, and a library that writes there
    damages it. Python has no stream for a number that was closed at its start, so what is printed
    there is discarded.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _discard(number)


def wrap_standard_streams() -> None:
    """Wrap stdout and stderr so that neither encoding nor a failing write stops the work.

    Characters that the terminal's encoding lacks (m²) become question marks. After a write fails
    (the disk is full, the reader of a pipe exits), further output is discarded.
    """
    sys.stdout, sys.stderr = _wrapped(sys.stdout, 1), _wrapped(sys.stderr, 2)


def lost_output() -> str | None:
    """Why standard output could not be written; None if it could, or its reader exited."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    return _lost.get(1)


class _UnbreakableFile(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return self._write_all(data)
        except OSError as error:
            if error.errno not in _READER_GONE:
                _lost.setdefault(self.fileno(), error.strerror or str(error))
            _discard(self.fileno())
            return super().write(data)

    def _write_all(self, data: ReadableBuffer) -> int:
        # None, not a number, from a full pipe or terminal that another process made non-blocking.
        while (written := super().write(data)) is None:
            select.select([], [self.fileno()], [])
        return written


def _discard(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _wrapped(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # it was closed when Python started
        stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # replaced by a caller (pytest, click's runner): left to them
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_UnbreakableFile(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
    )

"""Standard output and error, whoever reads them."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def open_streams() -> None:
    """Make both of a kind that no reader can stop the work with.

    A terminal that knows no m² shows a question mark, not a traceback. Where a reader such as
    `head` is gone, what is still to be said is lost, and the command ends as it would have.
    """
    sys.stdout, sys.stderr = _stream(sys.stdout), _stream(sys.stderr)


class _Pipe(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def _stream(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # not of the system: whoever put it there knows how it is written
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
    )

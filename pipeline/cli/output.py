"""Standard output and error: streams that no reader can break, and messages to the user."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO

import click

from pipeline import log
from pipeline.redaction import redactor

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_logger = logging.getLogger(__name__)


def print_message(message: str, level: int = logging.INFO) -> None:
    """Print a message on standard error, whatever the log level; a record with LOG_FORMAT=json.

    Errors start with `error: `; secrets are masked.
    """
    if log.is_json():
        _logger.setLevel(logging.INFO)
        _logger.log(level, "%s", message)
        return
    prefix = "error: " if level >= logging.ERROR else ""
    click.echo(f"{prefix}{redactor.text(message)}", err=True)


def wrap_standard_streams() -> None:
    """Wrap stdout and stderr so that neither encoding nor a closed pipe stops the work.

    Characters that the terminal's encoding lacks (m²) become question marks. After the reader of
    a pipe exits (`lotline batch | head`), further output is discarded and the command runs on.
    """
    sys.stdout, sys.stderr = _wrapped(sys.stdout), _wrapped(sys.stderr)


class _UnbreakablePipe(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, self.fileno())
            os.close(devnull)
            return super().write(data)


def _wrapped(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # replaced by a caller (pytest, click's runner): left to them
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_UnbreakablePipe(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
    )

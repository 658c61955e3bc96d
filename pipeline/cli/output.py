"""What a command tells people besides its results: a line, or in a JSON log a record."""

from __future__ import annotations

import logging

import click

from pipeline import log
from pipeline.redaction import redactor

_told = logging.getLogger("pipeline.told")


def print_message(message: str, level: int = logging.INFO) -> None:
    """Say something on standard error, whatever the level of the log is.

    `level` is the record's; to people an error says that it is one.
    """
    if log.is_json():
        _told.setLevel(logging.INFO)
        _told.log(level, "%s", message)
        return
    prefix = "error: " if level >= logging.ERROR else ""
    click.echo(f"{prefix}{redactor.text(message)}", err=True)

"""Turns a full disk of the database server into one clear error, whichever statement meets it."""

from __future__ import annotations

import psycopg
from sqlalchemy import ExceptionContext

from pipeline.errors import StoreError

_DISK_FULL = "53100"  # SQLSTATE
_OS_MESSAGES = ("No space left on device", "Disk quota exceeded")


def reports_disk_full(text: str) -> bool:
    """Whether a message contains an operating system's text for a full disk."""
    return any(message in text for message in _OS_MESSAGES)


def raise_if_disk_full(error: BaseException) -> None:
    """Raise StoreError if the cause of `error` is a full disk."""
    if not isinstance(error, (psycopg.OperationalError, psycopg.InternalError)):
        return  # the message of a refused row may contain any text
    message = str(error).partition("\n")[0]
    if error.sqlstate == _DISK_FULL or reports_disk_full(message):
        raise StoreError(
            f"the database's disk is full ({message}): free space there (in psql, SHOW "
            "data_directory prints the folder), then run the same command again. "
            "Committed results are safe"
        ) from error


def on_database_error(context: ExceptionContext) -> None:
    """`raise_if_disk_full` for SQLAlchemy's event `handle_error`."""
    raise_if_disk_full(context.original_exception)

"""A database whose disk is full, said in words wherever it is met."""

from __future__ import annotations

import psycopg
from sqlalchemy import ExceptionContext

from pipeline.errors import StoreError

_DISK_FULL = "53100"  # SQLSTATE
_SAID = ("No space left on device", "Disk quota exceeded")


def reports_disk_full(text: str) -> bool:
    """Whether this is what an operating system says of a full disk."""
    return any(said in text for said in _SAID)


def raise_if_disk_full(error: BaseException) -> None:
    """Raise StoreError if that is why the database failed."""
    if not isinstance(error, (psycopg.OperationalError, psycopg.InternalError)):
        return  # a row that was refused may hold any text
    said = str(error).partition("\n")[0]
    if error.sqlstate == _DISK_FULL or reports_disk_full(said):
        raise StoreError(
            f"the database's disk is full ({said}): free some space there (in psql, SHOW "
            "data_directory says where it lies), then run the same again; what was written is "
            "kept, and nothing is half written"
        ) from error


def on_database_error(context: ExceptionContext) -> None:
    """`raise_if_disk_full` for SQLAlchemy's event `handle_error`."""
    raise_if_disk_full(context.original_exception)

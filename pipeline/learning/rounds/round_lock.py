"""One round of learning at a time: on this machine, and with this database."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('lotline learn ' || :segmenter, 17))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('lotline learn ' || :segmenter, 17))")


@contextmanager
def round_lock(engine: Engine, folder: Path, segmenter: str) -> Iterator[bool]:
    """Whether no other process learns; both locks end with the process, however it ends.

    The file's keeps other processes of this machine out even where a network drops the database's
    connection in the hours of a training; the database's keeps out other machines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            is_ours = bool(conn.execute(_LOCK, {"segmenter": segmenter}).scalar_one())
            try:
                yield is_ours
            finally:
                if is_ours:
                    with suppress(DBAPIError):  # the connection was lost, and the lock with it
                        conn.execute(_UNLOCK, {"segmenter": segmenter})

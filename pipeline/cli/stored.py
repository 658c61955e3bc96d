"""Opens what is stored, for the commands that only read: they create no database and no schema."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.county_entry import CountyEntry
    from pipeline.settings import Settings


@contextmanager
def stored_results(
    settings: Settings, entry: CountyEntry | None = None
) -> Iterator[Connection | None]:
    """A connection with one snapshot for all queries, because a batch may be writing.

    None if nothing has been stored yet.

    Raises:
        CountyMismatch: what is stored under the key of `entry` is another county's.
        StoreError: the database cannot be opened, or is older than the code.
    """
    from pipeline.store.counties import check_county
    from pipeline.store.database import open_existing

    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            yield None
            return
        with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            if entry is not None:
                check_county(conn, entry)
            yield conn


def first_batch_hint(entry: CountyEntry) -> str:
    """The command that processes a county's first properties."""
    registry = entry.registry
    option = "" if registry is None else f" --registry {shlex.quote(str(registry))}"
    return f"run `lotline batch --county {entry.key}{option}`"

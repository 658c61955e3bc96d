"""Opens what is stored, for the commands that only read: they create no database and no schema."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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


def find_stored_county(name: str, registry: Path | None, settings: Settings) -> CountyEntry:
    """Look up a county whose results are wanted, as `find_county` does.

    Args:
        registry: of the command line; None is that of the settings.

    Raises:
        RegistryError: the registry has no such county; if the database has, the message names the
            registry file that it is from.
    """
    from parcels.errors import RegistryError
    from pipeline.county_entry import find_county, registry_file

    try:
        return find_county(name, registry or settings.registry)
    except RegistryError as error:
        bound = _stored_file(name, settings)
        if bound is None or bound == registry_file(registry or settings.registry):
            raise
        raise RegistryError(
            f"the database has a county {name!r}, of {bound}: pass{registry_option_of(bound)} "
            f"(REGISTRY=). Here, there is none ({error})"
        ) from error


def _stored_file(name: str, settings: Settings) -> Path | None:
    """The registry file of a county in the database; None also where that cannot be read."""
    from pipeline.errors import StoreError
    from pipeline.store.counties import bound_registry

    try:
        with stored_results(settings) as conn:
            return None if conn is None else bound_registry(conn, name)
    except StoreError:
        return None  # the county is what is wrong first


def registry_option_of(registry: Path | None) -> str:
    """The option that names a county's registry file, with a blank; empty for the shipped one."""
    return "" if registry is None else f" --registry {shlex.quote(str(registry))}"


def first_batch_hint(entry: CountyEntry) -> str:
    """The command that processes a county's first properties."""
    return f"run `lotline batch --county {entry.key}{registry_option_of(entry.registry)}`"

"""The stored results, for commands that decide about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def review_transaction() -> Iterator[Connection]:
    """A transaction in the existing database.

    Raises:
        StoreError: there is none yet.
    """
    from pipeline.settings import load_settings
    from pipeline.store.database import open_existing

    settings = load_settings()
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise StoreError("there is no database yet: run `lotline batch` first")
        with database.engine.begin() as conn:
            yield conn

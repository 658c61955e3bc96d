"""Fixtures of the store's tests: a connection, and parcel caches; and the rule of second tries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from reviewers import browser, reviewer  # noqa: F401 - fixtures of the review page's tests
from servers.s3 import s3_server
from sqlalchemy import Connection

from parcels.cache import FolderCache, ParcelCache
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a failed browser test once more in CI, where a shared machine can stop for seconds.

    The log lists it as RERUN: it is a fault of the page or of the test all the same, and has so far
    always been one.
    """
    if os.environ.get("CI"):
        for item in items:
            if "browser" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """A connection to `database` in a transaction that is rolled back."""
    with database.engine.connect() as connection:
        yield connection


@pytest.fixture(params=["folder", "database"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> ParcelCache:
    """Both kinds of parcel cache: a folder and a database."""
    if request.param == "folder":
        return FolderCache(tmp_path / "kept")
    database: Database = request.getfixturevalue("database")
    return DatabaseCache(database.engine)


@pytest.fixture
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server(monkeypatch) as address:
        yield address

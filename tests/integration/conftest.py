"""A real PostGIS: one private cluster for the whole run, and a fresh database for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, Connection, create_engine

from parcels.cache import FolderCache, ParcelCache
from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.embedded.postgres import EmbeddedPostgres
from pipeline.store.parcel_cache.database_cache import DatabaseCache

TEMPLATE = "migrated"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running cluster; it does not wait for the disk, which no test needs."""
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    with _administer(server) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    engine = create_engine(_url(TEMPLATE), connect_args=server.connect_args)
    schema.upgrade(engine)
    engine.dispose()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database in which nothing has been done yet."""
    yield from _database(postgres, "template1")


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database with the code's schema and no rows."""
    yield from _database(postgres, TEMPLATE)


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """A connection to `database`, in a transaction that is not committed."""
    with database.engine.connect() as connection:
        yield connection


def _database(server: EmbeddedPostgres, template: str) -> Iterator[Database]:
    name = "test"
    with _administer(server) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    engine = create_engine(_url(name), connect_args=server.connect_args)
    yield Database(engine, server.url.replace("/lotline?", f"/{name}?"), None)
    engine.dispose()
    with _administer(server) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: EmbeddedPostgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        psycopg.conninfo.make_conninfo(dbname="postgres", **server.connect_args), autocommit=True
    )


def _url(name: str) -> URL:
    return URL.create("postgresql+psycopg", database=name)


@pytest.fixture(params=["folder", "database"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> ParcelCache:
    """Where parcels are kept, in its two forms."""
    if request.param == "folder":
        return FolderCache(tmp_path / "kept")
    database: Database = request.getfixturevalue("database")
    return DatabaseCache(database.engine)

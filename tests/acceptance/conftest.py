"""Who runs the command: in a folder of their own, with a database that is shared or their own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from user import LOTLINE, User, clean_environment


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """One home for the run, or for each worker: making a cluster takes seconds.

    Its server is stopped and it is removed at the end. Not under pytest's own folder, which only
    root may enter when the tests run as root.
    """
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(
        [str(LOTLINE), "db", "stop"], env=clean_environment(LOTLINE_HOME=str(folder)), check=True
    )
    shutil.rmtree(folder)


@pytest.fixture
def user(tmp_path: Path, home: Path) -> User:
    """Somebody in an empty folder; the database may hold other tests' counties."""
    return User(tmp_path, clean_environment(LOTLINE_HOME=str(home)))


@pytest.fixture(scope="session")
def server_url(home: Path) -> str:
    """The home's server, kept up for the tests that want a database of their own.

    It does not wait for the disk, which no test needs.
    """
    done = subprocess.run(
        [str(LOTLINE), "db", "url"],
        env=clean_environment(LOTLINE_HOME=str(home)),
        capture_output=True,
        text=True,
        check=True,
    )
    url = done.stdout.strip()
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture
def fresh(tmp_path: Path, home: Path, server_url: str) -> Iterator[User]:
    """Somebody with an empty database of their own, named by DATABASE_URL."""
    name = f"test_{abs(hash(tmp_path)):x}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = server_url.replace("/lotline?", f"/{name}?")
    yield User(tmp_path, clean_environment(LOTLINE_HOME=str(home), DATABASE_URL=own))
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

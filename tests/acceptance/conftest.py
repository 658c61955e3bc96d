"""Users of the command, each with a working folder and a shared or separate database."""

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
    """One LOTLINE_HOME per worker, because creating a database cluster takes seconds.

    Not under pytest's folder, which only root may enter if root runs the tests.
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
    """A user in an empty folder; the database may contain other tests' counties."""
    return User(tmp_path, clean_environment(LOTLINE_HOME=str(home)))


@pytest.fixture(scope="session")
def server_url(home: Path) -> str:
    """URL of the session's embedded server, for tests with a database of their own.

    It runs without fsync.
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
    """A user with an empty database of their own, at DATABASE_URL."""
    name = f"test_{abs(hash(tmp_path)):x}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = server_url.replace("/lotline?", f"/{name}?")
    yield User(tmp_path, clean_environment(LOTLINE_HOME=str(home), DATABASE_URL=own))
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

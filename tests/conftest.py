"""What tests share: no network beyond this machine, the real data where it lies, a real PostGIS.

And what holds for a run as a whole: it leaves the working tree as it was.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, create_engine

from pipeline.store import schema
from pipeline.store.database import Database
from pipeline.store.embedded.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TEMPLATE = "migrated"

sys.path.insert(0, str(ROOT / "tests"))

from netblock.sitecustomize import install  # noqa: E402

install()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real imagery and parcels; not part of the project."""
    folder = SHARED / "data" / "real"
    if not folder.is_dir():
        pytest.skip("real imagery and parcels are not here (../shared/data/real)")
    return folder


@pytest.fixture(scope="session")
def real_registry(real_data: Path) -> Path:
    """The registry of the real neighbourhoods."""
    return SHARED / "registry.yaml"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A cluster for the whole run, or for each worker; it does not wait for the disk."""
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


_BEFORE = pytest.StashKey[dict[str, tuple[int, int]]]()
_WRITTEN = pytest.StashKey[list[str]]()


def _working_tree() -> dict[str, tuple[int, int]]:
    """The time and size of each file that git knows or would add; nothing without git."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    found = {}
    for name in done.stdout.split("\0"):
        path = ROOT / name
        if path.is_file():
            stat = path.stat()
            found[name] = (stat.st_mtime_ns, stat.st_size)
    return found


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # a worker of pytest-xdist
        session.stash[_BEFORE] = _working_tree()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that wrote into the working tree."""
    before = session.stash.get(_BEFORE, {})
    if not before:
        return
    after = _working_tree()
    written = sorted(name for name in before | after if before.get(name) != after.get(name))
    session.config.stash[_WRITTEN] = written
    if written:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what the long proofs measured, and what was written into the working tree."""
    for report in terminalreporter.getreports("passed"):
        for proof, measured in report.user_properties:
            terminalreporter.write_line(f"{proof}: {measured}")
    for name in config.stash.get(_WRITTEN, []):
        terminalreporter.write_line(
            f"ERROR {name} was written while the tests ran: a test must not write into the "
            "working tree. If you edited it meanwhile, run them again."
        )

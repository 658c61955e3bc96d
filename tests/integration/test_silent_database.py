"""A database over a network: both ends notice within about a minute that the other is gone."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from pipeline.store.database import Database, open_database, open_engine
from pipeline.store.embedded.postgres import EmbeddedPostgres

# A loopback address of its own: the port of the project's server is always the same.
HOST, PORT = "127.84.32.1", 5432

_OURS = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_THEIRS = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own that listens on loopback."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, PORT))
        except OSError as error:
            pytest.skip(f"{HOST}:{PORT} is not to be had: {error}")
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute(f"ALTER SYSTEM SET listen_addresses = '{HOST}'")
        [rules] = conn.execute("SHOW hba_file").fetchone() or [""]
    with Path(rules).open("r+") as file:
        rest = file.read()
        file.seek(0)
        file.write(f"host all all 127.0.0.0/8 trust\n{rest}")
    server.stop()
    server.start()
    yield f"postgresql://lotline@{HOST}:{PORT}/lotline"
    server.stop()
    shutil.rmtree(folder)


def _of_client(engine: Engine) -> dict[str, int]:
    """As the kernel has them."""
    with engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as same:

            def tcp(option: int) -> int:
                return same.getsockopt(socket.IPPROTO_TCP, option)

            return {
                "keepalives": same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                "keepalives_idle": tcp(socket.TCP_KEEPIDLE),
                "keepalives_interval": tcp(socket.TCP_KEEPINTVL),
                "keepalives_count": tcp(socket.TCP_KEEPCNT),
                "tcp_user_timeout": tcp(socket.TCP_USER_TIMEOUT),
            }


def _of_server(engine: Engine) -> dict[str, int]:
    query = text("SELECT name, setting FROM pg_settings WHERE name ~ '^tcp_'")
    with engine.connect() as conn:
        conn.rollback()  # what a connection sets outlives its first transaction
        return {name: int(setting) for name, setting in conn.execute(query)}


def test_both_ends_ask_whether_the_other_is_there(url: str, tmp_path: Path) -> None:
    with open_database(url, tmp_path) as opened:
        assert _of_client(opened.engine) == _OURS
        assert _of_server(opened.engine) == _THEIRS
        elsewhere = open_engine(opened.url)
        try:
            assert _of_client(elsewhere) == _OURS
            assert _of_server(elsewhere) == _THEIRS
        finally:
            elsewhere.dispose()


def test_what_the_address_or_the_server_says_is_kept(url: str, tmp_path: Path) -> None:
    mine = "keepalives_idle=7&tcp_user_timeout=5000&connect_timeout=3"
    theirs = "options=-c%20tcp_keepalives_count%3D5%20-c%20tcp_user_timeout%3D9000"
    with open_database(f"{url}?{mine}&{theirs}", tmp_path) as opened:
        elsewhere = open_engine(opened.url)
        try:
            for engine in (opened.engine, elsewhere):
                of_client = {**_OURS, "keepalives_idle": 7, "tcp_user_timeout": 5_000}
                assert _of_client(engine) == of_client
                of_server = {**_THEIRS, "tcp_keepalives_count": 5, "tcp_user_timeout": 9_000}
                assert _of_server(engine) == of_server
                with engine.connect() as conn:
                    driver = conn.connection.driver_connection
                    assert driver is not None
                    assert driver.info.get_parameters()["connect_timeout"] == "3"
        finally:
            elsewhere.dispose()


def test_a_socket_of_this_machine_needs_none_of_it(database: Database) -> None:
    engine = open_engine(database.url)
    try:
        assert set(_of_server(engine).values()) == {0}
    finally:
        engine.dispose()

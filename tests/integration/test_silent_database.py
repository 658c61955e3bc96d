"""TCP keepalives: database and client notice within about a minute that the other is gone."""

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

# A separate loopback address, because the port of the server is fixed.
HOST, PORT = "127.84.32.1", 5432

_CLIENT = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_SERVER = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a separate server that listens on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError as error:
            pytest.skip(f"{HOST}:{PORT} is not available: {error}")
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


def _client_options(engine: Engine) -> dict[str, int]:
    """The socket options of the client, as the kernel has them."""
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


def _server_settings(engine: Engine) -> dict[str, int]:
    query = text("SELECT name, setting FROM pg_settings WHERE name ~ '^tcp_'")
    with engine.connect() as conn:
        conn.rollback()  # the settings must outlive the first transaction
        return {name: int(setting) for name, setting in conn.execute(query)}


def test_client_and_server_use_tcp_keepalives(url: str, tmp_path: Path) -> None:
    with open_database(url, tmp_path) as opened:
        assert _client_options(opened.engine) == _CLIENT
        assert _server_settings(opened.engine) == _SERVER
        worker_engine = open_engine(opened.url)
        try:
            assert _client_options(worker_engine) == _CLIENT
            assert _server_settings(worker_engine) == _SERVER
        finally:
            worker_engine.dispose()


def test_keepalive_settings_of_the_url_win(url: str, tmp_path: Path) -> None:
    client = "keepalives_idle=7&tcp_user_timeout=5000&connect_timeout=3"
    server = "options=-c%20tcp_keepalives_count%3D5%20-c%20tcp_user_timeout%3D9000"
    with open_database(f"{url}?{client}&{server}", tmp_path) as opened:
        worker_engine = open_engine(opened.url)
        try:
            for engine in (opened.engine, worker_engine):
                expected_client = {**_CLIENT, "keepalives_idle": 7, "tcp_user_timeout": 5_000}
                assert _client_options(engine) == expected_client
                expected_server = {**_SERVER, "tcp_keepalives_count": 5, "tcp_user_timeout": 9_000}
                assert _server_settings(engine) == expected_server
                with engine.connect() as conn:
                    driver = conn.connection.driver_connection
                    assert driver is not None
                    assert driver.info.get_parameters()["connect_timeout"] == "3"
        finally:
            worker_engine.dispose()


def test_a_unix_socket_needs_no_keepalives(database: Database) -> None:
    engine = open_engine(database.url)
    try:
        assert set(_server_settings(engine).values()) == {0}
    finally:
        engine.dispose()

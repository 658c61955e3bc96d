"""A frozen database: its sockets stay open, but nothing answers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from frozenserver import frozen
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from pipeline.store import silent_server
from pipeline.store.database import open_database
from pipeline.store.embedded.postgres import EmbeddedPostgres
from pipeline.store.retries import is_transient


@pytest.fixture
def engine(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(silent_server, "CHECK_AFTER_S", 0.5)
    monkeypatch.setattr(silent_server, "CONNECT_TIMEOUT_S", 2)
    with open_database(None, open_folder) as database:
        yield database.engine
    EmbeddedPostgres(open_folder / "postgres").stop()


def test_a_slow_statement_is_waited_for(engine: Engine) -> None:
    with engine.connect() as conn:
        assert conn.execute(text("SELECT 7 FROM pg_sleep(2)")).scalar() == 7


def test_copy_and_pipelines_work_as_ever(engine: Engine) -> None:
    with engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert isinstance(driver, silent_server.WatchfulConnection)
        driver.execute("CREATE TEMP TABLE copied (n int)")
        with driver.cursor().copy("COPY copied FROM STDIN") as copy:
            for n in range(10_000):
                copy.write_row([n])
        with driver.cursor().copy("COPY copied TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 10_000
        with driver.pipeline():
            counts = [driver.execute("SELECT count(*) FROM copied") for _ in range(3)]
        assert [count.fetchone() for count in counts] == [(10_000,)] * 3


def test_a_statement_on_a_frozen_server_ends_with_a_transient_error(engine: Engine) -> None:
    with engine.connect() as conn, frozen(engine):
        with pytest.raises(OperationalError, match=r"has not answered for .* no connection") as end:
            conn.execute(text("SELECT 1"))
        assert is_transient(end.value)
    with engine.connect() as conn:  # the pool keeps no connection of before
        assert conn.execute(text("SELECT 1")).scalar() == 1


def test_ctrl_c_does_not_wait_for_a_frozen_server(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        conn.detach()
        ctrl_c = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        ctrl_c.start()
        with frozen(engine), pytest.raises(KeyboardInterrupt):
            driver.execute("SELECT 1")
        assert driver.closed
    # Psycopg's own wait for the cancelled statement, which takes five seconds more.
    assert "not terminated after cancellation" not in caplog.text


def test_ctrl_c_cancels_a_statement(engine: Engine) -> None:
    with engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            driver.execute("SELECT pg_sleep(60)")
        driver.rollback()
        assert driver.execute("SELECT 1").fetchone() == (1,)


def test_a_frozen_server_is_left_running(open_folder: Path, engine: Engine) -> None:
    with open_database(None, open_folder) as second, frozen(second.engine):
        second.engine.dispose()
        server = second.server
        assert server is not None
        server.release()
    with engine.connect() as conn:
        assert conn.execute(text("SELECT 1")).scalar() == 1

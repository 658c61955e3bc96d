"""A connection pooler: refused in transaction and statement mode, used in session mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from servers.pgbouncer import pgbouncer

from pipeline.errors import StoreError
from pipeline.store.database import Database, open_database, open_existing
from pipeline.store.embedded.postgres import EmbeddedPostgres

REFUSED = r"pooler in transaction or statement mode.*pool in session mode \(pool_mode=session\)"


@pytest.fixture
def socket_folder(postgres: EmbeddedPostgres) -> str:
    return postgres.connect_args["host"]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"default_pool_size": 1}, {"server_round_robin": 1, "min_pool_size": 2}],
    ids=["default", "one-session", "two-in-turn"],
)
def test_shared_server_sessions_are_refused_at_the_start(
    empty_database: Database, socket_folder: str, mode: str, settings: dict[str, int]
) -> None:
    with pgbouncer(socket_folder, mode, **settings) as url:
        for opening in (open_database, open_existing):
            with (
                pytest.raises(StoreError, match=REFUSED),
                opening(f"{url}/test", Path("unused")),
            ):
                pass
    with empty_database.engine.connect() as conn:
        found = conn.exec_driver_sql("SELECT to_regnamespace('lotline')").scalar_one()
    assert found is None, "nothing was created"


@pytest.fixture
def busy_pool(database: Database, socket_folder: str) -> Iterator[str]:
    """A pool in transaction mode that other clients use all the time."""
    ended = threading.Event()
    with pgbouncer(socket_folder, "transaction", default_pool_size=4) as url:

        def work() -> None:
            with psycopg.connect(f"{url}/test", autocommit=True) as conn:
                while not ended.is_set():
                    conn.execute("SELECT pg_sleep(0.001)", prepare=False)

        clients = [threading.Thread(target=work) for _ in range(6)]
        for client in clients:
            client.start()
        yield url
        ended.set()
        for client in clients:
            client.join()


def test_a_busy_pool_is_recognised_too(busy_pool: str) -> None:
    for _ in range(10):
        with (
            pytest.raises(StoreError, match=REFUSED),
            open_database(f"{busy_pool}/test", Path("unused")),
        ):
            pass


def test_session_mode_is_used(empty_database: Database, socket_folder: str) -> None:
    with (
        pgbouncer(socket_folder, "session") as url,
        open_database(f"{url}/test", Path("unused")) as opened,
        opened.engine.connect() as conn,
    ):
        assert conn.exec_driver_sql("SELECT count(*) FROM lotline.property").scalar_one() == 0


def test_a_pool_with_one_session_only_is_refused(
    empty_database: Database, socket_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.store.connection_pooler._WAIT_S", 0.2)
    with (
        pgbouncer(socket_folder, "session", default_pool_size=1) as url,
        pytest.raises(StoreError, match=r"no free server session.*default_pool_size"),
        open_database(f"{url}/test", Path("unused")),
    ):
        pass


def test_a_direct_connection_costs_one_query(database: Database) -> None:
    from pipeline.store.connection_pooler import check_pooler

    def refuse() -> psycopg.Connection[tuple[object, ...]]:
        raise AssertionError("a second connection was opened")

    with psycopg.connect(database.url, autocommit=True) as first:
        check_pooler(first, refuse)

"""Recognises a connection pooler that gives a client another server session for each transaction.

Lotline needs sessions of its own: a run's advisory lock says that it lives, chunks are merged in
temporary tables, and settings are made once. In PgBouncer's transaction or statement mode these
would be another client's (pgbouncer#617).
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq

from pipeline.errors import StoreError

Connect = Callable[[], psycopg.Connection[Any]]

_CURE = (
    "point DATABASE_URL to the server's own port (5432 by default), or to a pool in session mode "
    "(pool_mode=session)"
)
_ROUNDS = 5
# A pool in session mode that has no free server session keeps a client waiting.
_WAIT_S = 10.0


def check_pooler(first: psycopg.Connection[Any], connect: Connect) -> None:
    """Check that each connection has a server session of its own.

    Without a pooler this is one query: the process id that the connection was given when it began
    is that of its server process. A pooler gives one of its own. Then two connections are compared:
    in session mode each keeps its server process, and they never share one.

    Args:
        first: an open connection in autocommit mode.
        connect: opens another one.

    Raises:
        StoreError: transactions share server sessions, or the pool has one session only.
    """
    server_pid = _server_pid(first)
    if server_pid == first.pgconn.backend_pid:
        return
    with connect() as second:
        pids: dict[int, set[int]] = {id(first): {server_pid}, id(second): set()}
        # Twice the second one: a pool of two that takes turns would otherwise look like sessions.
        for connection in [first, second, second] * _ROUNDS:
            pids[id(connection)].add(_server_pid(connection))
            of_first, of_second = pids.values()
            if len(of_first) > 1 or len(of_second) > 1 or of_first & of_second:
                raise StoreError(
                    "DATABASE_URL leads to a connection pooler in transaction or statement mode "
                    "(PgBouncer, PgCat, Odyssey, Supavisor), which gives each transaction another "
                    "server session. Lotline needs sessions of its own for locks and temporary "
                    f"tables: {_CURE}"
                )


def _server_pid(connection: psycopg.Connection[Any]) -> int:
    """The process id of the server session that runs the query now.

    Sent without the driver's prepared statements, and with a time limit.
    """
    pgconn = connection.pgconn
    pgconn.send_query(b"SELECT pg_backend_pid()")
    deadline = time.monotonic() + _WAIT_S
    while pgconn.is_busy():
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([pgconn.socket], [], [], left_s)[0]:
            raise StoreError(
                "DATABASE_URL leads to a connection pooler that has no free server session for a "
                f"second connection after {_WAIT_S:.0f} s: allow 10 or more for this database "
                "(PgBouncer: default_pool_size), or point DATABASE_URL to the server's own port"
            )
        pgconn.consume_input()
    found: int | None = None
    while (result := pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.TUPLES_OK:
            message = " ".join(result.error_message.decode("utf-8", "replace").split())
            raise StoreError(f"the database refuses queries: {message}: check DATABASE_URL")
        found = int(result.get_value(0, 0) or b"0")
    if found is None:
        raise StoreError("the database closed the connection: check DATABASE_URL")
    return found

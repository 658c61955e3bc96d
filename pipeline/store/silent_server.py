"""Connections that notice a server that no longer answers, and give up waiting for it.

A frozen server (its machine is suspended, its processes are stopped, its disk hangs) keeps its
sockets open: TCP keepalives do not notice it, and a statement would wait for ever. A slow statement
looks the same from here, so the server is asked for a second connection before the first is given
up.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import make_conninfo

# How long a statement waits before the server is checked, and again after each check.
CHECK_AFTER_S = 60.0
# How long the server has to accept a connection.
CONNECT_TIMEOUT_S = 10

# How long the server has to take a cancellation after Ctrl-C.
CANCEL_TIMEOUT_S = 1.0

_Result = TypeVar("_Result")


class WatchfulConnection(psycopg.Connection[Any]):
    """A connection whose waits end with an OperationalError once the server is silent."""

    def wait(self, gen: Generator[Any, Any, _Result], *args: Any, **kwargs: Any) -> _Result:  # noqa: ANN401
        """Run one of psycopg's generators; it is resumed with 0 whenever nothing has arrived."""
        return super().wait(self._watched(gen), *args, **kwargs)

    def _try_cancel(self, *, timeout: float = CANCEL_TIMEOUT_S) -> None:
        """Cancel the statement after Ctrl-C; psycopg calls it, and then waits for the end.

        A silent server would make it wait for ten seconds, so its connection is given up.
        """
        try:
            self.cancel_safe(timeout=min(timeout, CANCEL_TIMEOUT_S))
        except psycopg.Error:
            self.pgconn.finish()

    def _watched(self, gen: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
        silent_since_s = checked_s = time.monotonic()
        ready = None  # starts the generator
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                result: _Result = end.value
                return result
            ready = yield wanted
            now_s = time.monotonic()
            if ready:
                silent_since_s = checked_s = now_s
            elif now_s - checked_s >= CHECK_AFTER_S:
                self._check_server(now_s - silent_since_s)
                checked_s = time.monotonic()

    def _check_server(self, silent_s: float) -> None:
        """Give this connection up if the server accepts no other."""
        known = {
            option.keyword.decode(): option.val.decode()
            for option in self.pgconn.info
            if option.val is not None
        }
        parameters = make_conninfo(**{**known, "connect_timeout": str(CONNECT_TIMEOUT_S)})
        try:
            psycopg.connect(parameters).close()
        except errors.ConnectionTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the database has not answered for {silent_s:.0f} s, and accepts no connection"
            ) from error
        except psycopg.OperationalError:
            pass  # a refusal is an answer; if the connection is lost, this wait ends anyway

"""A database server whose processes are frozen, as those of a paused container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from sqlalchemy import Engine


@contextmanager
def frozen(engine: Engine) -> Iterator[None]:
    """Freeze all processes of the database server; its sockets stay open."""
    with engine.connect() as conn:
        server = psutil.Process(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar()).parent()
    assert server is not None
    processes = [server, *server.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()

"""Opens the database: the one at DATABASE_URL, otherwise the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipeline.errors import StoreError
from pipeline.store import schema
from pipeline.store.disk_full import on_database_error
from pipeline.store.embedded.postgres import EmbeddedPostgres
from pipeline.store.silent_server import WatchfulConnection

_DRIVER = "postgresql+psycopg"

# TCP keepalives: each side notices within about a minute that the other machine froze or that the
# network is cut. They do not limit how long a statement may run.
_KEEPALIVE_IDLE_S, _KEEPALIVE_INTERVAL_S, _KEEPALIVE_COUNT, _USER_TIMEOUT_MS = 30, 10, 3, 60_000

# libpq parameters, unless DATABASE_URL sets them. A Unix socket ignores all but connect_timeout.
_CLIENT_PARAMETERS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": _KEEPALIVE_IDLE_S,
    "keepalives_interval": _KEEPALIVE_INTERVAL_S,
    "keepalives_count": _KEEPALIVE_COUNT,
    "tcp_user_timeout": _USER_TIMEOUT_MS,
}

# Server settings of the session, where they have their default. Otherwise the server would hold the
# locks of a lost machine for hours, the advisory lock of its run included.
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": str(_KEEPALIVE_IDLE_S),
    "tcp_keepalives_interval": str(_KEEPALIVE_INTERVAL_S),
    "tcp_keepalives_count": str(_KEEPALIVE_COUNT),
    "tcp_user_timeout": str(_USER_TIMEOUT_MS),
}
_SET_KEEPALIVES = """
SELECT set_config(name, value, false) FROM pg_settings
JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS wanted (name, value) USING (name)
WHERE source = 'default'
"""


@dataclass(frozen=True, slots=True)
class Database:
    """An open database at the code's schema revision.

    Attributes:
        url: for psql; it may contain a password.
        server: the embedded server; None with DATABASE_URL.
    """

    engine: Engine
    url: str = field(repr=False)
    server: EmbeddedPostgres | None

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded database."""
        return self.server is not None


@contextmanager
def open_database(url: str | None, home: Path, *, upgrade: bool = False) -> Iterator[Database]:
    """Open the database at `url`, or without a URL the embedded PostGIS in `home`/postgres.

    An embedded database, or one without Lotline's tables, is upgraded to the code's revision. Any
    other is upgraded only with `upgrade`.

    Raises:
        StoreError: the database cannot be reached or started, has no PostGIS, is newer than the
            code, or is older and `upgrade` is not set.
    """
    if url is None:
        with _embedded(home / "postgres") as database:
            yield database
    else:
        with _external(url, upgrade=upgrade) as database:
            yield database


@contextmanager
def _embedded(folder: Path) -> Iterator[Database]:
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        engine = _engine(
            URL.create(_DRIVER, database="lotline"),
            server.connect_args,
            partial(_connect_embedded, server),
        )
        try:
            _prepare(engine, upgrade=True)
            yield Database(engine, server.url, server)
        finally:
            engine.dispose()
    finally:
        server.release()


def _engine(
    address: URL, arguments: Mapping[str, object], connect: Callable[..., WatchfulConnection]
) -> Engine:
    # Pre-ping: a pooled connection may be older than the server's last restart.
    engine = create_engine(address, connect_args=dict(arguments), pool_pre_ping=True)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", on_database_error)
    return engine


def _connect(
    _dialect: Dialect, _: object, args: list[Any], kwargs: dict[str, Any]
) -> WatchfulConnection:
    return WatchfulConnection.connect(*args, **kwargs)


def _connect_embedded(
    server: EmbeddedPostgres, _dialect: Dialect, _: object, args: list[Any], kwargs: dict[str, Any]
) -> WatchfulConnection:
    """Connect to the embedded server; restart it first if it died, as nothing else does."""
    try:
        return WatchfulConnection.connect(*args, **kwargs)
    except psycopg.OperationalError:
        server.restart_if_dead()
        return WatchfulConnection.connect(*args, **{**kwargs, **server.connect_args})


@contextmanager
def _external(url: str, *, upgrade: bool) -> Iterator[Database]:
    address = _parse_url(url)
    engine = _remote_engine(address)
    try:
        try:
            engine.connect().close()
        except DBAPIError as error:
            shown = address.set(drivername="postgresql").render_as_string(hide_password=True)
            raise StoreError(
                f"the database {shown} cannot be reached: "
                f"{' '.join(str(error.orig).split()).rstrip('.:?')}: check DATABASE_URL and "
                "that the server runs, or unset DATABASE_URL to use the embedded database"
            ) from error
        _prepare(engine, upgrade=upgrade)
        full_url = address.set(drivername="postgresql").render_as_string(hide_password=False)
        yield Database(engine, full_url, None)
    finally:
        engine.dispose()


def open_engine(url: str) -> Engine:
    """An engine for a database that another process has opened, from its `Database.url`.

    Raises:
        StoreError: `url` is not the URL of a PostgreSQL database.
    """
    return _remote_engine(_parse_url(url))


def _remote_engine(address: URL) -> Engine:
    parameters = {
        name: value for name, value in _CLIENT_PARAMETERS.items() if name not in address.query
    }
    engine = _engine(address, parameters, _connect)
    event.listen(engine, "connect", _set_keepalives)
    return engine


def _set_keepalives(connection: DBAPIConnection, _: object) -> None:
    names, values = list(_SERVER_SETTINGS), list(_SERVER_SETTINGS.values())
    connection.cursor().execute(_SET_KEEPALIVES, [names, values])
    connection.commit()


def _parse_url(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The message omits the URL: a password may be anywhere in it.
        raise StoreError(
            "DATABASE_URL is not a URL: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if "@" in f"{address.host}{address.database}":
        # The rest of an unquoted password is parsed as host or database, and would be shown.
        raise StoreError(
            "DATABASE_URL is not a valid URL: in its password write %40 for @, %2F for /, %3A for :"
        )
    if address.drivername not in {"postgres", "postgresql", _DRIVER}:
        raise StoreError(
            f"DATABASE_URL is the URL of a {address.drivername} database, but Lotline needs "
            "PostgreSQL with PostGIS: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return address.set(drivername=_DRIVER)


def _prepare(engine: Engine, *, upgrade: bool) -> None:
    if not upgrade:
        with engine.connect() as connection:
            if schema.check(connection):
                return
    schema.upgrade(engine)

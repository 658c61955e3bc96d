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
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipeline.errors import StoreError
from pipeline.store import schema
from pipeline.store.connection_pooler import check_pooler
from pipeline.store.disk_full import on_database_error
from pipeline.store.embedded.paths import has_cluster
from pipeline.store.embedded.postgres import EmbeddedPostgres
from pipeline.store.server_checks import check_server
from pipeline.store.session_settings import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    USER_TIMEOUT_MS,
    prepare_session,
)
from pipeline.store.silent_server import WatchfulConnection

_DRIVER = "postgresql+psycopg"

# libpq parameters, unless DATABASE_URL sets them. A Unix socket ignores the keepalives.
_CLIENT_PARAMETERS = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": KEEPALIVE_IDLE_S,
    "keepalives_interval": KEEPALIVE_INTERVAL_S,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": USER_TIMEOUT_MS,
}


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
def open_existing(url: str | None, home: Path) -> Iterator[Database | None]:
    """Open a database with results; None if there are none yet. Creates and upgrades nothing.

    Raises:
        StoreError: the database cannot be reached or started, or is older or newer than the code.
    """
    opened = _external(url, create=False) if url is not None else None
    if opened is None:
        if not has_cluster(home / "postgres"):
            yield None
            return
        opened = _embedded(home / "postgres", create=False)
    with opened as database, database.engine.connect() as connection:
        has_tables = schema.check(connection)
        connection.close()
        yield database if has_tables else None


@contextmanager
def _embedded(folder: Path, *, create: bool = True) -> Iterator[Database]:
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        engine = _engine(
            URL.create(_DRIVER, database="lotline"),
            server.connect_args,
            partial(_connect_embedded, server),
        )
        try:
            if create:
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
    event.listen(engine, "connect", prepare_session)
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
def _external(url: str, *, create: bool = True, upgrade: bool = False) -> Iterator[Database]:
    address = _parse_url(url)
    engine = _remote_engine(address)
    try:
        _check(engine, address, writes=create)
        if create:
            _prepare(engine, upgrade=upgrade)
        full_url = address.set(drivername="postgresql").render_as_string(hide_password=False)
        yield Database(engine, full_url, None)
    finally:
        engine.dispose()


def _check(engine: Engine, address: URL, *, writes: bool) -> None:
    """Check the server before anything is stored; see `server_checks` and `connection_pooler`."""
    _, parameters = engine.dialect.create_connect_args(address)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(**_client_parameters(address), **parameters, autocommit=True)

    try:
        with connect() as connection:
            check_pooler(connection, connect)
            prepare_session(connection)
            check_server(connection, writes=writes)
        engine.connect().close()
    except (psycopg.Error, DBAPIError) as error:
        shown = address.set(drivername="postgresql").render_as_string(hide_password=True)
        detail = getattr(error, "orig", error)
        raise StoreError(
            f"the database {shown} cannot be reached: "
            f"{' '.join(str(detail).split()).rstrip('.:?')}: check DATABASE_URL and "
            "that the server runs, or unset DATABASE_URL to use the embedded database"
        ) from error


def open_engine(url: str) -> Engine:
    """An engine for a database that another process has opened, from its `Database.url`.

    Raises:
        StoreError: `url` is not the URL of a PostgreSQL database.
    """
    return _remote_engine(_parse_url(url))


def _remote_engine(address: URL) -> Engine:
    return _engine(address, _client_parameters(address), _connect)


def _client_parameters(address: URL) -> dict[str, Any]:
    return {k: value for k, value in _CLIENT_PARAMETERS.items() if k not in address.query}


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
            if schema.check(connection, writes=True):
                return
    schema.upgrade(engine)

"""Opens the database: the one of DATABASE_URL, else the embedded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

_DRIVER = "postgresql+psycopg"

# Of a machine that freezes, or behind a cable that is cut, nothing is ever heard: within about a
# minute each end notices that the other is gone. A statement that takes long is none of that.
_IDLE_S, _INTERVAL_S, _COUNT, _UNHEARD_MS = 30, 10, 3, 60_000

# Parameters of libpq, unless the address has others. On a Unix socket it ignores all but the first.
_PARAMETERS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": _IDLE_S,
    "keepalives_interval": _INTERVAL_S,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": _UNHEARD_MS,
}

# The server's, unless somebody has set others there: else the locks of a machine that is gone, its
# run's among them, are held for hours. On a Unix socket they change nothing.
_SETTINGS = {
    "tcp_keepalives_idle": str(_IDLE_S),
    "tcp_keepalives_interval": str(_INTERVAL_S),
    "tcp_keepalives_count": str(_COUNT),
    "tcp_user_timeout": str(_UNHEARD_MS),
}
_SET = """
SELECT set_config(name, value, false) FROM pg_settings
JOIN unnest(CAST(%s AS text[]), CAST(%s AS text[])) AS wanted (name, value) USING (name)
WHERE source = 'default'
"""


@dataclass(frozen=True, slots=True)
class Database:
    """An open database whose schema is the code's.

    Attributes:
        url: what psql opens; it may hold a password.
        server: the embedded server behind it, None where DATABASE_URL names another.
    """

    engine: Engine
    url: str = field(repr=False)
    server: EmbeddedPostgres | None

    @property
    def embedded(self) -> bool:
        """Whether it is the project's own."""
        return self.server is not None


@contextmanager
def open_database(url: str | None, home: Path, *, upgrade: bool = False) -> Iterator[Database]:
    """Open the database at `url`; without one the embedded PostGIS in `home`/postgres.

    The embedded database, and one without tables of Lotline, is brought to the code's schema;
    any other only with `upgrade`.

    Raises:
        StoreError: it cannot be reached or started, has no PostGIS, is behind the code (without
            `upgrade`) or newer than it.
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
        engine = _engine(URL.create(_DRIVER, database="lotline"), server.connect_args)
        event.listen(engine, "do_connect", partial(_connect, server))
        try:
            _prepare(engine, upgrade=True)
            yield Database(engine, server.url, server)
        finally:
            engine.dispose()
    finally:
        server.release()


def _engine(address: URL, arguments: Mapping[str, object]) -> Engine:
    # What is taken from the pool may be of before the server's restart.
    engine = create_engine(address, connect_args=dict(arguments), pool_pre_ping=True)
    event.listen(engine, "handle_error", on_database_error)
    return engine


def _connect(
    server: EmbeddedPostgres, dialect: Dialect, _: object, args: list[Any], names: dict[str, Any]
) -> DBAPIConnection:
    """Connect to the embedded server, which nobody but us starts again when it died."""
    try:
        return dialect.connect(*args, **names)
    except psycopg.OperationalError:
        server.restart_if_dead()
        return dialect.connect(*args, **{**names, **server.connect_args})


@contextmanager
def _external(url: str, *, upgrade: bool) -> Iterator[Database]:
    address = _address(url)
    engine = _engine_afar(address)
    try:
        try:
            engine.connect().close()
        except DBAPIError as error:
            shown = address.set(drivername="postgresql").render_as_string(hide_password=True)
            raise StoreError(
                f"the database {shown} cannot be reached: "
                f"{' '.join(str(error.orig).split()).rstrip('.:?')}: check DATABASE_URL and "
                "that the server runs, or unset it to use the embedded database"
            ) from error
        _prepare(engine, upgrade=upgrade)
        plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
        yield Database(engine, plain, None)
    finally:
        engine.dispose()


def open_engine(url: str) -> Engine:
    """The engine of a database that another process has opened: `Database.url` of that.

    Raises:
        StoreError: no address of a PostgreSQL.
    """
    return _engine_afar(_address(url))


def _engine_afar(address: URL) -> Engine:
    said = {name: value for name, value in _PARAMETERS.items() if name not in address.query}
    engine = _engine(address, said)
    event.listen(engine, "connect", _watch)
    return engine


def _watch(connection: DBAPIConnection, _: object) -> None:
    connection.cursor().execute(_SET, [list(_SETTINGS), list(_SETTINGS.values())])
    connection.commit()


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The address itself is not shown: a password may be anywhere in it.
        raise StoreError(
            "DATABASE_URL is not an address: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if "@" in f"{address.host}{address.database}":
        # A password that is not quoted ends too early, and its rest would be shown as a host.
        raise StoreError(
            "DATABASE_URL is not an address: in its password write %40 for @, %2F for /, %3A for :"
        )
    if address.drivername not in {"postgres", "postgresql", _DRIVER}:
        raise StoreError(
            f"DATABASE_URL names a {address.drivername} database: Lotline needs PostgreSQL with "
            "PostGIS, postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return address.set(drivername=_DRIVER)


def _prepare(engine: Engine, *, upgrade: bool) -> None:
    if not upgrade:
        with engine.connect() as connection:
            if schema.check(connection):
                return
    schema.upgrade(engine)

"""A private PostGIS cluster: started on demand, shared by commands, stopped with the last one.

Files in the cluster's folder:

    data/     the cluster, put here by one rename after initdb finished
    socket/   its Unix socket; nothing listens on the network
    lock      held exclusively while the server is started or stopped
    users     held shared by every process that uses the server
    keep      the server that is to stay up after its last user
    log       what the server says

Locks are flocks: the kernel gives them back when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from pipeline.errors import StoreError
from pipeline.store.embedded.paths import cluster_folder, ensure_project_id
from pipeline.store.embedded.programs import ServerUser, server_user
from pipeline.store.embedded.server import (
    NAME,
    connection_parameters,
    ensure_running,
    instance_id,
    is_alive,
    socket_of,
    stop_running,
)

log = logging.getLogger(__name__)

_KNOWN_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %s"
_KNOWN_POSTGIS = "SELECT 1 FROM pg_extension WHERE extname = 'postgis'"
_OTHER_CLIENTS = """
-- Connections of ours hold the `users` lock; here we look for others, such as psql.
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND application_name <> %s
"""


class EmbeddedPostgres:
    """The private PostGIS cluster of `folder`.

    Safe to start from several processes at once. The server is nobody's child: it survives the
    death of the command that started it, and the next command finds it and stops it.

    Raises:
        StoreError: from every method: no PostgreSQL with PostGIS, a folder that cannot be used,
            or a server that does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._users: int | None = None
        self._socket: Path | None = None
        self._place: tuple[Path, ServerUser] | None = None

    @property
    def connect_args(self) -> dict[str, str]:
        """The parameters of libpq for a connection to the running server."""
        if self._socket is None:
            raise StoreError("the embedded database is not started: call start() first")
        return connection_parameters(self._socket)

    @property
    def url(self) -> str:
        """What psql and other libpq programs open; only valid while the server runs."""
        host = quote(self.connect_args["host"], safe="")
        return f"postgresql://{NAME}@/{NAME}?host={host}&port=5432"

    def start(self) -> None:
        """Make the cluster if there is none, start its server if it is down, and use it."""
        if self._users is not None:
            self.restart_if_dead()
            return
        cluster, user = self._located()
        with _locked(cluster, user):
            users = _open(cluster / "users", user)
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                self._socket = ensure_running(cluster, ensure_project_id(self._folder), user)
                self._ensure_database()
            except BaseException:
                os.close(users)
                self._socket = None
                raise
            self._users = users

    def restart_if_dead(self) -> None:
        """Start the server again if it died while it was used, or find where it is now.

        A server that lives is left alone, also one that answers nobody at this moment.
        """
        cluster, user = self._located()
        with _locked(cluster, user):
            if self._users is None:
                return
            if is_alive(cluster, user):
                self._socket = socket_of(cluster) or self._socket
                return
            log.warning("the embedded database in %s is down: it is started again", self._folder)
            self._socket = ensure_running(cluster, ensure_project_id(self._folder), user)

    def release(self) -> None:
        """Use it no longer; the last user stops the server, unless it is kept or psql is in it."""
        if self._users is None:
            return
        cluster, user = self._located()
        with _locked(cluster, user):
            os.close(self._users)
            self._users = None
            if self._is_last(cluster, user):
                stop_running(cluster, user)
        self._socket = None

    def keep_running(self) -> None:
        """Let the running server stay up after its last user, until `stop`."""
        cluster, user = self._located()
        with _locked(cluster, user):
            (cluster / "keep").write_text(instance_id(cluster), encoding="ascii")

    def stop(self) -> None:
        """Stop the server, whoever uses it, and forget that it was to be kept."""
        cluster, user = self._located()
        with _locked(cluster, user):
            stop_running(cluster, user)
            (cluster / "keep").unlink(missing_ok=True)
            if self._users is not None:
                os.close(self._users)
            self._users = self._socket = None

    def _located(self) -> tuple[Path, ServerUser]:
        if self._place is None:
            user = server_user(self._folder / "data")
            self._place = (cluster_folder(self._folder, user), user)
        return self._place

    def _conninfo(self, database: str) -> str:
        return make_conninfo(dbname=database, **self.connect_args)

    def _ensure_database(self) -> None:
        try:
            with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
                if connection.execute(_KNOWN_DATABASE, [NAME]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {NAME}")
            with psycopg.connect(self._conninfo(NAME), autocommit=True) as connection:
                if connection.execute(_KNOWN_POSTGIS).fetchone() is None:
                    connection.execute("CREATE EXTENSION postgis")
        except psycopg.Error as error:
            raise StoreError(
                f"the embedded database in {self._folder} cannot be prepared: {error}: remove "
                "that folder to begin anew, or set DATABASE_URL"
            ) from error

    def _is_last(self, cluster: Path, user: ServerUser) -> bool:
        users = _open(cluster / "users", user)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(users)
        kept = cluster / "keep"
        if kept.exists() and kept.read_text(encoding="ascii") == instance_id(cluster):
            return False
        try:
            with psycopg.connect(self._conninfo("postgres")) as connection:
                row = connection.execute(_OTHER_CLIENTS, [NAME]).fetchone()
        except psycopg.OperationalError:  # it is down or going down: nobody is in it
            return True
        return row is not None and row[0] == 0


@contextmanager
def _locked(cluster: Path, user: ServerUser) -> Iterator[None]:
    """Hold the cluster's lock: nobody else starts or stops its server meanwhile."""
    lock = _open(cluster / "lock", user)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open(path: Path, user: ServerUser) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not user.is_caller:
            os.fchown(descriptor, user.uid, user.gid)
    except OSError as error:
        raise StoreError(
            f"the embedded database in {path.parent} cannot be opened ({error.strerror}): run as "
            "the user who made it, or set DATABASE_URL"
        ) from error
    return descriptor

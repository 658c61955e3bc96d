"""A private PostGIS cluster: started on demand, shared by commands, stopped with the last one.

Files in the cluster's folder:

    data/     the cluster; renamed to this after initdb finished
    socket/   its Unix socket; the server does not listen on the network
    lock      locked exclusively while the server is started or stopped
    users     locked shared by every process that uses the server
    keep      id of the server that keeps running after its last user
    log       the server's log

Locks are flocks: the kernel releases them when a process ends, even if it is killed.
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

_DATABASE_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"
_POSTGIS_EXISTS = "SELECT 1 FROM pg_extension WHERE extname = 'postgis'"
_OTHER_CLIENTS = """
-- Lotline's processes hold the `users` lock; these are other clients, such as psql.
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND application_name <> %s
"""


class EmbeddedPostgres:
    """The private PostGIS cluster of `folder`.

    Several processes may start it at the same time. The server is a daemon: it keeps running if the
    command that started it is killed; the next command finds it and stops it.

    Raises:
        StoreError: from every method: there is no PostgreSQL with PostGIS, the folder cannot be
            used, or the server does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._users_lock: int | None = None  # a file descriptor; None if not in use
        self._socket: Path | None = None
        self._cluster_and_user: tuple[Path, ServerUser] | None = None

    @property
    def connect_args(self) -> dict[str, str]:
        """The libpq parameters for a connection to the running server."""
        if self._socket is None:
            raise StoreError("the embedded database is not started: call start() first")
        return connection_parameters(self._socket)

    @property
    def url(self) -> str:
        """The URL for psql and other libpq programs; valid while the server runs."""
        host = quote(self.connect_args["host"], safe="")
        return f"postgresql://{NAME}@/{NAME}?host={host}&port=5432"

    def start(self) -> None:
        """Create the cluster if needed, start its server if it is down, and register as a user."""
        if self._users_lock is not None:
            self.restart_if_dead()
            return
        cluster, user = self._locate()
        with _locked(cluster, user):
            users_lock = _open(cluster / "users", user)
            fcntl.flock(users_lock, fcntl.LOCK_SH)
            try:
                self._socket = ensure_running(cluster, ensure_project_id(self._folder), user)
                self._ensure_database()
            except BaseException:
                os.close(users_lock)
                self._socket = None
                raise
            self._users_lock = users_lock

    def restart_if_dead(self) -> None:
        """Restart the server if it died while in use; otherwise read its current socket.

        A running server is not restarted, even if it does not accept connections at this time.
        """
        cluster, user = self._locate()
        with _locked(cluster, user):
            if self._users_lock is None:
                return
            if is_alive(cluster, user):
                self._socket = socket_of(cluster) or self._socket
                return
            log.warning("the embedded database in %s is down: restarting it", self._folder)
            self._socket = ensure_running(cluster, ensure_project_id(self._folder), user)

    def release(self) -> None:
        """Stop using the server; the last user stops it, unless `keep_running` or psql is open."""
        if self._users_lock is None:
            return
        cluster, user = self._locate()
        with _locked(cluster, user):
            os.close(self._users_lock)
            self._users_lock = None
            if self._is_unused(cluster, user):
                stop_running(cluster, user)
        self._socket = None

    def keep_running(self) -> None:
        """Keep the running server up after its last user, until `stop`."""
        cluster, user = self._locate()
        with _locked(cluster, user):
            (cluster / "keep").write_text(instance_id(cluster), encoding="ascii")

    def stop(self) -> None:
        """Stop the server even if it is in use, and cancel `keep_running`."""
        cluster, user = self._locate()
        with _locked(cluster, user):
            stop_running(cluster, user)
            (cluster / "keep").unlink(missing_ok=True)
            if self._users_lock is not None:
                os.close(self._users_lock)
            self._users_lock = self._socket = None

    def _locate(self) -> tuple[Path, ServerUser]:
        if self._cluster_and_user is None:
            user = server_user(self._folder / "data")
            self._cluster_and_user = (cluster_folder(self._folder, user), user)
        return self._cluster_and_user

    def _conninfo(self, database: str) -> str:
        return make_conninfo(dbname=database, **self.connect_args)

    def _ensure_database(self) -> None:
        try:
            with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
                if connection.execute(_DATABASE_EXISTS, [NAME]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {NAME}")
            with psycopg.connect(self._conninfo(NAME), autocommit=True) as connection:
                if connection.execute(_POSTGIS_EXISTS).fetchone() is None:
                    connection.execute("CREATE EXTENSION postgis")
        except psycopg.Error as error:
            raise StoreError(
                f"the embedded database in {self._folder} cannot be prepared: {error}: delete "
                "that folder to start with an empty database, or set DATABASE_URL"
            ) from error

    def _is_unused(self, cluster: Path, user: ServerUser) -> bool:
        users_lock = _open(cluster / "users", user)
        try:
            fcntl.flock(users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(users_lock)
        keep = cluster / "keep"
        if keep.exists() and keep.read_text(encoding="ascii") == instance_id(cluster):
            return False
        try:
            with psycopg.connect(self._conninfo("postgres")) as connection:
                row = connection.execute(_OTHER_CLIENTS, [NAME]).fetchone()
        except psycopg.errors.ConnectionTimeout:  # it is frozen, and so cannot be stopped
            return False
        except psycopg.OperationalError:  # it is down or shutting down
            return True
        return row is not None and row[0] == 0


@contextmanager
def _locked(cluster: Path, user: ServerUser) -> Iterator[None]:
    """Hold the cluster's lock: no other process starts or stops its server."""
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
            "the user who created it, or set DATABASE_URL"
        ) from error
    return descriptor

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
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from pipeline.errors import StoreError
from pipeline.store.folders import SOCKET_NAME, cluster_folder, own_id, socket_folder
from pipeline.store.programs import Programs, ServerUser, find_programs, server_user

NAME = "lotline"  # of the role, of the database, and of our connections
_READY_S = 120.0  # recovery after a crash can take a while
_POLL_S = 0.05

_CONFIGURATION = """
# Written by Lotline when it made this cluster.
listen_addresses = ''
unix_socket_permissions = 0700
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_checkpoints = off
jit = off  # compiling a plan costs more than any query of ours
"""

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
        self._folder = folder.absolute()
        self._users: int | None = None
        self._socket: Path | None = None
        self._place: tuple[Path, ServerUser] | None = None

    @property
    def connect_args(self) -> dict[str, str]:
        """The parameters of libpq for a connection to the running server."""
        if self._socket is None:
            raise StoreError("the embedded database is not started: call start() first")
        return _parameters(self._socket)

    @property
    def url(self) -> str:
        """What psql and other libpq programs open; only valid while the server runs."""
        host = quote(self.connect_args["host"], safe="")
        return f"postgresql://{NAME}@/{NAME}?host={host}&port=5432"

    def start(self) -> None:
        """Make the cluster if there is none, start its server if it is down, and use it."""
        if self._users is not None:
            return
        cluster, user = self._located()
        with _locked(cluster, user):
            users = _open(cluster / "users", user)
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                self._socket = _ensure_running(cluster, own_id(self._folder), user)
                self._ensure_database()
            except BaseException:
                os.close(users)
                self._socket = None
                raise
            self._users = users

    def release(self) -> None:
        """Use it no longer; the last user stops the server, unless it is kept or psql is in it."""
        if self._users is None:
            return
        cluster, user = self._located()
        with _locked(cluster, user):
            os.close(self._users)
            self._users = None
            if self._is_last(cluster, user):
                _stop(cluster, user)
        self._socket = None

    def keep(self) -> None:
        """Let the running server stay up after its last user, until `stop`."""
        cluster, user = self._located()
        with _locked(cluster, user):
            (cluster / "keep").write_text(_instance(cluster), encoding="ascii")

    def stop(self) -> None:
        """Stop the server, whoever uses it, and forget that it was to be kept."""
        cluster, user = self._located()
        with _locked(cluster, user):
            _stop(cluster, user)
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
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME])
            if known.fetchone() is None:
                connection.execute(f"CREATE DATABASE {NAME}")
        with psycopg.connect(self._conninfo(NAME), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'postgis'")
            if known.fetchone() is None:
                connection.execute("CREATE EXTENSION postgis")

    def _is_last(self, cluster: Path, user: ServerUser) -> bool:
        users = _open(cluster / "users", user)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(users)
        kept = cluster / "keep"
        if kept.exists() and kept.read_text(encoding="ascii") == _instance(cluster):
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


def _parameters(socket: Path) -> dict[str, str]:
    """All that says where and how to connect, so that no PG* variable of the caller diverts it."""
    return {
        "host": str(socket),
        "hostaddr": "",
        "port": "5432",
        "user": NAME,
        # Not the default, which for a role of the schema's name would be our schema.
        "options": "-c search_path=public",
        "application_name": NAME,
        "client_encoding": "utf8",
        "gssencmode": "disable",
        "requirepeer": "",
        "target_session_attrs": "any",
    }


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


def _ensure_running(cluster: Path, project_id: str, user: ServerUser) -> Path:
    """Start the server if it does not run; its socket's folder. The lock is held."""
    if _is_alive(cluster):
        running = _socket_of(cluster)
        if running is not None and _answers(running):
            return running
        # It answers nobody, for instance because the temporary folder was emptied.
        _stop(cluster, user)
    data = cluster / "data"
    if data.exists():
        major = int((data / "PG_VERSION").read_text(encoding="ascii"))
        programs = find_programs(major=major)
    else:
        programs = find_programs()
        _make_cluster(programs, cluster, user)
    socket = socket_folder(cluster, project_id, user)
    _start(programs, cluster, socket, user)
    return socket


def _make_cluster(programs: Programs, cluster: Path, user: ServerUser) -> None:
    """Make `data` in a draft, then rename it: a killed initdb leaves no half-made `data`."""
    for leftover in cluster.glob("draft-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = cluster / f"draft-{secrets.token_hex(4)}"
    programs.run(
        "initdb",
        f"--pgdata={draft}",
        f"--username={NAME}",
        "--auth-local=trust",  # the socket's folder lets nobody else in
        "--auth-host=reject",
        "--encoding=UTF8",
        *_locale(programs),
        user=user,
    )
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as configuration:
        configuration.write(_CONFIGURATION)
    draft.rename(cluster / "data")
    _make_durable(cluster)


def _make_durable(folder: Path) -> None:
    """A rename survives a power cut once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locale(programs: Programs) -> tuple[str, ...]:
    """Unicode's letters in the order of their code points, the same on every machine."""
    if programs.major >= 17:
        return ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    return ("--locale=C.UTF-8",) if "C.utf8" in known or "C.UTF-8" in known else ("--locale=C",)


def _start(programs: Programs, cluster: Path, socket: Path, user: ServerUser) -> None:
    """Start the server and wait until it answers. It is not running, and the lock is held."""
    log = cluster / "log"
    setting = f'"{socket}"'  # a list of quoted folders, for the server's shell
    options = f"-c unix_socket_directories={shlex.quote(setting)}"
    deadline = time.monotonic() + _READY_S
    while True:
        _forget_reused(cluster / "data" / "postmaster.pid")
        _forget_reused(socket / f"{SOCKET_NAME}.lock")
        try:
            programs.run(
                "pg_ctl", "start", "--wait", f"--timeout={_READY_S:.0f}", "--silent",
                f"--pgdata={cluster / 'data'}", f"--log={log}", f"--options={options}",
                user=user,
            )  # fmt: skip
        except StoreError as error:
            # Children of a killed server hold its shared memory until they notice.
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            tail = "\n".join(said.splitlines()[-6:])
            if "shared memory block" not in tail or time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded database in {cluster} does not start: {error}\n"
                    f"The end of {log}:\n{tail}"
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def _stop(cluster: Path, user: ServerUser) -> None:
    """Stop the server if it runs: at once for its clients, with a checkpoint. The lock is held."""
    if not _is_alive(cluster):
        return
    major = int((cluster / "data" / "PG_VERSION").read_text(encoding="ascii"))
    try:
        find_programs(major=major).run(
            "pg_ctl", "stop", "--wait", f"--timeout={_READY_S:.0f}", "--silent", "--mode=fast",
            f"--pgdata={cluster / 'data'}",
            user=user,
        )  # fmt: skip
    except StoreError:
        if _is_alive(cluster):  # else it was going down by itself
            raise


def _postmaster(cluster: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data, start, port, socket folder, ...; or none."""
    try:
        text = (cluster / "data" / "postmaster.pid").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.splitlines()


def _instance(cluster: Path) -> str:
    """Which start of the server this is: its pid and its time."""
    lines = _postmaster(cluster)
    return " ".join((lines[0], lines[2])) if len(lines) > 2 else ""


def _socket_of(cluster: Path) -> Path | None:
    lines = _postmaster(cluster)
    return Path(lines[4]) if len(lines) > 4 and lines[4] else None


def _is_alive(cluster: Path) -> bool:
    """Whether the process of postmaster.pid is a server of this cluster.

    Neither the file nor a living process of that number says so: after a kill or a reboot the
    file stays, and the number goes to somebody else.
    """
    pid = _first_number(cluster / "data" / "postmaster.pid")
    if pid is None:
        return False
    process = Path("/proc") / str(pid)
    if Path("/proc/self").exists():
        try:
            # A server works in its data folder. A dead process that nobody reaped has no folder.
            return (process / "cwd").samefile(cluster / "data")
        except OSError:
            return False
    listed = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres -D" in listed.stdout


def _forget_reused(lock_file: Path) -> None:
    """Remove a dead server's lock file where its number now is another process's.

    PostgreSQL would take that process for the server. In every other case it cleans up by itself,
    and better, because the file also leads it to the shared memory of what was not killed.
    """
    pid = _first_number(lock_file)
    if pid is None:
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:  # it lives, and belongs to somebody else
        pass
    lock_file.unlink(missing_ok=True)


def _first_number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    first = text.partition("\n")[0].strip()
    return int(first) if first.isdigit() else None


def _answers(socket: Path) -> bool:
    """Wait until a living server takes connections; False where it has no socket there."""
    deadline = time.monotonic() + _READY_S
    while (socket / SOCKET_NAME).exists() and time.monotonic() < deadline:
        try:
            psycopg.connect(make_conninfo(dbname="postgres", **_parameters(socket))).close()
        except psycopg.OperationalError:  # it starts up, or shuts down
            time.sleep(_POLL_S)
        else:
            return True
    return False

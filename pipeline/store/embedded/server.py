"""Creates, starts, finds and stops the server of one cluster folder.

These functions are not safe for concurrent use: `postgres` holds the cluster's lock.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pipeline.errors import StoreError
from pipeline.store.disk_full import reports_disk_full
from pipeline.store.embedded.paths import SOCKET_NAME, socket_folder
from pipeline.store.embedded.programs import Programs, ServerUser, find_programs, run_as

NAME = "lotline"  # of the role, the database and our connections
_READY_TIMEOUT_S = 120.0  # recovery after a crash can take a while
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


def connection_parameters(socket: Path) -> dict[str, str]:
    """All connection parameters, so that none of the caller's PG* variables has an effect."""
    return {
        "host": str(socket),
        "hostaddr": "",
        "port": "5432",
        "connect_timeout": "10",
        "user": NAME,
        # The default path starts with "$user": the role has the name of our schema.
        "options": "-c search_path=public",
        "application_name": NAME,
        "client_encoding": "utf8",
        "gssencmode": "disable",
        "requirepeer": "",
        "target_session_attrs": "any",
    }


def ensure_running(cluster: Path, project_id: str, user: ServerUser) -> Path:
    """Start the server if it is not running; returns the folder of its socket."""
    if is_alive(cluster, user):
        running = socket_of(cluster)
        if running is not None and _accepts_connections(running):
            return running
        # It is unreachable, for example because the temporary folder was emptied.
        stop_running(cluster, user)
    data = cluster / "data"
    if data.exists():
        major = int((data / "PG_VERSION").read_text(encoding="ascii"))
        programs = find_programs(major=major)
    else:
        programs = find_programs()
        _create_cluster(programs, cluster, user)
    socket = socket_folder(cluster, project_id, user)
    _start(programs, cluster, socket, user)
    return socket


def _create_cluster(programs: Programs, cluster: Path, user: ServerUser) -> None:
    """Create `data` under another name, then rename it: a killed initdb leaves no partial data."""
    for leftover in cluster.glob("draft-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = cluster / f"draft-{secrets.token_hex(4)}"
    programs.run(
        "initdb",
        f"--pgdata={draft}",
        f"--username={NAME}",
        "--auth-local=trust",  # only the user can enter the socket's folder
        "--auth-host=reject",
        "--encoding=UTF8",
        *_locale(programs),
        user=user,
    )
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as configuration:
        configuration.write(_CONFIGURATION)
    draft.rename(cluster / "data")
    _fsync_folder(cluster)


def _fsync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a rename in it survives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locale(programs: Programs) -> tuple[str, ...]:
    """A UTF-8 locale with code point order, the same on every machine."""
    if programs.major >= 17:
        return ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    return ("--locale=C.UTF-8",) if "C.utf8" in known or "C.UTF-8" in known else ("--locale=C",)


def _start(programs: Programs, cluster: Path, socket: Path, user: ServerUser) -> None:
    """Start the server, which is not running, and wait until it accepts connections."""
    log = cluster / "log"
    setting = f'"{socket}"'  # a list of quoted folders; pg_ctl passes it through a shell
    options = f"-c unix_socket_directories={shlex.quote(setting)}"
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        _remove_stale_lock(cluster / "data" / "postmaster.pid")
        _remove_stale_lock(socket / f"{SOCKET_NAME}.lock")
        try:
            programs.run(
                "pg_ctl", "start", "--wait", f"--timeout={_READY_TIMEOUT_S:.0f}", "--silent",
                f"--log={log.name}", f"--options={options}",
                user=user, cluster=cluster,
            )  # fmt: skip
        except StoreError as error:
            # Children of a killed server hold its shared memory until they exit: retry.
            output = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            tail = "\n".join(output.splitlines()[-6:])
            if "shared memory block" not in tail or time.monotonic() > deadline:
                log_tail = f"\nThe end of {log}:\n{tail}" if tail else ""
                if reports_disk_full(tail):
                    raise StoreError(
                        f"the embedded database in {cluster} does not start, because its disk is "
                        "full: free space there, then run the same command again. Committed "
                        f"results are safe{log_tail}"
                    ) from error
                raise StoreError(
                    f"the embedded database in {cluster} does not start: {error}{log_tail}"
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def stop_running(cluster: Path, user: ServerUser) -> None:
    """Stop the server if it runs: disconnect its clients, then write a checkpoint."""
    if not is_alive(cluster, user):
        return
    major = int((cluster / "data" / "PG_VERSION").read_text(encoding="ascii"))
    try:
        find_programs(major=major).run(
            "pg_ctl", "stop", "--wait", f"--timeout={_READY_TIMEOUT_S:.0f}", "--silent",
            "--mode=fast",
            user=user, cluster=cluster,
        )  # fmt: skip
    except StoreError:
        if is_alive(cluster, user):  # otherwise it was shutting down already
            raise


def _postmaster_lines(cluster: Path) -> list[str]:
    """The lines of postmaster.pid (pid, data, start time, port, socket folder, …), or none."""
    try:
        text = (cluster / "data" / "postmaster.pid").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.splitlines()


def instance_id(cluster: Path) -> str:
    """An id of the running server: its pid and start time."""
    lines = _postmaster_lines(cluster)
    return " ".join((lines[0], lines[2])) if len(lines) > 2 else ""


def socket_of(cluster: Path) -> Path | None:
    """The folder of a running server's socket; None if it has none yet."""
    lines = _postmaster_lines(cluster)
    return Path(lines[4]) if len(lines) > 4 and lines[4] else None


def is_alive(cluster: Path, user: ServerUser) -> bool:
    """Whether the process in postmaster.pid is the server of this cluster.

    The file and a running process with that pid are not enough: after a kill or a reboot the file
    stays, and another process may get the pid.
    """
    pid = _read_pid(cluster / "data" / "postmaster.pid")
    if pid is None:
        return False
    if Path("/proc/self").exists():
        return _has_working_folder(pid, cluster / "data", user)
    listed = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres" in listed.stdout and "unix_socket_directories" in listed.stdout


def _has_working_folder(pid: int, data: Path, user: ServerUser) -> bool:
    """Whether the working folder of a process is the data folder, as a server's is.

    A zombie process has no working folder.
    """
    folder = Path("/proc") / str(pid) / "cwd"
    try:
        return folder.samefile(data)
    except OSError:
        # In a container, root lacks CAP_SYS_PTRACE and cannot read it. The server's own user can
        # always read it; a process that is hidden from that user is not the server.
        if user.is_caller:
            return False
        return run_as(user, ["test", str(folder), "-ef", str(data)]).returncode == 0


def _remove_stale_lock(lock_file: Path) -> None:
    """Remove a dead server's lock file if its pid now belongs to another process, or a zombie.

    PostgreSQL would mistake that process for the server. In all other cases it cleans up on its
    own. Children of the old server it detects without the file, and waits for them.
    """
    pid = _read_pid(lock_file)
    if pid is None:
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:  # it is alive and belongs to another user
        pass
    lock_file.unlink(missing_ok=True)


def _read_pid(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    first = text.partition("\n")[0].strip()
    return int(first) if first.isdigit() else None


def _accepts_connections(socket: Path) -> bool:
    """Wait until a running server accepts connections; False if its socket is missing."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while (socket / SOCKET_NAME).exists() and time.monotonic() < deadline:
        try:
            psycopg.connect(
                make_conninfo(dbname="postgres", **connection_parameters(socket))
            ).close()
        except psycopg.OperationalError:  # it is starting up or shutting down
            time.sleep(_POLL_S)
        else:
            return True
    return False

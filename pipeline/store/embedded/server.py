"""The server of one cluster folder: made, started, found and stopped.

Nothing here is safe against others at the same time: `embedded` holds the lock meanwhile.
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


def connection_parameters(socket: Path) -> dict[str, str]:
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


def ensure_running(cluster: Path, project_id: str, user: ServerUser) -> Path:
    """Start the server if it does not run; its socket's folder."""
    if is_alive(cluster, user):
        running = socket_of(cluster)
        if running is not None and _answers(running):
            return running
        # It answers nobody, for instance because the temporary folder was emptied.
        stop_running(cluster, user)
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
    """Start the server and wait until it answers. It is not running."""
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
                end = f"\nThe end of {log}:\n{tail}" if tail else ""
                if reports_disk_full(tail):
                    raise StoreError(
                        f"the disk of the embedded database in {cluster} is full, and it does not "
                        f"start: free some space there, then go on; what was written is kept{end}"
                    ) from error
                raise StoreError(
                    f"the embedded database in {cluster} does not start: {error}{end}"
                ) from error
            time.sleep(_POLL_S)
        else:
            return


def stop_running(cluster: Path, user: ServerUser) -> None:
    """Stop the server if it runs: at once for its clients, with a checkpoint."""
    if not is_alive(cluster, user):
        return
    major = int((cluster / "data" / "PG_VERSION").read_text(encoding="ascii"))
    try:
        find_programs(major=major).run(
            "pg_ctl", "stop", "--wait", f"--timeout={_READY_S:.0f}", "--silent", "--mode=fast",
            f"--pgdata={cluster / 'data'}",
            user=user,
        )  # fmt: skip
    except StoreError:
        if is_alive(cluster, user):  # else it was going down by itself
            raise


def _postmaster(cluster: Path) -> list[str]:
    """The lines of postmaster.pid: pid, data, start, port, socket folder, ...; or none."""
    try:
        text = (cluster / "data" / "postmaster.pid").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return text.splitlines()


def instance_id(cluster: Path) -> str:
    """Which start of the server this is: its pid and its time."""
    lines = _postmaster(cluster)
    return " ".join((lines[0], lines[2])) if len(lines) > 2 else ""


def socket_of(cluster: Path) -> Path | None:
    """The folder of a running server's socket; None where it has none yet."""
    lines = _postmaster(cluster)
    return Path(lines[4]) if len(lines) > 4 and lines[4] else None


def is_alive(cluster: Path, user: ServerUser) -> bool:
    """Whether the process of postmaster.pid is a server of this cluster.

    Neither the file nor a living process of that number says so: after a kill or a reboot the
    file stays, and the number goes to somebody else.
    """
    pid = _first_number(cluster / "data" / "postmaster.pid")
    if pid is None:
        return False
    if Path("/proc/self").exists():
        return _works_in(pid, cluster / "data", user)
    listed = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres -D" in listed.stdout


def _works_in(pid: int, data: Path, user: ServerUser) -> bool:
    """Whether a process works in the data folder, as a server does.

    A dead process that nobody reaped has no folder.
    """
    folder = Path("/proc") / str(pid) / "cwd"
    try:
        return folder.samefile(data)
    except OSError:
        # Root does not see it either without CAP_SYS_PTRACE, which a container does not have. The
        # server's own user always does, and what is hidden from that user is not the server.
        if user.is_caller:
            return False
        return run_as(user, ["test", str(folder), "-ef", str(data)]).returncode == 0


def _forget_reused(lock_file: Path) -> None:
    """Remove a dead server's lock file where its number now is another process's.

    PostgreSQL would take that process for the server, and so it would a dead one that nobody
    reaped. In every other case it cleans up by itself. What was not killed it finds also without
    the file, and waits for it.
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
            psycopg.connect(
                make_conninfo(dbname="postgres", **connection_parameters(socket))
            ).close()
        except psycopg.OperationalError:  # it starts up, or shuts down
            time.sleep(_POLL_S)
        else:
            return True
    return False

"""PgBouncer in front of a test's PostgreSQL. Debian and Ubuntu: apt-get install pgbouncer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.store.embedded.programs import server_user


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed (apt-get install pgbouncer)")
    return found


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pgbouncer(server_host: str, pool_mode: str, **settings: object) -> Iterator[str]:
    """The start of a URL of a running PgBouncer, without the database's name.

    Args:
        server_host: folder of the server's Unix socket.
        settings: more settings of the section [pgbouncer].
    """
    program, port = _program(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="lotline-test-"))
    user = server_user(folder)
    (folder / "users.txt").write_text('"lotline" ""\n')
    given = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users.txt",
        "pool_mode": pool_mode,
        "max_client_conn": 100,
        "logfile": folder / "log",
        **settings,
    }
    lines = "\n".join(f"{name} = {value}" for name, value in given.items())
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={server_host} port=5432\n[pgbouncer]\n{lines}\n"
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.uid, user.gid)
    switch = {} if user.is_caller else {"user": user.uid, "group": user.gid, "extra_groups": []}
    running = subprocess.Popen(
        [program, "-q", str(configuration)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, **switch,
    )  # fmt: skip
    try:
        _wait(port)
        yield f"postgresql://lotline@127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()
        shutil.rmtree(folder)


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("pgbouncer does not start")

"""Finds an installed PostgreSQL that has PostGIS, and runs its programs.

The programs do not inherit the caller's `PG*` variables, run in their own session, and run as
another user if the caller is root.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreError

# Debian and Ubuntu; PGDG on Red Hat; Homebrew on Apple and on Intel processors.
_BIN_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)
_REQUIRED_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_INSTALL = (
    "install it (Debian and Ubuntu: apt-get install postgresql-postgis) "
    "or set DATABASE_URL to a PostgreSQL server that has PostGIS"
)


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user that the server runs as: the caller, or another user if the caller is root."""

    uid: int
    gid: int

    @property
    def is_caller(self) -> bool:
        """Whether the server runs as the caller."""
        return self.uid == os.geteuid()


@dataclass(frozen=True, slots=True)
class Programs:
    """The server programs of one PostgreSQL that has PostGIS."""

    folder: Path
    major: int

    def run(
        self,
        program: str,
        *arguments: str,
        user: ServerUser,
        cluster: Path | None = None,
    ) -> None:
        """Run a program and wait for it, in the folder `cluster` and on the data in it, if given.

        `pg_ctl` puts its arguments into a line for a shell, which would expand a `$(…)` in a
        folder's name. So paths reach it as its working folder and as PGDATA only.

        Raises:
            StoreError: its exit code is not 0; with the end of its output.
        """
        done = run_as(user, [str(self.folder / program), *arguments], cluster)
        if done.returncode:
            output = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise StoreError(f"{self.folder / program} failed ({done.returncode}):\n{output}")


def run_as(
    user: ServerUser, command: Sequence[str], cluster: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as `user` and wait for it, without the caller's PG* variables.

    It runs in its own session: a signal that ends the caller does not reach a starting server.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment["LC_ALL"] = "C"  # the log is parsed
    if cluster is not None:
        environment["PGDATA"] = str(cluster / "data")
    switch = not user.is_caller
    return subprocess.run(
        command,
        cwd=cluster or "/",  # the server's user may have no access to the caller's folder
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        user=user.uid if switch else None,
        group=user.gid if switch else None,
        extra_groups=[] if switch else None,
        check=False,
    )


def server_user(data: Path) -> ServerUser:
    """The user for the server of `data`: the caller, or for root, its owner or `postgres`.

    Raises:
        StoreError: the caller is root and the machine has no user `postgres`.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        return ServerUser(data.stat().st_uid, data.stat().st_gid)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise StoreError(
            "PostgreSQL cannot run as root, and this machine has no user `postgres`: run as "
            "another user, add `postgres` (useradd --system postgres), or set DATABASE_URL"
        ) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def find_programs(root: Path = Path("/"), major: int | None = None) -> Programs:
    """The newest PostgreSQL with PostGIS below `root` or on the PATH.

    With `major`, only that version: the one that created the cluster.

    Raises:
        StoreError: there is none; the message tells what to install.
    """
    with_postgis: dict[int, Programs] = {}
    without_postgis: list[Path] = []
    for folder in _candidates(root):
        found = _major(folder)
        if found is None:
            continue
        if _has_postgis(folder, root, found):
            with_postgis.setdefault(found, Programs(folder, found))
        else:
            without_postgis.append(folder)
    if major is not None and major not in with_postgis:
        raise StoreError(
            f"the embedded database was created by PostgreSQL {major}, which is no longer "
            f"installed with PostGIS: install it (Debian and Ubuntu: apt-get install "
            f"postgresql-{major}-postgis-3) or set DATABASE_URL"
        )
    if with_postgis:
        return with_postgis[major if major is not None else max(with_postgis)]
    if without_postgis:
        raise StoreError(f"PostgreSQL in {without_postgis[0]} has no PostGIS: {_INSTALL}")
    raise StoreError(f"PostgreSQL is not installed on this machine: {_INSTALL}")


def _candidates(root: Path) -> Iterator[Path]:
    for pattern in _BIN_FOLDERS:
        yield from sorted(root.glob(pattern))
    on_path = shutil.which("initdb")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _major(folder: Path) -> int | None:
    """The major version of the programs in a folder; None if one of them is missing."""
    if not all((folder / name).is_file() for name in _REQUIRED_PROGRAMS):
        return None
    if folder.parent.name.isdigit():  # in Debian's layout the folder is named after the version
        return int(folder.parent.name)
    output = _output([str(folder / "postgres"), "--version"])
    version = re.search(r"\(PostgreSQL\) (\d+)", output)
    return int(version.group(1)) if version else None


def _has_postgis(folder: Path, root: Path, major: int) -> bool:
    control = Path("extension") / "postgis.control"
    if (root / "usr/share/postgresql" / str(major) / control).is_file():
        return True
    if not (folder / "pg_config").is_file():
        return False
    return (Path(_output([str(folder / "pg_config"), "--sharedir"])) / control).is_file()


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # a broken program counts as missing
        return ""
    return done.stdout.strip()

"""Finds the machine's own PostgreSQL that has PostGIS, and runs its programs.

Server programs never hear the caller's `PG*` variables, are never children of the caller's
terminal session, and run as another user where the caller is root.
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
_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)
_NEEDED = ("initdb", "pg_ctl", "postgres")
_INSTALL = (
    "install it (Debian and Ubuntu: apt-get install postgresql-postgis) "
    "or set DATABASE_URL to a PostgreSQL server that has PostGIS"
)


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whom the server runs as: the caller, or where the caller is root, somebody else."""

    uid: int
    gid: int

    @property
    def is_caller(self) -> bool:
        """Whether no change of user is needed."""
        return self.uid == os.geteuid()


@dataclass(frozen=True, slots=True)
class Programs:
    """The server programs of one PostgreSQL that has PostGIS."""

    folder: Path
    major: int

    def run(self, program: str, *arguments: str, user: ServerUser) -> None:
        """Run one program to its end.

        Raises:
            StoreError: it did not exit with 0; with what it said.
        """
        done = run_as(user, [str(self.folder / program), *arguments])
        if done.returncode:
            said = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise StoreError(f"{self.folder / program} failed ({done.returncode}):\n{said}")


def run_as(user: ServerUser, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as `user`, without the caller's PG* variables.

    It gets a session of its own: what kills the caller leaves a server that is starting alone.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment["LC_ALL"] = "C"  # its log is read here
    switch = not user.is_caller
    return subprocess.run(
        command,
        cwd="/",  # the caller's folder may be closed to the server's user
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
    """Who may run the server of `data`: its owner, else the caller, else (root) `postgres`.

    Raises:
        StoreError: the caller is root and the machine has no `postgres` user.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        return ServerUser(data.stat().st_uid, data.stat().st_gid)
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise StoreError(
            "PostgreSQL refuses to run as root and this machine has no user `postgres`: "
            "run as an ordinary user, add one (useradd --system postgres), or set DATABASE_URL"
        ) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def find_programs(root: Path = Path("/"), major: int | None = None) -> Programs:
    """The newest PostgreSQL below `root` or on the PATH that has PostGIS.

    With `major`, only that version: the one that made the data which is to be opened.

    Raises:
        StoreError: there is none; says what to install.
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
            f"the embedded database was made by PostgreSQL {major}, which this machine no longer "
            f"has with PostGIS: install it (Debian and Ubuntu: apt-get install "
            f"postgresql-{major}-postgis-3) or set DATABASE_URL"
        )
    if with_postgis:
        return with_postgis[major if major is not None else max(with_postgis)]
    if without_postgis:
        raise StoreError(f"PostgreSQL in {without_postgis[0]} has no PostGIS: {_INSTALL}")
    raise StoreError(f"no PostgreSQL was found on this machine: {_INSTALL}")


def _candidates(root: Path) -> Iterator[Path]:
    for pattern in _FOLDERS:
        yield from sorted(root.glob(pattern))
    on_path = shutil.which("initdb")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _major(folder: Path) -> int | None:
    """The major version of the programs in a folder, None where one of them is missing."""
    if not all((folder / name).is_file() for name in _NEEDED):
        return None
    if folder.parent.name.isdigit():  # Debian's layout says it without running anything
        return int(folder.parent.name)
    said = _output([str(folder / "postgres"), "--version"])
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found.group(1)) if found else None


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
    except OSError:  # a broken program is no program
        return ""
    return done.stdout.strip()

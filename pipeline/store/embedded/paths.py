"""Where an embedded cluster lives, and where its socket is.

The cluster lies in the project's own folder. As root the server runs as another user, who may
not be able to reach that folder (/root is closed to everybody): then the cluster lies in
/var/lib/lotline/<id>, where the id is a random one kept in the project's folder, so that a new
clone at an old path never meets an old database.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.store.embedded.programs import ServerUser, run_as

SOCKET_NAME = ".s.PGSQL.5432"
# sun_path of <sys/un.h>: 108 bytes on Linux and 104 on macOS, with a closing zero.
_LONGEST_SOCKET_PATH = 103
SYSTEM_FOLDER = Path("/var/lib/lotline")


def ensure_project_id(folder: Path) -> str:
    """The random id of a project's folder, made when it is first asked for."""
    path = folder / "id"
    if not path.exists():
        draft = folder / f"id.{secrets.token_hex(4)}"
        draft.write_text(secrets.token_hex(8), encoding="ascii")
        try:
            path.hardlink_to(draft)  # only one of several commands succeeds
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


def cluster_folder(folder: Path, user: ServerUser) -> Path:
    """The folder for the cluster of `folder`, which exists and which `user` can enter.

    Raises:
        StoreError: no such folder can be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if user.is_caller:
            folder.chmod(0o700)
            return folder
        return _folder_of(user, folder)
    except OSError as error:
        raise StoreError(
            f"the embedded database cannot be kept in {folder} ({error.strerror}): run as the "
            "owner of that folder, make it writable, or set DATABASE_URL"
        ) from error


def _folder_of(user: ServerUser, folder: Path) -> Path:
    elsewhere = SYSTEM_FOLDER / ensure_project_id(folder)
    # Once chosen it stays, also when the project's folder is opened to the user later.
    if not elsewhere.exists() and _can_enter(user, folder.parent):
        _give(folder, user)
        return folder
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir(mode=0o700, exist_ok=True)
    _give(elsewhere, user)
    return elsewhere


def _can_enter(user: ServerUser, folder: Path) -> bool:
    return run_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def _give(folder: Path, user: ServerUser) -> None:
    os.chown(folder, user.uid, user.gid)
    folder.chmod(0o700)


def socket_folder(cluster: Path, project_id: str, user: ServerUser) -> Path:
    """A folder for the server's socket that only its user can enter.

    It is the cluster's own, except where its path is too long for a socket or would be misread
    (libpq takes a comma for the next host): then a short one in the temporary folder.

    Raises:
        StoreError: the short folder belongs to somebody else, or is too deep as well.
    """
    own = cluster / "socket"
    if _fits(own):
        if not own.exists():
            own.mkdir(mode=0o700)
            _give(own, user)
        return own
    name = hashlib.sha256(f"{project_id}:{cluster}".encode(errors="surrogateescape")).hexdigest()
    short = Path(tempfile.gettempdir()) / f"lotline-{user.uid}-{name[:16]}"
    if not _fits(short):
        raise StoreError(f"no Unix socket fits into {short}: set TMPDIR to a shorter folder")
    _make_private(short, user)
    return short


def _fits(folder: Path) -> bool:
    path = os.fsencode(folder / SOCKET_NAME)
    return len(path) <= _LONGEST_SOCKET_PATH and not any(mark in path for mark in (b",", b'"'))


def _make_private(folder: Path, user: ServerUser) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not private or found.st_uid not in {user.uid, os.geteuid()}:
            raise StoreError(
                f"{folder} should be a private folder of this project's database, but belongs to "
                "somebody else or is open to others: remove it, or set TMPDIR to another folder"
            ) from None
    _give(folder, user)

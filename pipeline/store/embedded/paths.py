"""The folders of an embedded cluster and of its socket.

The cluster is in the project's own folder. As root, the server runs as another user, who may not
have access to that folder (such as /root): then the cluster is in /var/lib/lotline/<id>. The id is
random and stored in the project's folder, so a new clone at an old path never opens an old
database.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.store.embedded.programs import ServerUser, run_as

SOCKET_NAME = ".s.PGSQL.5432"
# sun_path of <sys/un.h>: 108 bytes on Linux, 104 on macOS, including a terminating zero.
_MAX_SOCKET_PATH_BYTES = 103
SYSTEM_FOLDER = Path("/var/lib/lotline")
_OURS = {"id", "data", "draft", "lock", "users", "log", "keep", "socket"}


def ensure_project_id(folder: Path) -> str:
    """The random id of a project's folder, created by the first call."""
    path = folder / "id"
    if not path.exists():
        draft = folder / f"id.{secrets.token_hex(4)}"
        draft.write_text(secrets.token_hex(8), encoding="ascii")
        try:
            path.hardlink_to(draft)  # atomic: only one of several commands succeeds
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


def has_cluster(folder: Path) -> bool:
    """Whether a project's `folder` has a cluster, there or in `SYSTEM_FOLDER`; creates nothing.

    A folder that cannot be entered counts as one: opening it says what is wrong.
    """
    try:
        if (folder / "data").exists():
            return True
        project_id = (folder / "id").read_text(encoding="ascii").strip()
        return (SYSTEM_FOLDER / project_id / "data").exists()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def cluster_folder(folder: Path, user: ServerUser) -> Path:
    """The cluster's folder for a project's `folder`; creates it, accessible to `user`.

    Raises:
        StoreError: the folder cannot be created, or PostgreSQL cannot have its name.
    """
    # postmaster.pid has a path per line, and a database URL is UTF-8.
    if any(ord(mark) < 32 or "\ud800" <= mark <= "\udfff" for mark in str(folder)):
        raise StoreError(
            f"the embedded database cannot be stored in {str(folder)!r}: the path has a line "
            "break, another control character or bytes that are not UTF-8. Rename the folder, or "
            "set LOTLINE_HOME to another one"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if user.is_caller:
            folder.chmod(0o700)
            return folder
        return _folder_for_other_user(user, folder)
    except OSError as error:
        raise StoreError(
            f"the embedded database cannot be stored in {folder} ({error.strerror}): run as the "
            "owner of that folder, make it writable, or set DATABASE_URL"
        ) from error


def _folder_for_other_user(user: ServerUser, folder: Path) -> Path:
    system_folder = SYSTEM_FOLDER / ensure_project_id(folder)
    # The choice is permanent, even if the project's folder becomes accessible to the user later.
    if not system_folder.exists() and _can_enter(user, folder.parent):
        _make_owner(folder, user)
        return folder
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
    system_folder.mkdir(mode=0o700, exist_ok=True)
    _make_owner(system_folder, user)
    return system_folder


def _can_enter(user: ServerUser, folder: Path) -> bool:
    return run_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def _make_owner(folder: Path, user: ServerUser) -> None:
    """Give a new folder, or one of ours, to the server's user.

    Who may write beside it could have put another folder, or a link to one, in its place: nobody
    else's folder is given away, nor one with other files.

    Raises:
        StoreError: it is not one of ours.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(descriptor).st_uid
        names = os.listdir(descriptor)  # noqa: PTH208 - of the open folder, whatever has its name
        others = [name for name in names if re.split(r"[.-]", name)[0] not in _OURS]
        if owner != user.uid and (owner != os.geteuid() or others):
            raise StoreError(
                f"the embedded database cannot be stored in {folder}: the folder belongs to user "
                f"{owner}, or has other files. Run as that user, or set LOTLINE_HOME to another "
                "folder"
            )
        os.fchown(descriptor, user.uid, user.gid)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def socket_folder(cluster: Path, project_id: str, user: ServerUser) -> Path:
    """A folder for the server's socket that only its user can enter.

    It is inside the cluster's folder. If that path is too long for a socket, or libpq would misread
    it (a comma separates hosts), it is a short one in the temporary folder.

    Raises:
        StoreError: the short folder belongs to another user, or its path is too long as well.
    """
    own = cluster / "socket"
    if _fits(own):
        if not own.exists():
            own.mkdir(mode=0o700)
            _make_owner(own, user)
        return own
    name = hashlib.sha256(f"{project_id}:{cluster}".encode(errors="surrogateescape")).hexdigest()
    short = Path(tempfile.gettempdir()) / f"lotline-{user.uid}-{name[:16]}"
    if not _fits(short):
        raise StoreError(
            f"the path {short} is too long for a Unix socket, or has a comma or a quote: set "
            "TMPDIR to a shorter folder without them"
        )
    _make_private(short, user)
    return short


def _fits(folder: Path) -> bool:
    path = os.fsencode(folder / SOCKET_NAME)
    return len(path) <= _MAX_SOCKET_PATH_BYTES and not any(mark in path for mark in (b",", b'"'))


def _make_private(folder: Path, user: ServerUser) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not private or found.st_uid not in {user.uid, os.geteuid()}:
            raise StoreError(
                f"{folder} must be a private folder for the database's socket, but it belongs to "
                "another user or others have access: remove it, or set TMPDIR to another folder"
            ) from None
    _make_owner(folder, user)

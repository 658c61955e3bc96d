"""What a zip contains, refused if it is encrypted, ambiguous, or built to exhaust the disk."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

from parcels.files.zip_headers import check_headers

# Deflate packs at most 1,032 bytes into one; real parcels 5 to 50.
_MAX_RATIO = 500
_SMALL_BYTES = 512 * 2**20
_MAX_BYTES = 64 * 2**30
_MAX_MEMBERS = 100_000


def names_in_zip(path: Path) -> tuple[str, ...]:
    """The names of the files in a zip.

    Raises:
        zipfile.BadZipFile: damaged, encrypted, or refused for what it contains.
    """
    return tuple(_members(path))


def open_in_zip(path: Path, name: str) -> IO[bytes]:
    """A file in a zip, by its name in `names_in_zip`."""
    with zipfile.ZipFile(path) as archive:
        return archive.open(_members(path)[name])


def size_in_zip(path: Path, name: str) -> int:
    """The bytes of a file in a zip, unpacked."""
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(_members(path)[name]).file_size


def _members(path: Path) -> dict[str, str]:
    """The normalized name of each file, and its name in the zip."""
    status = path.stat()
    return _checked_members(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _checked_members(path: Path, _modified_ns: int, size: int) -> dict[str, str]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        check_headers(file, archive)
        members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > _MAX_MEMBERS:
        raise zipfile.BadZipFile(f"it has {len(members):,} files")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_SMALL_BYTES, size * _MAX_RATIO) or unpacked > _MAX_BYTES:
        raise zipfile.BadZipFile(f"its {size:,} bytes unpack to {unpacked:,}")
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in str(name).split("/", 1)[0]:
            raise zipfile.BadZipFile(f"it has a file outside of itself, {member.filename!r}")
    # Some tools write Windows paths, or "./" before each name.
    names = [member.filename for member in members]
    normal = {name.replace("\\", "/").removeprefix("./"): name for name in names}
    if len(normal) < len(names):
        raise zipfile.BadZipFile("it has several files of one name")
    return normal

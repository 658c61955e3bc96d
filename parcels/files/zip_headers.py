"""Refuses a zip that programs may read differently, so that one checks what another does not open.

Each entry is described twice: in the directory at the end of the file, and before its data. Readers
differ in which one they believe, in where they look for the directory, and in what they do about
encryption and rare methods.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Sequence
from typing import IO

_END, _END64, _LOCATOR64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), "<4sIQI"
_LOCAL = struct.Struct("<4s5H3I2H")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Encrypted, a patch of another file, strongly encrypted, masked headers.
_UNREADABLE_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000
_ENCRYPTED_FLAGS = 0x1 | 0x40
_SIZES_FOLLOW, _UTF8 = 0x8, 0x800
_UNKNOWN, _UNKNOWN_COUNT = 0xFFFFFFFF, 0xFFFF
_ZIP64 = 1
_UNIX = 3


def check_headers(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Compare all that an open zip says twice.

    Args:
        file: the bytes of the zip; moved.

    Raises:
        zipfile.BadZipFile: two places disagree, or readers may differ about them.
    """
    members = archive.infolist()
    _check_directory(file, archive, len(members))
    for member in members:
        _check_entry(member)
    ends = _check_local_headers(file, members)
    starts = [*sorted(member.header_offset for member in members), archive.start_dir]
    for end, following in zip(ends, starts[1:], strict=True):
        if end > following:
            raise _refusal("two of its files share bytes")


def _refusal(why: str) -> zipfile.BadZipFile:
    return zipfile.BadZipFile(why)


def _check_directory(file: IO[bytes], archive: zipfile.ZipFile, count: int) -> None:
    size = file.seek(0, os.SEEK_END)
    end_at = size - _END.size - len(archive.comment)
    if b"PK\5\6" in archive.comment:
        raise _refusal("its comment looks like the end of another zip")
    if end_at < 0:
        raise _refusal("it is cut")
    file.seek(end_at)
    magic, _, _, here, total, length, start, comment = _END.unpack(file.read(_END.size))
    if magic != b"PK\5\6" or comment != len(archive.comment):
        raise _refusal("other data follow its end")
    directory_end = end_at
    values = (here, total, length, start)
    wide = _end64(file, end_at)
    if wide is not None:
        directory_end, wide_values = wide
        unknown = (_UNKNOWN_COUNT, _UNKNOWN_COUNT, _UNKNOWN, _UNKNOWN)
        for value, wide_value, none in zip(values, wide_values, unknown, strict=True):
            if value not in (none, wide_value):
                raise _refusal("its two ends disagree")
        values = wide_values
    here, total, length, start = values
    if here != total or total != count:
        raise _refusal(f"it has {count:,} files, and says {total:,}")
    if start != archive.start_dir or start + length != directory_end:
        raise _refusal("other data are before it or before its end")


def _end64(file: IO[bytes], end_at: int) -> tuple[int, tuple[int, int, int, int]] | None:
    """Where the wide end of a zip begins, and its counts, length and start; None if it has none."""
    locator_at = end_at - struct.calcsize(_LOCATOR64)
    if locator_at < 0:
        return None
    file.seek(locator_at)
    magic, _, at, _ = struct.unpack(_LOCATOR64, file.read(struct.calcsize(_LOCATOR64)))
    if magic != b"PK\6\7":
        return None
    file.seek(at)
    record = file.read(_END64.size)
    if at + len(record) != locator_at or record[:4] != b"PK\6\6":
        raise _refusal("its wide end is not where it says")
    _, _, _, _, _, _, here, total, length, start = _END64.unpack(record)
    return at, (here, total, length, start)


def _check_entry(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    if not name or "\0" in name:
        raise _refusal(f"the name of a file in it is damaged, {name!r}")
    if member.flag_bits & _ENCRYPTED_FLAGS:
        raise _refusal("it is protected by a password")
    if member.flag_bits & _UNREADABLE_FLAGS or (
        member.compress_type not in _METHODS and not member.is_dir()
    ):
        raise _refusal("it is compressed by an unusual method")
    kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == _UNIX else 0
    # What was packed from standard input is marked as a pipe.
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO):
        raise _refusal(f"{name} in it is a link or a device, not a file")
    if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
        raise _refusal(f"{name} in it has two sizes")


def _check_local_headers(file: IO[bytes], members: Sequence[zipfile.ZipInfo]) -> list[int]:
    """Where the data of each entry end, in the order of the file."""
    ends = []
    for member in sorted(members, key=lambda each: each.header_offset):
        file.seek(member.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise _refusal(f"{member.orig_filename} in it is not where it says")
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(
            header
        )
        encoding = "utf-8" if member.flag_bits & _UTF8 else "cp437"
        name = file.read(name_length).decode(encoding, "replace")
        extra = file.read(extra_length)
        if name != member.orig_filename:
            raise _refusal(f"a file in it has two names, {member.orig_filename!r} and {name!r}")
        if flags & _UNREADABLE_FLAGS or method != member.compress_type:
            raise _refusal(f"{name} in it is described in two ways")
        found = (crc, *_wide_sizes(packed, size, extra))
        expected = (member.CRC, member.compress_size, member.file_size)
        may_follow = (0, _UNKNOWN) if flags & _SIZES_FOLLOW else ()
        if any(f != e and f not in may_follow for f, e in zip(found, expected, strict=True)):
            raise _refusal(f"{name} in it has two sizes")
        ends.append(
            member.header_offset + _LOCAL.size + name_length + extra_length + member.compress_size
        )
    return ends


def _wide_sizes(packed: int, size: int, extra: bytes) -> tuple[int, int]:
    """The packed and unpacked size, with those that did not fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        content = extra[at + 4 : at + 4 + length]
        if kind == _ZIP64:
            wide = iter(struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8]))
            # The unpacked size comes first.
            size = next(wide, size) if size == _UNKNOWN else size
            packed = next(wide, packed) if packed == _UNKNOWN else packed
        at += 4 + length
    return packed, size

"""Zips whose headers say what they like: the two headers of an entry need not agree."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """An entry; `local_…` replaces a field in the header before its data only."""

    name: str
    content: bytes
    flags: int = 0
    method: int = 8
    mode: int = 0o100644
    local_name: str | None = None
    local_flags: int | None = None
    local_method: int | None = None
    local_content: bytes | None = None
    size: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    packed_size: int | None = None


def _packed(content: bytes, method: int) -> bytes:
    if method == 0:
        return content
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def raw_zip(
    entries: list[Entry],
    *,
    before: bytes = b"",
    between: bytes = b"",
    comment: bytes = b"",
    central_only: tuple[int, ...] = (),
) -> bytes:
    """The bytes of a zip.

    Args:
        before, between: bytes in front of the zip, and between the data and the directory.
        central_only: which entries are in the directory; by default all of them.
    """
    body, central = before, b""
    for number, entry in enumerate(entries):
        data = _packed(entry.content, entry.method)
        offset = len(body) - len(before)
        crc, size = zlib.crc32(entry.content), len(entry.content)
        packed_size = len(data) if entry.packed_size is None else entry.packed_size
        claimed = size if entry.size is None else entry.size
        name = entry.name.encode()
        local_name = (entry.local_name or entry.name).encode()
        local_flags = entry.flags if entry.local_flags is None else entry.local_flags
        local_method = entry.method if entry.local_method is None else entry.local_method
        body += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 45, local_flags, local_method, 0, 33, crc, packed_size,
            claimed, len(local_name), len(entry.local_extra),
        )  # fmt: skip
        body += local_name + entry.local_extra + data
        if central_only and number not in central_only:
            continue
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0x031E, 45, entry.flags, entry.method, 0, 33, crc,
            packed_size, claimed, len(name), len(entry.extra), 0, 0, 0, entry.mode << 16, offset,
        )  # fmt: skip
        central += name + entry.extra
    count = central.count(b"PK\1\2")
    start = len(body) - len(before) + len(between)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(central), start, len(comment))
    return body + between + central + end + comment

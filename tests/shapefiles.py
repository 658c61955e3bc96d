"""Write shapefiles byte by byte, with the oddities that GDAL does not write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

Ring = Sequence[tuple[float, float]]
_WGS84 = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)


def square(x: float, y: float, size: float, *, clockwise: bool = True) -> list[tuple[float, float]]:
    """A closed ring; shells are clockwise in a shapefile."""
    ring = [(x, y), (x, y + size), (x + size, y + size), (x + size, y), (x, y)]
    return ring if clockwise else ring[::-1]


def write_shapefile(
    path: Path,
    lots: Sequence[Sequence[Ring] | None],
    fields: Sequence[tuple[str, str, int, int]],
    rows: Sequence[Sequence[str | bytes]],
    *,
    language_driver: int = 0,
    prj: str | None = _WGS84,
) -> Path:
    """Write .shp, .shx, .dbf and .prj.

    Args:
        lots: the rings of each lot; None for a null shape.
        fields: name, type (C, N, F), width and decimals of each column.
        rows: the values as written in the .dbf.
    """
    records, index, at = b"", b"", 50
    for number, rings in enumerate(lots, 1):
        body = _polygon(rings)
        records += struct.pack(">2i", number, len(body) // 2) + body
        index += struct.pack(">2i", at, len(body) // 2)
        at += 4 + len(body) // 2
    path.write_bytes(_header(50 + len(records) // 2) + records)
    path.with_suffix(".shx").write_bytes(_header(50 + len(index) // 2) + index)
    path.with_suffix(".dbf").write_bytes(_table(fields, rows, language_driver))
    if prj is not None:
        path.with_suffix(".prj").write_text(prj)
    return path


def _polygon(rings: Sequence[Ring] | None) -> bytes:
    if rings is None:
        return struct.pack("<i", 0)
    points = [point for ring in rings for point in ring]
    xs, ys = zip(*points, strict=True)
    starts = [sum(map(len, rings[:i])) for i in range(len(rings))]
    box = (min(xs), min(ys), max(xs), max(ys))
    return (
        struct.pack("<i4d2i", 5, *box, len(rings), len(points))
        + struct.pack(f"<{len(starts)}i", *starts)
        + b"".join(struct.pack("<2d", *point) for point in points)
    )


def _header(words: int) -> bytes:
    return struct.pack(">7i", 9994, 0, 0, 0, 0, 0, words) + struct.pack(
        "<2i8d", 1000, 5, -180, -90, 180, 90, 0, 0, 0, 0
    )


def _table(
    fields: Sequence[tuple[str, str, int, int]],
    rows: Sequence[Sequence[str | bytes]],
    language_driver: int,
) -> bytes:
    width = 1 + sum(field[2] for field in fields)
    table = struct.pack("<4BIHH17xB2x", 3, 120, 1, 1, len(rows), 33 + 32 * len(fields), width,
                        language_driver)  # fmt: skip
    for name, kind, size, decimals in fields:
        letters = name.encode("cp1252")
        table += struct.pack("<11sc4xBB14x", letters, kind.encode(), size, decimals)
    table += b"\r"
    for row in rows:
        table += b" "
        for (_, kind, size, _), value in zip(fields, row, strict=True):
            raw = value if isinstance(value, bytes) else value.encode()
            table += raw.rjust(size) if kind in "NF" else raw.ljust(size)
    return table + b"\x1a"

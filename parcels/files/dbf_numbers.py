"""What GDAL changes in the values of a .dbf.

It reads wide numbers as floats, and rounds after 15 digits; and it drops leading blanks of texts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from parcels.files.text_values import Texts, decimal_text

_HEADER_BYTES, _FIELD_BYTES, _END_OF_FIELDS = 32, 32, b"\r"
_NUMERIC = (b"N", b"F")
_TEXT = b"C"


@dataclass(frozen=True, slots=True)
class _Field:
    kind: bytes
    offset: int
    width: int


class DbfNumbers:
    """Reads single columns of a .dbf, whose records have a fixed width.

    Attributes:
        language_driver: byte 29 of the header.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        header = file.read(_HEADER_BYTES)
        self.language_driver = header[29]
        self._first, self._width = struct.unpack_from("<HH", header, 8)
        self._fields: list[_Field] = []
        offset = 1  # after the deletion flag
        while (field := file.read(_FIELD_BYTES))[:1] not in (_END_OF_FIELDS, b""):
            kind, width = field[11:12], field[16]
            if kind not in _NUMERIC:
                width += 256 * field[17] if kind == b"C" else 0
            self._fields.append(_Field(kind, offset, width))
            offset += width

    def __len__(self) -> int:
        return len(self._fields)

    def is_number(self, column: int) -> bool:
        """Whether the column (from 0) has numbers."""
        return self._fields[column].kind in _NUMERIC

    def texts(self, columns: Sequence[int], rows: Sequence[int]) -> list[Texts]:
        """For each column, its values in these ascending rows (from 0)."""
        if not rows:
            return [[] for _ in columns]
        self._file.seek(self._first + rows[0] * self._width)
        records = self._file.read((rows[-1] - rows[0] + 1) * self._width)
        starts = [(row - rows[0]) * self._width for row in rows]
        fields = [self._fields[column] for column in columns]
        return [
            [
                decimal_text(
                    records[at + field.offset : at + field.offset + field.width].decode("latin-1")
                )
                for at in starts
            ]
            for field in fields
        ]

    def with_leading_blanks(self, column: int, rows: Sequence[int], texts: Texts) -> Texts:
        """The texts of a column in these ascending rows (from 0), with their leading blanks."""
        field = self._fields[column]
        if field.kind != _TEXT or not rows:
            return texts
        self._file.seek(self._first + rows[0] * self._width)
        records = self._file.read((rows[-1] - rows[0] + 1) * self._width)
        at = np.asarray(rows) - rows[0]
        starts = at * self._width + field.offset
        known = starts + field.width <= len(records)
        content = np.frombuffer(records, np.uint8)
        indented = np.flatnonzero(known)[content[starts[known]] == ord(" ")]
        found = list(texts)
        for i in indented.tolist():
            text = texts[i]
            if text:
                value = records[starts[i] : starts[i] + field.width]
                blanks = len(value) - len(value.lstrip(b" "))
                found[i] = " " * blanks + text.lstrip(" ")
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

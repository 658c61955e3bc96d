"""Finds the encoding of a CSV: UTF-8, UTF-16, Windows-1252, Mac OS Roman or MS-DOS.

The entire file is checked, because one byte in a million rows decides between UTF-8 and the others.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import PropertiesFileError
from pipeline.properties_csv.problems import SAVE_AS

_CHUNK_BYTES = 1 << 20
_MAX_LINES_NAMED = 10


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """An encoding: its codec for `open`, and its name as people read it."""

    codec: str
    name: str


_UTF8 = TextEncoding("utf-8-sig", "UTF-8")
# UTF-32 first: its mark starts like that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, _UTF8),
    (codecs.BOM_UTF32_LE, TextEncoding("utf-32", "UTF-32")),
    (codecs.BOM_UTF32_BE, TextEncoding("utf-32", "UTF-32")),
    (codecs.BOM_UTF16_LE, TextEncoding("utf-16", "UTF-16")),
    (codecs.BOM_UTF16_BE, TextEncoding("utf-16", "UTF-16")),
)
_WINDOWS = TextEncoding("cp1252", "Windows-1252")
_OTHERS = (TextEncoding("mac_roman", "Mac OS Roman"), TextEncoding("cp437", "MS-DOS (437)"))
# A byte order mark inside a file: two files were joined.
_INNER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A byte after a letter shows which encoding makes words of it.
_AFTER_LETTER = re.compile(rb"([A-Za-z])([\x80-\xff])(?=(.?))", re.DOTALL)
_LATIN_LEADS = b"\xc2\xc3"


def detect_encoding(path: Path, file: IO[bytes], head: bytes) -> TextEncoding:
    """The encoding of a file, every byte of which is valid in it.

    Args:
        file: open at any position; moved.
        head: its first bytes.

    Raises:
        PropertiesFileError: it has no single encoding; the message names the lines.
    """
    encoding = _marked(head) or _unmarked_utf16(head)
    if encoding is not None and encoding is not _UTF8:
        if (offset := _first_invalid(file, encoding.codec)) is not None:
            line = _line_at(file, offset)
            raise PropertiesFileError(
                f"{path}: the {encoding.name} text is damaged or cut off on line {line}; {SAVE_AS}"
            )
        return encoding
    if _first_invalid(file, "utf-8") is None:
        return _UTF8
    _check_not_mixed(path, file, has_mark=encoding is _UTF8)
    return _eight_bit(path, file)


def _marked(head: bytes) -> TextEncoding | None:
    return next((found for mark, found in _BYTE_ORDER_MARKS if head.startswith(mark)), None)


def _unmarked_utf16(head: bytes) -> TextEncoding | None:
    """UTF-16 or UTF-32 without a byte order mark: a NUL beside every letter of the header."""
    zeros = [head[start::4].count(0) / max(len(head[start::4]), 1) for start in range(4)]
    for codec, pattern in (
        ("utf-16-le", (0, 1, 0, 1)),
        ("utf-16-be", (1, 0, 1, 0)),
        ("utf-32-le", (0, 1, 1, 1)),
        ("utf-32-be", (1, 1, 1, 0)),
    ):
        if all(abs(share - wanted) < 0.3 for share, wanted in zip(zeros, pattern, strict=True)):
            return TextEncoding(codec, codec[:6].upper())
    return None


def _first_invalid(file: IO[bytes], codec: str) -> int | None:
    """The offset of the chunk's first byte that the codec cannot decode; None if there is none."""
    decoder = codecs.getincrementaldecoder(codec)()
    start = 0
    for chunk in _chunks(file):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return start - pending + error.start
        start += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return start - 1
    return None


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _line_at(file: IO[bytes], offset: int) -> int:
    file.seek(0)
    before = file.read(offset)
    return 1 + (before.count(b"\n") or before.count(b"\r"))


def _check_not_mixed(path: Path, file: IO[bytes], *, has_mark: bool) -> None:
    """Raise if parts of the file are UTF-8: then the rest is not in one other encoding."""
    invalid: list[int] = []
    invalid_count, has_utf8 = 0, has_mark
    ends_early = False
    for number, line in _numbered_lines(file):
        try:
            has_utf8 |= not line.decode("utf-8").isascii()
        except UnicodeDecodeError as error:
            ends_early = error.reason == "unexpected end of data" and not line.endswith(b"\n")
            is_joined = any(mark in line for mark in _INNER_MARKS)
            has_utf8 |= is_joined or (
                ends_early and line[error.start : error.start + 1] in _LATIN_LEADS
            )
            invalid_count += 1
            if len(invalid) < _MAX_LINES_NAMED:
                invalid.append(number)
    if not has_utf8:
        return
    if ends_early and invalid_count == 1:
        raise PropertiesFileError(
            f"{path}: the file is cut off: line {invalid[0]} ends inside a character; "
            f"save or copy it again ({SAVE_AS})"
        )
    raise PropertiesFileError(
        f"{path}: not UTF-8 on {_lines(invalid, invalid_count)}, but UTF-8 elsewhere, so that the "
        f"characters there are unknown; correct these lines, then {SAVE_AS}"
    )


def _numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    file.seek(0)
    return enumerate(file, 1)


def _lines(numbers: Iterable[int], count: int) -> str:
    listed = ", ".join(map(str, numbers))
    more = count - listed.count(",") - 1
    return f"line{'s' if count > 1 else ''} {listed}" + (f" and {more:,} more" if more else "")


def _eight_bit(path: Path, file: IO[bytes]) -> TextEncoding:
    """The encoding with one byte for each character that makes words of the letters.

    Windows-1252 unless the words speak against it: Excel writes Mac OS Roman as "CSV (Macintosh)"
    and MS-DOS as "CSV (MS-DOS)".
    """
    used: set[int] = set()
    words: Counter[tuple[bytes, bytes, bytes]] = Counter()
    for chunk in _chunks(file):
        used.update(chunk)
        words.update((match[1], match[2], match[3]) for match in _AFTER_LETTER.finditer(chunk))
    is_windows = _defines(_WINDOWS, used)
    if is_windows and _makes_words(_WINDOWS, words):
        return _WINDOWS
    fitting = [other for other in _OTHERS if _defines(other, used) and _makes_words(other, words)]
    if len(fitting) == 1:
        return fitting[0]
    if is_windows and not fitting:
        return _WINDOWS
    names = " or ".join(each.name for each in fitting) or "any known encoding"
    line = next(number for number, line in _numbered_lines(file) if not line.isascii())
    raise PropertiesFileError(
        f"{path}: not UTF-8 (first on line {line}), and it is unclear whether it is {names}; "
        f"{SAVE_AS}"
    )


def _defines(encoding: TextEncoding, used: Iterable[int]) -> bool:
    try:
        bytes(used).decode(encoding.codec)
    except UnicodeDecodeError:
        return False
    return True


def _makes_words(encoding: TextEncoding, words: Iterable[tuple[bytes, bytes, bytes]]) -> bool:
    return all(_is_word(*(part.decode(encoding.codec) for part in word)) for word in words)


def _is_word(before: str, char: str, after: str) -> bool:
    """Whether a character belongs after a letter: é in José, but neither Ž nor ‡."""
    inside = after.isascii() and after.isalpha()
    if not char.isalpha():
        return not inside or char in "\u2019\u2018" or (char in "\u2013\u2014" and after.isupper())
    if before.islower() and (after.islower() or not inside):
        return not char.isupper()
    return not (before.isupper() and inside and after.isupper() and char.islower())

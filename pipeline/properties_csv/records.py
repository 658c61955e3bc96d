"""Splits text into records with their line numbers; a quote that is not closed is found."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

# The longest value of a property's row, and how much of a line is read into memory.
MAX_VALUE_CHARS = 131_072
_MAX_LINE_CHARS = 4_000_000
_SHOWN_CHARS = 200
# For the whole process: `csv` cannot go on behind a value that is longer.
csv.field_size_limit(max(csv.field_size_limit(), 2 * _MAX_LINE_CHARS))


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A row's cells and its first line; or the problem that makes it unreadable.

    Attributes:
        lines: its text, if its quotes are wrong; empty if that hides the rest of a long file.
        is_cut_off: it is the last one, and its line has no line ending.
    """

    line: int
    cells: list[str]
    problem: str | None = None
    lines: tuple[str, ...] = ()
    is_cut_off: bool = False

    @property
    def is_blank(self) -> bool:
        """Whether it has no text: an empty line, Excel's separators, or the end mark of MS-DOS."""
        return self.problem is None and not any(cell.strip().strip("\x1a") for cell in self.cells)


def read_records(lines: Iterable[str], delimiter: str) -> Iterator[RawRecord]:
    """The records of a text, blank ones included.

    Args:
        lines: with their line endings, as a file opened with `newline=""` yields them.
    """
    remaining = iter(lines)
    consumed: list[str] = []

    def recorded() -> Iterator[str]:
        for line in remaining:
            consumed.append(line)
            if len(line) > _MAX_LINE_CHARS:
                raise _LongLine
            yield line

    start = 1
    rows = csv.reader(recorded(), delimiter=delimiter)
    while True:
        consumed.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except _LongLine:
            # The reader has ended inside that line; another one goes on behind it.
            too_long = f"a line has more than {_MAX_LINE_CHARS:,} characters; shorten it"
            # One value, so that the rest of the line does not become a row that seems complete.
            shown = tuple(line[:_SHOWN_CHARS].replace(delimiter, " ") for line in consumed)
            yield RawRecord(start, [], too_long, shown)
            start += len(consumed)
            rows = csv.reader(recorded(), delimiter=delimiter)
            continue
        except csv.Error:
            # A value over the limit of many lines: the cause is a quote that is not closed.
            count = len(consumed) + sum(1 for _ in remaining)
            yield RawRecord(start, [], _open_quote_problem(start, count))
            return
        is_cut_off = not consumed[-1].endswith(("\n", "\r"))
        problem = None
        if any("\n" in cell or "\r" in cell for cell in cells):
            problem = _quote_problem(start, consumed, delimiter)
        yield RawRecord(start, cells, problem, tuple(consumed) if problem else (), is_cut_off)
        start += len(consumed)


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a text; of one that is too long, a little more than `read_records` accepts."""
    while line := file.readline(_MAX_LINE_CHARS + 2):
        yield line
        if len(line) > _MAX_LINE_CHARS:
            while line and not line.endswith(("\n", "\r")):
                line = file.readline(_MAX_LINE_CHARS)


class _LongLine(Exception):
    """A line has more than `_MAX_LINE_CHARS`."""


def split_line(line: str, delimiter: str, *, has_quotes: bool) -> list[str]:
    """The cells of one line, with or without a meaning of its quotes."""
    text = line.rstrip("\r\n")
    try:
        if has_quotes:
            return next(csv.reader([text], delimiter=delimiter), [])
        return next(csv.reader([text], delimiter=delimiter, quoting=csv.QUOTE_NONE), [])
    except csv.Error:
        return [text]


def unwrap(cells: list[str], delimiter: str) -> list[str]:
    """The cells of a row that is one quoted cell, as Excel saves a CSV that it did not split."""
    if len(cells) > 1 and any(cell.strip() for cell in cells[1:]):
        return cells
    if not cells or delimiter not in cells[0]:
        return cells
    inner = cells[0].rstrip(";\t" if delimiter == "," else "")
    try:
        return next(csv.reader([inner], delimiter=delimiter), cells)
    except csv.Error:  # several lines
        return cells


def _quote_problem(start: int, lines: list[str], delimiter: str) -> str | None:
    """What is wrong with the quotes of a row of several lines, which `csv` accepts by default."""
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return _open_quote_problem(start, len(lines))
        end = start + len(lines) - 1
        return (
            f"a quote is opened on line {start} and closed in the middle of a value on line {end}, "
            "so these lines cannot be read; close it where its value ends"
        )
    return None


def _open_quote_problem(line: int, count: int) -> str:
    lines = "that line" if count == 1 else f"the {count:,} lines from there to the end of the file"
    return f"a quote is opened on line {line} and not closed, so {lines} cannot be read; close it"

"""Splits text into records with their line numbers; a quote that is not closed is found."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


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
    consumed: list[str] = []

    def recorded() -> Iterator[str]:
        for line in lines:
            consumed.append(line)
            yield line

    rows = csv.reader(recorded(), delimiter=delimiter)
    start = 1
    while True:
        consumed.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # `csv` rejects values over 131,072 characters; the cause is a quote that is not closed.
            if '"' not in "".join(consumed):
                raise csv.Error(f"{error}, on line {start}") from error
            count = len(consumed) + sum(1 for _ in lines)
            yield RawRecord(start, [], _open_quote_problem(start, count))
            return
        is_cut_off = not consumed[-1].endswith(("\n", "\r"))
        problem = None
        if any("\n" in cell or "\r" in cell for cell in cells):
            problem = _quote_problem(start, consumed, delimiter)
        yield RawRecord(start, cells, problem, tuple(consumed) if problem else (), is_cut_off)
        start = rows.line_num + 1


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
    return next(csv.reader([inner], delimiter=delimiter), cells)


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

"""What is wrong with a properties file or with one of its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from parcels.untrusted import sanitize_text

# How people save a file that is read without a guess.
SAVE_AS = "in Excel: Save as CSV UTF-8"

_DUPLICATE = re.compile(
    r"property_id (?P<id>.*) is (?:already on line \d+|still that of another row; .*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class BadRow:
    """An invalid row: its line, and what to fix."""

    line: int
    problem: str


@dataclass(slots=True)
class BadRows:
    """The number of invalid rows in a file, and the first of them as examples, by line."""

    MAX_EXAMPLES: ClassVar[int] = 100

    count: int = 0
    examples: list[BadRow] = field(default_factory=list)

    def add(self, *rows: BadRow, count: int | None = None) -> None:
        """Add rows; with `count`, that many, of which `rows` are examples."""
        self.count += len(rows) if count is None else count
        if len(self.examples) < self.MAX_EXAMPLES or count is not None:
            merged = sorted([*self.examples, *rows], key=lambda row: row.line)
            self.examples = merged[: self.MAX_EXAMPLES]

    @property
    def is_complete(self) -> bool:
        """Whether the examples are all of them."""
        return self.count == len(self.examples)


class RowProblem(Exception):
    """Why a row is refused, as text for `BadRow.problem`."""


def duplicate_problem(property_id: str, first_line: int) -> str:
    """Describe a row with the id of an earlier row; the earlier one is used."""
    return f"property_id {property_id} is already on line {first_line}"


def still_duplicate_problem(property_id: str) -> str:
    """Describe a row of a rejected.csv that was refused as a duplicate and has the same id."""
    return (
        f"property_id {property_id} is still that of another row; give it another id, or clear "
        "the cell `problem` to replace the other row"
    )


def duplicate_id(problem: str) -> str | None:
    """The id in a text of `duplicate_problem` or `still_duplicate_problem`; None for others."""
    match = _DUPLICATE.fullmatch(problem)
    return match["id"] if match else None


def quoted(value: str) -> str:
    """A value of the file for a message: in quotes, on one line, not too long."""
    return repr(sanitize_text(value, 60))

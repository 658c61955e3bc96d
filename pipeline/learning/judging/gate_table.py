"""The gate's table as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEADS = (
    "label", "measure", "champion", "candidate", "difference", "95 % interval", "tolerance",
    "verdict",
)  # fmt: skip
_LEFT = {0, 1, 7}


def gate_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the table of a judgement's rows (`GateRow` as a mapping)."""
    cells = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEADS))]
    lines = [
        "  ".join(
            text.ljust(width) if i in _LEFT else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    digits = 1 if "m²" in row["measure"] else 3
    tolerance = row["tolerance"]
    return (
        row["label"],
        row["measure"],
        _number(row["champion"], digits),
        _number(row["candidate"], digits),
        _signed(row["difference"], digits),
        "-"
        if row["low"] is None
        else f"{_signed(row['low'], digits)} to {_signed(row['high'], digits)}",
        "must fall" if tolerance is None else f"{tolerance:.{digits}f}",
        row["verdict"],
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"

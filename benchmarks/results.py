"""Benchmark results: one JSON file each, and docs/benchmarks.md made from all of them."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "benchmarks.md"

INTRODUCTION = """# Benchmarks

Made by `python -m benchmarks` from `benchmarks/results/*.json`; do not edit by hand. Times are of
one machine and vary with it: read the ratios and the shares. No test asserts a time.
"""


def _machine() -> str:
    """Cores, memory and Python, in a line."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


@dataclass(frozen=True)
class Result:
    """A table with what repeats it, and what it means.

    `order` puts the results into a row in the document.
    """

    name: str
    order: int
    title: str
    command: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    machine: str = field(default_factory=_machine)
    measured_on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())


def save(result: Result) -> None:
    """Write the result, and the document anew."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    text = json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n"
    (folder / f"{result.name}.json").write_text(text, encoding="utf-8")
    DOCS.write_text(document(), encoding="utf-8")
    print(section(result))


def document() -> str:
    """docs/benchmarks.md from every result there is."""
    results = [
        Result(**json.loads(path.read_text(encoding="utf-8")))
        for path in (HERE / "results").glob("*.json")
    ]
    parts = [section(result) for result in sorted(results, key=lambda r: (r.order, r.name))]
    return "\n".join([INTRODUCTION, *parts])


def section(result: Result) -> str:
    """One result as Markdown."""
    lines = [
        f"## {result.title}\n",
        f"`{result.command}` on {result.machine}, {result.measured_on}.\n",
        "| " + " | ".join(result.columns) + " |",
        "| " + " | ".join(["---", *["---:"] * (len(result.columns) - 1)]) + " |",
        *("| " + " | ".join(row) + " |" for row in result.rows),
        "",
        *(f"{note}\n" for note in result.notes),
    ]
    return "\n".join(lines)

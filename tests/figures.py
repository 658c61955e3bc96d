"""The figures of the long proofs, kept in the table at the end of docs/reliability.md."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
_HEAD = "| proof | measured | when, where |\n| --- | --- | --- |\n"


def keep(proof: str, measured: str) -> None:
    """Put a proof's figures into its row, in place of those of the last time."""
    text = DOCS.read_text(encoding="utf-8")
    before, head, table = text.partition(_HEAD)
    assert head, f"{DOCS} has no table of figures"
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE))
    rows[proof] = f"{measured} | {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores"
    lines = [f"| {name} | {rest} |\n" for name, rest in sorted(rows.items())]
    DOCS.write_text(before + head + "".join(lines), encoding="utf-8")

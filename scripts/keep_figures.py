"""Puts what the long proofs measured into the table at the end of docs/reliability.md.

`python scripts/keep_figures.py FILE`, with the JUnit XML of `make test-long`. A proof gives its
figure to `record_property`; the rows of proofs that are not in the file stay as they are.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
HEAD = "| proof | measured | when, where |\n| --- | --- | --- |\n"


def main(file: Path) -> None:
    """Put the figures of one run of the proofs into their rows."""
    if not file.exists():
        sys.exit(f"error: {file} is not there: run `make test-long` first")
    measured = {
        str(figure.get("name")): f"{figure.get('value')} | {str(suite.get('timestamp'))[:10]}"
        for suite in ElementTree.parse(file).iter("testsuite")
        for figure in suite.iterfind("testcase/properties/property")
    }
    text = DOCS.read_text(encoding="utf-8")
    before, head, table = text.partition(HEAD)
    if not head:
        sys.exit(f"error: {DOCS} has no table of figures")
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE))
    rows |= {proof: f"{row}, {os.cpu_count()} cores" for proof, row in measured.items()}
    lines = [f"| {name} | {rest} |\n" for name, rest in sorted(rows.items())]
    DOCS.write_text(before + head + "".join(lines), encoding="utf-8")
    for proof in measured:
        print(f"{DOCS.name}: {proof}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Prints the slowest tests of several pytest runs, from what `--junitxml` wrote of each."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

SHOWN = 20


def main(files: list[str]) -> None:
    """Print the slowest tests of these files, with the seconds that each took with its fixtures."""
    took = [
        (float(case.get("time", 0)), f"{case.get('classname')}::{case.get('name')}")
        for file in files
        for case in ElementTree.parse(file).iter("testcase")
    ]
    total = sum(seconds for seconds, _ in took)
    print(f"The {SHOWN} slowest of {len(took):,} tests ({total:,.0f} s in all):")
    for seconds, name in sorted(took, reverse=True)[:SHOWN]:
        print(f"{seconds:7.1f} s  {name}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The keys of the review page: one meaning each."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

COMMANDS = Path(__file__).parents[2] / "pipeline" / "review" / "page" / "src" / "commands.js"
_COMMAND = re.compile(r'\{ name: "(\w+)", key: "([^"]+)", title: "[^"]+", when: "(\w+)"')
# Enter and S finish or go on with what is drawn.
_SEVERAL = {
    "enter": {"addVertex", "setPoint", "drawSquare"},
    "s": {"save", "finishShape"},
}


def test_no_key_has_two_meanings() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for name, key, _ in _COMMAND.findall(_without_flags(COMMANDS.read_text())):
        names[key].add(name)
    assert len(names) > 30
    assert {key: found for key, found in names.items() if len(found) > 1} == _SEVERAL


def _without_flags(script: str) -> str:
    return re.sub(r"is\w+: true, ", "", script)

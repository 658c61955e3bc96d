"""Changes to a registry file that leave everything else in it as it is, byte for byte.

A parser says where things stand, and the text is changed there alone. So comments, order, quotes
and line ends stay: to parse a file and write it again would lay it out anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from parcels.catalogue.writing import write_text
from parcels.errors import RegistryError
from parcels.registry_file import compose_entries, parse_entries, read_text

# Key -> what is to be said of it, as YAML in one line; None takes the key away.
Facts = Mapping[str, str | None]
_Edit = tuple[int, int, str]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
# What may stand for no counties at all.
_NOTHING = re.compile(r"^counties:([ \t]+(\{[ \t]*\}|null|~))?", re.MULTILINE)


def set_facts(file: Path, facts: Mapping[str, Facts]) -> None:
    """Say facts of counties; one that the file does not have yet gets an entry with them.

    Raises:
        RegistryError: the file cannot be read or written, or is laid out so that only a person
            can change it.
    """
    text = read_text(file)
    before = parse_entries(text, file)
    counties = compose_entries(text, file)
    entries = {} if counties is None else {key.value: value for key, value in counties.value}
    edits: list[_Edit] = []
    added: list[str] = []
    for name, said in facts.items():
        if name in entries:
            edits += _edits(text, entries[name], said, file)
        elif any(value is not None for value in said.values()):
            added += _entry(name, [f"{k}: {v}" for k, v in said.items() if v is not None])
    changed = text
    for start, end, replacement in sorted(edits, reverse=True):
        changed = changed[:start] + replacement + changed[end:]
    if added:
        # What is added stands behind all that is edited, so the places still hold.
        changed = _appended(changed, counties, added, file)
    after = {
        name: _laid_over(before.get(name), facts.get(name, {})) for name in {**before, **facts}
    }
    _replace(file, changed, {name: entry for name, entry in after.items() if entry != {}})


def add_entry(file: Path, name: str, lines: Sequence[str]) -> None:
    """Add an entry at the end of the file; `lines` are what stands under its name.

    Raises:
        RegistryError: as `set_facts`; also where the name is taken.
    """
    text = read_text(file)
    before = parse_entries(text, file)
    if name in before:
        raise RegistryError(f"{file}: county {name!r} is there already; take another name")
    counties = compose_entries(text, file)
    added = parse_entries("\n".join(["counties:", *_entry(name, lines, 2)]), file)
    changed = _appended(text, counties, _entry(name, lines), file)
    _replace(file, changed, {**before, **added})


def _entry(name: str, lines: Sequence[str], indent: int = 0) -> list[str]:
    """The lines of an entry; a name that YAML would read as something else is none.

    Raises:
        RegistryError: the name is no county's.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r}: write the county's name with a-z, digits, '-' and '_' only")
    return [f"{' ' * indent}{name}:", *(f"{' ' * indent}  {line}" for line in lines)]


def _edits(text: str, entry: yaml.Node, said: Facts, file: Path) -> list[_Edit]:
    if not isinstance(entry, yaml.MappingNode) or not entry.value:
        raise _by_hand(file)
    stands = {key.value: (key, value) for key, value in entry.value}
    first = entry.value[0][0].start_mark
    # Before the first key: what follows the last one may be the comment of the next entry.
    gap = ", " if entry.flow_style else _newline(text) + " " * first.column
    added = "".join(
        f"{key}: {fact}{gap}"
        for key, fact in said.items()
        if key not in stands and fact is not None
    )
    edits: list[_Edit] = [(first.index, first.index, added)]
    for key, fact in said.items():
        if key not in stands:
            continue
        key_node, value = stands[key]
        start, end = value.start_mark.index, _end(value)
        if fact is not None or entry.flow_style:
            edits.append((start, end, fact or "null"))
        else:
            edits.append((*_lines(text, key_node.start_mark.index, end), ""))
    return edits


def _lines(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole lines from the one with `start` to the one with `end`."""
    after = text.find("\n", end)
    return text.rfind("\n", 0, start) + 1, len(text) if after < 0 else after + 1


def _end(node: yaml.Node) -> int:
    """Where a value's text ends: a block's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _appended(
    text: str, counties: yaml.MappingNode | None, lines: Sequence[str], file: Path
) -> str:
    """The text with an entry, or several, at its end."""
    newline = _newline(text)
    if counties is not None and counties.value:
        if counties.flow_style:
            raise _by_hand(file)
        indent, gap = counties.value[0][0].start_mark.column, newline
    else:
        text = _NOTHING.sub("counties:", text)
        indent, gap = 2, ""
    block = "".join(f"{' ' * indent}{line}{newline}" for line in lines)
    return f"{text.rstrip()}{newline}{gap}{block}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _laid_over(entry: object, said: Facts) -> dict[str, Any]:
    """What an entry must say once its facts are said."""
    laid = dict(entry) if isinstance(entry, dict) else {}
    laid |= {key: yaml.safe_load(fact) if fact is not None else None for key, fact in said.items()}
    return {key: value for key, value in laid.items() if value is not None}


def _replace(file: Path, text: str, wanted: Mapping[str, Any]) -> None:
    """Write the file, if its text says what is wanted and nothing else."""
    try:
        says = parse_entries(text, file)
    except RegistryError as error:
        raise _by_hand(file) from error
    if {name: _laid_over(entry, {}) for name, entry in says.items()} != {
        name: _laid_over(entry, {}) for name, entry in wanted.items()
    }:
        raise _by_hand(file)
    write_text(text, file)


def _by_hand(file: Path) -> RegistryError:
    return RegistryError(
        f"{file}: is laid out so that only a person can change it; write each county under "
        "'counties:', on lines of its own"
    )

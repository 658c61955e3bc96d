"""Edits single keys of a registry file; comments, order and quotes stay (ruamel.yaml round trip).

Reformatted is only what is inconsistent with the rest of the file: other indents, several spaces
between values, brackets and text over several lines, escaped letters, blank lines at the end.
An edit that would lose a comment, for example one between brackets, is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from parcels.catalogue.write_registry import write_text
from parcels.errors import RegistryError
from parcels.registry.yaml_file import parse_entries, read_text

# Key -> new value as YAML on one line; None removes the key, or only its value if a comment is
# attached to it.
EntryChanges = Mapping[str, str | None]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_COMMENT = re.compile(r"(?<!\S)#.*")
_START = re.compile(r"(?:.*\n)*?---.*\n")


def set_keys(file: Path, changes: Mapping[str, EntryChanges]) -> None:
    """Set keys of counties; a county that is not in the file gets an entry with them.

    A file that has these values already is not written.

    Raises:
        RegistryError: the file cannot be read or written, or has a layout that cannot be edited
            automatically.
    """
    known = parse_entries(read_text(file), file)
    added: list[str] = []
    for name in [name for name in changes if name not in known]:
        lines = [f"{key}: {value}" for key, value in changes[name].items() if value is not None]
        added += _entry(name, lines) if lines else []
    _edit(file, {name: keys for name, keys in changes.items() if name in known}, added)


def add_entry(file: Path, name: str, lines: Sequence[str]) -> None:
    """Append an entry to the file; `lines` go under its name.

    Raises:
        RegistryError: as `set_keys`; also if the name exists.
    """
    if name in parse_entries(read_text(file), file):
        raise RegistryError(f"{file}: county {name!r} already exists; choose another name")
    _edit(file, {}, _entry(name, lines))


def _entry(name: str, lines: Iterable[str]) -> list[str]:
    """The lines of an entry; a name that YAML would parse as something else is refused."""
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r}: write the county's name with a-z, digits, '-' and '_' only")
    return [f"{name}:", *(f"  {line}" for line in lines)]


def _edit(file: Path, changes: Mapping[str, EntryChanges], added: Sequence[str]) -> None:
    """Write the file, if the result has exactly the wanted values and all comments."""
    from ruamel.yaml.error import YAMLError  # late: few commands edit a registry

    before = read_text(file)
    text, new = before.replace("\r\n", "\n"), f"counties:\n{_indented(added, 2)}"
    known = parse_entries(text, file)
    wanted = known | parse_entries(new, file)
    try:
        edited = _round_trip(text, changes, added)
        for name, keys in changes.items():
            values = {key: value and yaml.safe_load(value) for key, value in keys.items()}
            wanted[name] = {**wanted[name], **values}
        if _without_empty(wanted) == _without_empty(known):
            return
        is_wanted = _without_empty(parse_entries(edited, file)) == _without_empty(wanted)
    except (YAMLError, RegistryError, LookupError):
        is_wanted = False
    if not is_wanted or _COMMENT.findall(edited) != _COMMENT.findall(f"{text}\n{new}"):
        raise RegistryError(
            f"{file}: cannot be edited automatically; write each county under 'counties:' on "
            "lines of its own, without comments between brackets"
        )
    write_text(edited if text == before else edited.replace("\n", "\r\n"), file)


def _round_trip(text: str, changes: Mapping[str, EntryChanges], added: Iterable[str]) -> str:
    """The text with the changed entries, and the added lines at its end."""
    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    # ruamel.yaml would drop the document start and the comments before it.
    start = found[0] if (found := _START.match(text)) else ""
    parser = YAML()
    parser.preserve_quotes, parser.width = True, 1_000_000
    content, item_width, dash = load_yaml_guess_indent(text.removeprefix(start), yaml=parser)
    counties: Any = content["counties"]
    column = counties.lc.col if counties else 2
    parser.indent(column, item_width, dash)
    entries = {str(k): entry for k, entry in (counties or {}).items() if isinstance(entry, dict)}
    for name, keys in changes.items():
        for key, value in reversed(list(keys.items())):
            _set_key(entries[name], key, None if value is None else parser.load(value))
    content["counties"] = counties or None  # an empty {} could not be followed by lines
    dumped = io.StringIO()
    parser.dump(content, dumped)
    gap = "\n" if counties and added else ""
    return f"{start}{dumped.getvalue().rstrip()}\n{gap}{_indented(added, column)}"


def _set_key(entry: Any, key: str, value: Any) -> None:  # noqa: ANN401  as ruamel.yaml has them
    if value is None and key not in entry.ca.items:
        entry.pop(key, None)
    elif key not in entry:
        # As the first key: the comment of the next entry may be attached to the last one.
        entry.insert(0, key, value)
    elif isinstance(value, list) and isinstance(entry[key], list):
        # Item by item, as comments are attached to items.
        for i, item in enumerate(value):
            entry[key][i] = item
    else:
        entry[key] = value


def _indented(lines: Iterable[str], column: int) -> str:
    return "".join(f"{' ' * column}{line}\n" for line in lines)


def _without_empty(entries: object) -> object:
    """The entries without keys that have no value."""
    if not isinstance(entries, dict):
        return entries
    values = {key: _without_empty(value) for key, value in entries.items()}
    return {key: value for key, value in values.items() if value not in (None, {})}

"""Changes to a registry file, by ruamel.yaml's round trip: comments, order and quotes stay.

Laid out anew is what differs from the rest of the file: entries and lists indented by another
width, several blanks between values, brackets and texts over several lines, escaped letters, blank
lines at the end. A change that would lose a comment, such as one between brackets, is refused.
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

# Key -> what is to be said of it, as YAML in one line; None takes the key away, or leaves it
# without a value where a comment hangs on it.
EntryChanges = Mapping[str, str | None]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_COMMENT = re.compile(r"(?<!\S)#.*")
_START = re.compile(r"(?:.*\n)*?---.*\n")


def set_keys(file: Path, facts: Mapping[str, EntryChanges]) -> None:
    """Say facts of counties; one that the file does not have yet gets an entry with them.

    A file that says them already is left alone.

    Raises:
        RegistryError: the file cannot be read or written, or is laid out so that only a person
            can change it.
    """
    known = parse_entries(read_text(file), file)
    added: list[str] = []
    for name in [name for name in facts if name not in known]:
        lines = [f"{key}: {fact}" for key, fact in facts[name].items() if fact is not None]
        added += _entry(name, lines) if lines else []
    _change(file, {name: said for name, said in facts.items() if name in known}, added)


def add_entry(file: Path, name: str, lines: Sequence[str]) -> None:
    """Add an entry at the end of the file; `lines` are what stands under its name.

    Raises:
        RegistryError: as `set_keys`; also where the name is taken.
    """
    if name in parse_entries(read_text(file), file):
        raise RegistryError(f"{file}: county {name!r} is there already; take another name")
    _change(file, {}, _entry(name, lines))


def _entry(name: str, lines: Iterable[str]) -> list[str]:
    """The lines of an entry; a name that YAML would read as something else is refused."""
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r}: write the county's name with a-z, digits, '-' and '_' only")
    return [f"{name}:", *(f"  {line}" for line in lines)]


def _change(file: Path, facts: Mapping[str, EntryChanges], added: Sequence[str]) -> None:
    """Write the file, if it then says what is wanted, with all comments, and nothing else."""
    from ruamel.yaml.error import YAMLError  # late: few commands change a registry

    before = read_text(file)
    text, new = before.replace("\r\n", "\n"), f"counties:\n{_indented(added, 2)}"
    known = parse_entries(text, file)
    wanted = known | parse_entries(new, file)
    try:
        changed = _round_trip(text, facts, added)
        for name, said in facts.items():
            values = {key: fact and yaml.safe_load(fact) for key, fact in said.items()}
            wanted[name] = {**wanted[name], **values}
        if _said(wanted) == _said(known):
            return
        is_wanted = _said(parse_entries(changed, file)) == _said(wanted)
    except (YAMLError, RegistryError, LookupError):
        is_wanted = False
    if not is_wanted or _COMMENT.findall(changed) != _COMMENT.findall(f"{text}\n{new}"):
        raise RegistryError(
            f"{file}: is laid out so that only a person can change it; write each county under "
            "'counties:', on lines of its own, and no comments between brackets"
        )
    write_text(changed if text == before else changed.replace("\n", "\r\n"), file)


def _round_trip(text: str, facts: Mapping[str, EntryChanges], added: Iterable[str]) -> str:
    """The text with the facts of entries that it has, and the lines of others at its end."""
    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    # ruamel.yaml would drop it, with the comments that stand before it.
    start = found[0] if (found := _START.match(text)) else ""
    parser = YAML()
    parser.preserve_quotes, parser.width = True, 1_000_000
    content, item_width, dash = load_yaml_guess_indent(text.removeprefix(start), yaml=parser)
    counties: Any = content["counties"]
    column = counties.lc.col if counties else 2
    parser.indent(column, item_width, dash)
    entries = {str(k): entry for k, entry in (counties or {}).items() if isinstance(entry, dict)}
    for name, said in facts.items():
        for key, fact in reversed(list(said.items())):
            _say(entries[name], key, None if fact is None else parser.load(fact))
    content["counties"] = counties or None  # {} would take no lines
    dumped = io.StringIO()
    parser.dump(content, dumped)
    gap = "\n" if counties and added else ""
    return f"{start}{dumped.getvalue().rstrip()}\n{gap}{_indented(added, column)}"


def _say(entry: Any, key: str, value: Any) -> None:  # noqa: ANN401  as ruamel.yaml has them
    if value is None and key not in entry.ca.items:
        entry.pop(key, None)
    elif key not in entry:
        # Before the first key: behind the last one the comment of the next entry may hang.
        entry.insert(0, key, value)
    elif isinstance(value, list) and isinstance(entry[key], list):
        # One by one, as comments hang on the items.
        for i, item in enumerate(value):
            entry[key][i] = item
    else:
        entry[key] = value


def _indented(lines: Iterable[str], column: int) -> str:
    return "".join(f"{' ' * column}{line}\n" for line in lines)


def _said(entries: object) -> object:
    """Without the keys that have no value."""
    if not isinstance(entries, dict):
        return entries
    said = {key: _said(value) for key, value in entries.items()}
    return {key: value for key, value in said.items() if value not in (None, {})}

"""The data dictionary of an export: what each column of each file means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.export.columns import Column
from pipeline.export.markdown import table

_HEAD = ("column", "kind", "unit", "meaning")


def dictionary(title: str, notes: Sequence[str], files: Mapping[str, Sequence[Column]]) -> str:
    """The data dictionary as Markdown.

    Args:
        files: their names, and their columns in order. Files of the same columns share a table.
    """
    alike: dict[tuple[Column, ...], list[str]] = {}
    for name, columns in files.items():
        alike.setdefault(tuple(columns), []).append(name)
    parts = [f"# {title}: data dictionary", *notes]
    for columns, names in alike.items():
        rows = [(f"`{each.name}`", each.kind, each.unit, each.meaning) for each in columns]
        parts += ["## " + ", ".join(names), table(_HEAD, rows)]
    return "\n\n".join(parts) + "\n"

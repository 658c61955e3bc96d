"""The customer's own columns in an export: their names, which never clash, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.export.columns import BOX, PROPERTIES, UNFINISHED, Column, measured_columns
from pipeline.plurals import count_of
from pipeline.store.reads.row_cursors import OwnColumn

PREFIX = "own_"


@dataclass(frozen=True, slots=True)
class OwnColumnNames:
    """The names that the own columns get in an export.

    Attributes:
        by_exported: the name in the properties CSV, by the name in the export.
        columns: with their meaning, in the order of the CSV.
    """

    by_exported: Mapping[str, str]
    columns: tuple[Column, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """The name in the export by the name in the CSV, of columns whose name was taken."""
        return {own: name for name, own in self.by_exported.items() if name != own}


def name_own_columns(own: Sequence[OwnColumn], stems: Mapping[str, str]) -> OwnColumnNames:
    """Keep each name; a name that a column of Lotline has gets the prefix `own_`.

    Names are compared without case, because databases and spreadsheets ignore it.

    Args:
        stems: of the columns of each label; see `column_stems`.
    """
    used = {
        column.name.casefold()
        for column in (*PROPERTIES, *UNFINISHED, BOX, *measured_columns(stems))
    }
    # An own name that is free keeps it, also if the prefixed name of another would be the same.
    free = {column.name.casefold() for column in own} - used
    by_exported: dict[str, str] = {}
    columns = []
    for each in own:
        name = each.name
        if name.casefold() in used:
            name = _prefixed(name, used | free)
        used.add(name.casefold())
        by_exported[name] = each.name
        columns.append(Column(name, "text", "", _meaning(each, name)))
    return OwnColumnNames(by_exported, tuple(columns))


def _prefixed(name: str, taken: Iterable[str]) -> str:
    candidate, number = f"{PREFIX}{name}", 2
    while candidate.casefold() in set(taken):
        candidate, number = f"{PREFIX}{name}_{number}", number + 1
    return candidate


def _meaning(own: OwnColumn, exported: str) -> str:
    filled = own.properties - own.blank
    of = (
        f"Filled in for {count_of(filled, 'properties')}, blank for {own.blank:,}; null where the "
        "property's file has no such column."
    )
    if exported == own.name:
        return f"A column of the properties CSV, as text. {of}"
    return f"The column {own.name} of the properties CSV, as text; renamed, its name is taken. {of}"

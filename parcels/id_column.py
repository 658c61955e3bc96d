"""Which column has the parcel ids, by its values: a usual name alone may be wrong.

Layers have several columns with usual names, and the first may be empty, or have a part of the id
that many lots share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from parcels.placeholders import is_placeholder, is_way_or_water

# Fewer rows may share an id by chance: two pieces of one lot.
_MIN_SAMPLE = 5

Ids = Sequence[str | None]
# Column names -> their values in some rows; empty if unknown.
Sample = Callable[[Sequence[str]], Mapping[str, Ids]]


def usable_ids(values: Ids) -> list[str]:
    """The values that are ids: not empty, and no placeholder."""
    return [value for value in values if value is not None and not is_placeholder(value)]


def tells_lots(values: Ids) -> bool:
    """Whether an id is among the values, or a word such as "ROW" for what is not a lot."""
    return any(usable_ids([value]) or is_way_or_water(value or "") for value in values)


def id_problem(values: Ids) -> str:
    """Why sample values cannot be parcel ids; empty if they can."""
    filled = {value for value in values if value}
    if not filled:
        return "is empty" if values else ""
    present = usable_ids(values)
    if len(filled) == 1 and (not present or len(present) >= _MIN_SAMPLE):
        return "is the same in every row"
    if not present:
        return "has no ids"
    if len(present) < len(values) / 2:
        return "is empty in most rows"
    if len(set(present)) < len(present) / 2 and len(present) >= _MIN_SAMPLE:
        return "is the same in many rows"
    return ""


def choose_id_column(sample: Mapping[str, Ids]) -> str | None:
    """The first column whose values are ids; else the one with most different ids, if any.

    Args:
        sample: column -> values of some rows, in order of preference.
    """
    good = next((name for name, values in sample.items() if not id_problem(values)), None)
    if good is not None or not any(sample.values()):
        return good
    unique = {name: usable_ids(values) for name, values in sample.items()}
    possible = {
        name: len(set(ids)) for name, ids in unique.items() if ids and len(set(ids)) >= len(ids) / 2
    }
    return max(possible, key=lambda name: possible[name], default=None)

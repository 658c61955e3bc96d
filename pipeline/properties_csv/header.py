"""Decides which column has which meaning, and names everything that is wrong with a header."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from parcels.untrusted import sanitize_text
from pipeline.properties_csv.degrees import PairOrder
from pipeline.properties_csv.header_names import Role, is_longitude_first, role_of, spelling

# The columns that `rejected.csv` adds; a file that is given again has them.
REJECTED_COLUMNS = ("line", "problem")

_STREET_ROLES: tuple[Role, ...] = (
    "house_number", "number_suffix", "pre_direction", "street", "street_type", "post_direction",
)  # fmt: skip
# Their less sure names, such as Suffix, count beside a house number, and if no column has the name
# of a person.
_ALSO_OF_PERSONS: frozenset[Role] = frozenset({"pre_direction", "street_type"})
_NAMES_OF_PERSONS = {"firstname", "lastname", "fname", "lname", "middlename", "ownername"}
_TOWN_ROLES: tuple[Role, ...] = ("city", "state", "zip")
# Together these are the columns of an export, where `state` is not a part of an address.
_EXPORT_COLUMNS = {"state", "reason", "detail"}
_MEANINGS = {
    "full_address": "address",
    "coordinates": "longitude and latitude",
    "location": "longitude and latitude, or address",
}
_MAX_NAMES = 25
# A byte order mark that an earlier program read as Windows-1252.
_MISREAD_MARK = "\u00ef\u00bb\u00bf"


@dataclass(frozen=True, slots=True)
class HeaderColumns:
    """The columns of a header.

    Attributes:
        names: as written, without empty ones at the end.
        roles: the index of the column with each role that is used.
        pair_order: of the column with both coordinates.
        address_parts: the roles that make up the address, in the order in which they are joined;
            empty if it is one column or none.
        problems: why rows cannot be read with this header.
        recognized: the number of columns with a known name.
    """

    names: tuple[str, ...]
    roles: dict[Role, int] = field(default_factory=dict)
    pair_order: PairOrder = "unknown"
    address_parts: tuple[Role, ...] = ()
    problems: tuple[str, ...] = ()
    recognized: int = 0

    def name_of(self, role: Role) -> str:
        """The name of a role's column, for messages."""
        return sanitize_text(self.names[self.roles[role]], 60)

    def understood(self) -> list[str]:
        """Each used column and its meaning: "ID → property_id"; only the name where it says it."""
        listed = [
            _arrow(self.name_of(role), _MEANINGS.get(role, role))
            for role in self.roles
            if role not in self.address_parts
        ]
        if self.address_parts:
            names = " + ".join(self.name_of(role) for role in self.address_parts)
            listed.append(_arrow(names, "address"))
        return listed

    def listed_names(self) -> str:
        """The names for a message."""
        names = [sanitize_text(name, 60) or "(no name)" for name in self.names]
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        return (", ".join(names[:_MAX_NAMES]) or "nothing") + more


def read_header(cells: Sequence[str]) -> HeaderColumns:
    """The columns of a header; it may have problems."""
    names = [
        cell.strip().strip("\ufeff\u200b").removeprefix(_MISREAD_MARK).strip() for cell in cells
    ]
    while names and not names[-1]:
        names.pop()
    found = _columns_by_role(names)
    recognized = sum(len(ranked) for ranked in found.values())
    problems: list[str] = []
    chosen: dict[Role, int] = {}
    for role in _used_roles(found):
        column = _choose(names, role, found[role], problems)
        if column is not None:
            chosen[role] = column
    has_place = {"longitude", "latitude"} <= found.keys() or bool(
        found.keys() & {"coordinates", "parcel_id", "full_address", "address", "street", "location"}
    )
    if "property_id" not in found:
        copy = ""
        if "parcel_id" in chosen:
            copy = f"; a copy of {sanitize_text(names[chosen['parcel_id']], 60)} will do"
        problems.insert(0, f"no column for property_id (such as ID, Ref or Customer ID{copy})")
    if not has_place:
        problems.append("no columns for longitude and latitude, parcel_id or address")
    return HeaderColumns(
        tuple(names),
        chosen,
        _pair_order(names, chosen),
        _address_parts(chosen),
        tuple(problems),
        recognized,
    )


def _columns_by_role(names: Sequence[str]) -> dict[Role, list[tuple[int, int]]]:
    """For each role, the (rank, index) of the columns whose names mean it."""
    found: dict[Role, list[tuple[int, int]]] = defaultdict(list)
    is_export = set(map(spelling, names)) >= _EXPORT_COLUMNS
    for index, name in enumerate(names):
        known = role_of(name)
        if known is None or (is_export and known[0] == "state"):
            continue
        role, rank = known
        found[role].append((rank, index))
    if "house_number" not in found or _NAMES_OF_PERSONS & set(map(spelling, names)):
        for role in _ALSO_OF_PERSONS & found.keys():
            found[role] = [each for each in found[role] if each[0] == 0]
    return {role: ranked for role, ranked in found.items() if ranked}


def _used_roles(found: dict[Role, list[tuple[int, int]]]) -> list[Role]:
    """The roles whose columns are read, in the order in which they are shown."""
    has_point = {"longitude", "latitude"} <= found.keys()
    has_pair = not has_point and "coordinates" in found
    roles: list[Role] = ["property_id"]
    roles += ["coordinates"] if has_pair else ["longitude", "latitude"]
    roles.append("parcel_id")
    towns = [role for role in _TOWN_ROLES if role in found]
    if "full_address" in found:
        roles.append("full_address")
    elif "address" in found:
        # A state alone is no reason to change a line that says where it is.
        roles += ["address", "unit", *(towns if {"city", "zip"} & set(towns) else ())]
    elif "street" in found:
        roles += [*_STREET_ROLES, "unit", *towns]
    elif not has_point and not has_pair:
        roles.append("location")
    return [role for role in roles if role in found]


def _choose(
    names: Sequence[str], role: Role, ranked: list[tuple[int, int]], problems: list[str]
) -> int | None:
    """The column of a role; None with a problem if several may have it."""
    surest = min(ranked)[0]
    columns = [index for rank, index in ranked if rank == surest]
    if len(columns) == 1:
        return columns[0]
    same = {names[index] for index in columns}
    if len(same) == 1:
        problems.append(f"the column {sanitize_text(names[columns[0]], 60)} occurs twice")
    else:
        listed = " and ".join(sanitize_text(names[index], 60) for index in columns)
        problems.append(f"the columns {listed} mean the same: {_MEANINGS.get(role, role)}")
    return None


def _pair_order(names: Sequence[str], chosen: dict[Role, int]) -> PairOrder:
    if "coordinates" not in chosen:
        return "unknown"
    name = names[chosen["coordinates"]]
    known = role_of(name)
    if known is None or known[1] > 0:
        return "unknown"
    return "longitude first" if is_longitude_first(name) else "latitude first"


def _address_parts(chosen: dict[Role, int]) -> tuple[Role, ...]:
    if not {"address", "street"} & chosen.keys():
        return ()
    parts: tuple[Role, ...] = ("address", *_STREET_ROLES, "unit", *_TOWN_ROLES)
    used = tuple(role for role in parts if role in chosen)
    return used if len(used) > 1 or used == ("street",) else ()


def _arrow(name: str, meaning: str) -> str:
    return meaning if name == meaning else f"{name} → {meaning}"

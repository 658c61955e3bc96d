"""Which columns of a layer hold the parcel id and the lot's address: by their names and values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parcels.addresses.street_name import normalize_words, suffixes
from parcels.catalogue.address_columns import OF_THE_OWNER
from parcels.column_mapping import choose_parcel_id, parcel_id_text

SampleRows = Sequence[Mapping[str, Any]]

# What says that a column is of the lot and not of its owner; the columns of one address share it.
_OF_THE_LOT = (
    "property", "physical", "location", "situs", "site", "prop", "phys", "phy", "land", "par",
    "loc", "pm", "",
)  # fmt: skip
# Names without their prefix, without underscores, in lower case.
_PARTS = {
    "house_number": "houseno housenum housenumb housenumber hsenum hsnbr streetno streetnum "
    "streetnumber stno stnum addno addnum addnumber addrno addrnum addrnumber addressnum "
    "addressnumber adrno",
    "direction": "predir streetdir streetdirection stdir stpredir adrpredir addrpredir dirpfx",
    "street": "street streetname streetnam stname stnm addname addrstreet adrstr road roadname",
    "suffix": "streettype streettyp streetsuf streetsuffix sttype stsuffix adrsuf roadtype rdtype",
    "unit": "unit unitno unitnum unitnumber unitnumb apt aptno adrunit",
    "city": "city cityname town muni municipality community",
    "postcode": "zip zipcode zip5 zipcd postalcode postcode",
    "address": "address addr addr1 add address1 fulladdress addresscombined streetaddress full",
}
_PART_OF = {name: part for part, names in _PARTS.items() for name in names.split()}
_ONLY_WITH_PREFIX = {
    "num": "house_number", "number": "house_number", "nbr": "house_number", "dir": "direction",
    "name": "street", "type": "suffix", "suff": "suffix", "comb": "address",
}  # fmt: skip
# Names that hold a common one (GIS_PIN, PARCEL_NO_2), and the less common ones.
_LIKE_AN_ID = re.compile(
    r"(parcel|prcl)_?(id|no|num|number|nbr|key)|(^|_)(gis|tax|g|p)?_?(apn|pin|pid|ppn)n?(_|$)"
    r"|(map_?)?tax_?lot|^(tms|tmk|upc|acctid|maplot|propid|prop_id)$",
    re.IGNORECASE,
)
_SITE_PREFIXES = ("situs", "site")
# Names that say so little that only the values of a sample make them believed; a street column
# of the layer, too, has to be there.
_BARE = {
    "number": "bare_number", "num": "bare_number", "nbr": "bare_number", "house": "bare_number",
    "dir": "direction", "suffix": "bare_suffix", "suf": "bare_suffix",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """The `fields` of an entry, in its order; and why columns that look like it are not among them.

    Attributes:
        fields: key of `fields` -> a column, or the columns of the street.
        refused: column -> what is wrong with its values.
    """

    fields: dict[str, str | list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def has_addresses(self) -> bool:
        """Whether columns of addresses are among the fields."""
        return "address" in self.fields or {"house_number", "street"} <= set(self.fields)


def candidates(columns: Sequence[str], object_id: str | None) -> list[str]:
    """The columns to sample, before `guess_columns` looks at their values."""
    ids = _id_candidates(columns, object_id)
    addresses = [name for group in _address_groups(columns) for name in group.values()]
    return list(dict.fromkeys([*ids, *addresses]))


def guess_columns(columns: Sequence[str], object_id: str | None, rows: SampleRows) -> ColumnGuess:
    """The columns that hold what their names promise, in a sample of rows."""
    fields: dict[str, str | list[str]] = {}
    refused: dict[str, str] = {}
    for name in _id_candidates(columns, object_id):
        problem = _no_id(_values(rows, name))
        if not problem:
            fields["parcel_id"] = name
            break
        refused[name] = problem
    for group in _address_groups(columns):
        mapped = _mapped(group, rows)
        if mapped:
            fields |= mapped
            break
    return ColumnGuess(fields, refused)


def _id_candidates(columns: Sequence[str], object_id: str | None) -> list[str]:
    left = [name for name in columns if name != object_id]
    found: list[str] = []
    while (name := choose_parcel_id(None, left, "")) is not None:
        found.append(name)
        left.remove(name)
    also = [name for name in left if _LIKE_AN_ID.search(name)]
    return [*found, *also]


def _no_id(values: Sequence[str | None]) -> str:
    """Why values are no parcel ids; empty where they are."""
    there = [value for value in values if value is not None]
    if not there:
        return "is empty" if values else ""
    if len(set(there)) == 1 and len(there) > 1:
        return "is the same in every row"
    if len(there) < len(values) / 2:
        return "is empty in most rows"
    if len(set(there)) < len(there) / 2:
        return "is the same in many rows"
    return ""


def _address_groups(columns: Iterable[str]) -> list[dict[str, str]]:
    """Part -> column, for each prefix that has a number and a street, or a whole address."""
    groups: dict[str, dict[str, str]] = {prefix: {} for prefix in _OF_THE_LOT}
    for name in columns:
        if OF_THE_OWNER.search(name):
            continue
        plain = name.rsplit(".", 1)[-1].replace("_", "").lower()
        for prefix in _OF_THE_LOT:
            rest = plain.removeprefix(prefix)
            part = _PART_OF.get(rest)
            if part is None and prefix in _SITE_PREFIXES:
                part = _ONLY_WITH_PREFIX.get(rest, "address" if not rest else None)
            if part is None and not prefix:
                part = _BARE.get(rest)
            if part is not None and (prefix or part != "address") and plain.startswith(prefix):
                groups[prefix].setdefault(part, name)
                break
    return [
        group
        for group in groups.values()
        if ("street" in group and group.keys() & {"house_number", "bare_number"})
        or "address" in group
    ]


def _mapped(group: Mapping[str, str], rows: SampleRows) -> dict[str, str | list[str]]:
    """The fields that a group gives; none where its values are no address."""
    mapped: dict[str, str | list[str]] = {}
    if "address" in group and _mostly(rows, group["address"], r".*\d.*[A-Za-z].*|.*[A-Za-z].*\d.*"):
        mapped["address"] = group["address"]
    number = group.get("house_number") or (group.get("bare_number") if rows else None)
    if number and "street" in group and _mostly(rows, number, r"\d{1,6}[A-Za-z]?"):
        mapped["house_number"] = number
        mapped["street"] = [group[part] for part in _street_parts(group, rows)]
    if mapped:
        mapped |= {part: group[part] for part in ("unit", "city", "postcode") if part in group}
    return mapped


def _street_parts(group: Mapping[str, str], rows: SampleRows) -> list[str]:
    """The parts of the street's name that are there; a suffix may be that of the number."""
    parts = [part for part in ("direction", "street", "suffix") if part in group]
    if "suffix" not in parts and "bare_suffix" in group:
        said = [normalize_words(value) for value in _values(rows, group["bare_suffix"]) if value]
        types = {*suffixes(), *suffixes().values()}
        if sum(value in types for value in said) > len(said) / 2:
            parts.append("bare_suffix")
    return parts


def _mostly(rows: SampleRows, column: str, pattern: str) -> bool:
    """Whether most of the values that there are look like this; without rows the name must do."""
    there = [value.strip() for value in _values(rows, column) if value and value.strip()]
    alike = sum(1 for value in there if re.fullmatch(pattern, value))
    return not rows or alike > len(there) / 2


def _values(rows: SampleRows, column: str) -> list[str | None]:
    return [parcel_id_text(row.get(column)) for row in rows]

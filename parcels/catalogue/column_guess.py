"""Guesses the columns of parcel id, type and site address from names and sample values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parcels.addresses.street_words import normalize_words, suffixes
from parcels.catalogue.address_columns import MAILING_ADDRESS
from parcels.column_mapping import (
    choose_parcel_type,
    parcel_id_candidates,
    parcel_id_text,
    unqualified,
)
from parcels.id_column import id_problem
from parcels.placeholders import is_type_of_no_lot

SampleRows = Sequence[Mapping[str, Any]]

# Prefixes of site address columns (not the owner's); the columns of one address share one.
_SITE_ADDRESS_PREFIXES = (
    "property", "physical", "location", "situs", "site", "prop", "phys", "phy", "land", "par",
    "loc", "pm", "",
)  # fmt: skip
# Names without prefix and underscores, in lower case.
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
# Names that contain a common one (GIS_PIN, PARCEL_NO_2), and less common ones.
_ID_LIKE = re.compile(
    r"(parcel|prcl)_?(id|no|num|number|nbr|key)|(^|_)(gis|tax|g|p)?_?(apn|pin|pid|ppn)n?(_|$)"
    r"|(map_?)?tax_?lot|^(tms|tmk|upc|acctid|maplot|propid|prop_id)$",
    re.IGNORECASE,
)
# Columns that may tell lots from rights of way, which their values must confirm.
_TYPE_LIKE = re.compile(
    r"(^|_)(type|class|category)$|(poly|parcel|prcl|par|lot|feat|feature|use)_?(type|class|desc)",
    re.IGNORECASE,
)
_SITE_PREFIXES = ("situs", "site")
# Ambiguous names: they count only if sample values agree and the layer has a street column.
_AMBIGUOUS = {
    "number": "bare_number", "num": "bare_number", "nbr": "bare_number", "house": "bare_number",
    "dir": "direction", "suffix": "bare_suffix", "suf": "bare_suffix",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """The guessed `fields` of an entry, and why similar columns were refused.

    Attributes:
        fields: key of `fields` -> a column, or the columns of the street; in the entry's order.
        refused: column -> the problem with its values.
    """

    fields: dict[str, str | list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def has_addresses(self) -> bool:
        """Whether address columns were found."""
        return "address" in self.fields or {"house_number", "street"} <= set(self.fields)


def candidates(columns: Sequence[str], object_id: str | None) -> list[str]:
    """The columns whose values `guess_columns` needs in the sample."""
    ids = [*_id_candidates(columns, object_id), *_type_candidates(columns)]
    addresses = [name for group in _address_groups(columns) for name in group.values()]
    return list(dict.fromkeys([*ids, *addresses]))


def guess_columns(columns: Sequence[str], object_id: str | None, rows: SampleRows) -> ColumnGuess:
    """The columns whose sample values agree with their names."""
    fields: dict[str, str | list[str]] = {}
    refused: dict[str, str] = {}
    for name in _id_candidates(columns, object_id):
        problem = id_problem(_values(rows, name))
        if not problem:
            fields["parcel_id"] = name
            break
        refused[name] = problem
    parcel_type = _parcel_type(columns, rows)
    if parcel_type is not None:
        fields["parcel_type"] = parcel_type
    for group in _address_groups(columns):
        mapped = _fields_of(group, rows)
        if mapped:
            fields |= mapped
            break
    return ColumnGuess(fields, refused)


def _id_candidates(columns: Sequence[str], object_id: str | None) -> list[str]:
    others = [name for name in columns if name != object_id]
    usual = parcel_id_candidates(others)
    also = [name for name in others if _ID_LIKE.search(unqualified(name)) and name not in usual]
    return [*usual, *also]


def _type_candidates(columns: Sequence[str]) -> list[str]:
    usual = choose_parcel_type(None, columns)
    also = [name for name in columns if _TYPE_LIKE.search(unqualified(name))]
    return list(dict.fromkeys([*([usual] if usual is not None else []), *also]))


def _parcel_type(columns: Sequence[str], rows: SampleRows) -> str | None:
    """The type column: one with a usual name, or one that says of a sample that it is no lot."""
    for name in _type_candidates(columns):
        if any(value is not None and is_type_of_no_lot(value) for value in _values(rows, name)):
            return name
    return choose_parcel_type(None, columns)


def _address_groups(columns: Iterable[str]) -> list[dict[str, str]]:
    """Part -> column, for each prefix with a number and a street, or with a full address."""
    groups: dict[str, dict[str, str]] = {prefix: {} for prefix in _SITE_ADDRESS_PREFIXES}
    for name in columns:
        if MAILING_ADDRESS.search(name):
            continue
        plain = name.rsplit(".", 1)[-1].replace("_", "").lower()
        for prefix in _SITE_ADDRESS_PREFIXES:
            rest = plain.removeprefix(prefix)
            part = _PART_OF.get(rest)
            if part is None and prefix in _SITE_PREFIXES:
                part = _ONLY_WITH_PREFIX.get(rest, "address" if not rest else None)
            if part is None and not prefix:
                part = _AMBIGUOUS.get(rest)
            if part is not None and (prefix or part != "address") and plain.startswith(prefix):
                groups[prefix].setdefault(part, name)
                break
    return [
        group
        for group in groups.values()
        if ("street" in group and group.keys() & {"house_number", "bare_number"})
        or "address" in group
    ]


def _fields_of(group: Mapping[str, str], rows: SampleRows) -> dict[str, str | list[str]]:
    """The fields of a group; empty if its values are not addresses."""
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
    """The parts of the street name that exist; a bare suffix may belong to the house number."""
    parts = [part for part in ("direction", "street", "suffix") if part in group]
    if "suffix" not in parts and "bare_suffix" in group:
        suffix_values = [
            normalize_words(value) for value in _values(rows, group["bare_suffix"]) if value
        ]
        types = {*suffixes(), *suffixes().values()}
        if sum(value in types for value in suffix_values) > len(suffix_values) / 2:
            parts.append("bare_suffix")
    return parts


def _mostly(rows: SampleRows, column: str, pattern: str) -> bool:
    """Whether most non-empty values match the pattern; True without rows."""
    present = [value.strip() for value in _values(rows, column) if value and value.strip()]
    matching = sum(1 for value in present if re.fullmatch(pattern, value))
    return not rows or matching > len(present) / 2


def _values(rows: SampleRows, column: str) -> list[str | None]:
    return [parcel_id_text(row.get(column)) for row in rows]

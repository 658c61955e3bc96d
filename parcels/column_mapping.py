"""Columns: the mapped ones as the layer writes them, a guess for the parcel id, their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from parcels.addresses.site import SiteAddress
from parcels.errors import SourceMisconfigured
from parcels.registry.county import ParcelFields

# Common names in US parcel layers, the most telling first.
_PARCEL_ID_NAMES = (
    "parcel_id",
    "parcelid",
    "apn",
    "parcel_no",
    "parcelno",
    "parcel_num",
    "parcelnumb",
    "parcel_number",
    "parid",
    "parno",
    "par_id",
    "parcel",
    "pin",
    "pin_num",
    "pid",
    "gislink",
    "strap",
    "folio",
    "ain",
)
_WHOLE_NUMBER = re.compile(r"(\d+)\.0+")


def choose_parcel_id(mapped: str | None, names: Sequence[str], where: str) -> str | None:
    """The column that holds parcel ids: the mapped one, else a common name, else None.

    Args:
        mapped: `fields.parcel_id` of the registry entry.
        names: the columns that there are.
        where: the layer or file, for the message.

    Raises:
        SourceMisconfigured: the mapped column does not exist.
    """
    if mapped is not None:
        return find_column(mapped, names, where)
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in _PARCEL_ID_NAMES if name in by_lower), None)


def find_column(wanted: str, names: Sequence[str], where: str) -> str:
    """The column as the layer writes it; the case need not agree.

    Raises:
        SourceMisconfigured: it does not exist; the message lists those that do.
    """
    if wanted in names:
        return wanted
    for name in names:
        if name.lower() == wanted.lower():
            return name
    raise SourceMisconfigured(
        f"{where}: field {wanted!r} does not exist; it has: {', '.join(names) or 'none'}. "
        "Correct 'fields' in the registry entry"
    )


def no_parcel_id_error(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by parcel id where `choose_parcel_id` has found no column."""
    return SourceMisconfigured(
        f"{where}: no column is known to hold the parcel ids; set fields: {{parcel_id: …}} in the "
        f"registry entry; the columns are {', '.join(names) or 'none'}"
    )


def no_address_columns_error(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by address where no columns of addresses are mapped."""
    return SourceMisconfigured(
        f"{where}: no columns are known to hold addresses; set fields: {{address: …}}, or "
        "{house_number: …, street: …}, in the registry entry; the columns are "
        f"{', '.join(names) or 'none'}"
    )


def parcel_id_text(value: object) -> str | None:
    """A parcel id exactly as the county has it, as text; None for none.

    White space stays as it is. A number of a float column has no ".0".
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124  NaN is not itself
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def resolve_columns(mapped: ParcelFields, names: Sequence[str], where: str) -> ParcelFields:
    """The mapped columns as the layer writes them; see `find_column`.

    Raises:
        SourceMisconfigured: one of them does not exist.
    """
    found: dict[str, object] = {}
    for key, column in mapped:
        if isinstance(column, tuple):
            found[key] = tuple(find_column(name, names, where) for name in column)
        elif column is not None:
            found[key] = find_column(column, names, where)
    return mapped.model_copy(update=found)


def site_address(fields: ParcelFields, row: Mapping[str, object]) -> SiteAddress | None:
    """The address of a row, by column; None where no column of addresses is mapped.

    Args:
        fields: the columns as the layer writes them.
    """
    line = (fields.address, fields.house_number, fields.street)
    if not any((*line, fields.unit, fields.city, fields.postcode)):
        return None

    def text(column: str | None) -> str | None:
        return None if column is None else _text(row.get(column))

    parts = [text(column) for column in fields.street or ()]
    return SiteAddress(
        line=text(fields.address),
        house_number=text(fields.house_number),
        street=" ".join(part for part in parts if part) or None,
        unit=text(fields.unit),
        city=text(fields.city),
        postcode=text(fields.postcode),
    )


def _text(value: object) -> str | None:
    """What a column says without the blanks around it; house numbers come as "123.0" too."""
    text = (parcel_id_text(value) or "").strip()
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1] if number else text or None

"""Column mapping: `fields` of the registry entry -> columns of the layer, and their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from parcels.addresses.site import SiteAddress
from parcels.errors import SourceMisconfigured
from parcels.registry.county import ParcelFields

# Common names of the parcel id column in US layers, the most specific first.
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
        names: the existing columns.
        where: the layer or file, for the error message.

    Raises:
        SourceMisconfigured: the mapped column does not exist.
    """
    if mapped is not None:
        return find_column(mapped, names, where)
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in _PARCEL_ID_NAMES if name in by_lower), None)


def find_column(wanted: str, names: Sequence[str], where: str) -> str:
    """The column as spelled in the layer; case is ignored.

    Raises:
        SourceMisconfigured: it does not exist; the message lists the existing columns.
    """
    if wanted in names:
        return wanted
    for name in names:
        if name.lower() == wanted.lower():
            return name
    raise SourceMisconfigured(
        f"{where}: column {wanted!r} does not exist; the columns are "
        f"{', '.join(names) or 'none'}. Correct 'fields' in the registry entry"
    )


def no_parcel_id_error(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by parcel id if `choose_parcel_id` found no column."""
    return SourceMisconfigured(
        f"{where}: no parcel id column is known; set fields: {{parcel_id: …}} in the "
        f"registry entry; the columns are {', '.join(names) or 'none'}"
    )


def no_address_columns_error(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by address if no address columns are mapped."""
    return SourceMisconfigured(
        f"{where}: no address columns are mapped; set fields: {{address: …}}, or "
        "{house_number: …, street: …}, in the registry entry; the columns are "
        f"{', '.join(names) or 'none'}"
    )


def parcel_id_text(value: object) -> str | None:
    """A parcel id as text, exactly as written by the county; None if empty.

    White space is kept. A number in a float column loses its ".0".
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124  NaN is not itself
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def resolve_columns(mapped: ParcelFields, names: Sequence[str], where: str) -> ParcelFields:
    """The mapped columns as spelled in the layer; see `find_column`.

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
    """The site address of a row; None if no address columns are mapped.

    Args:
        fields: the columns as spelled in the layer.
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
    """The stripped text of a value; a house number "123.0" becomes "123"."""
    text = (parcel_id_text(value) or "").strip()
    number = _WHOLE_NUMBER.fullmatch(text)
    return number[1] if number else text or None

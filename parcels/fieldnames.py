"""Names of columns: the mapped one as the layer writes it, or a guess for the parcel id."""

from __future__ import annotations

from collections.abc import Sequence

from parcels.errors import SourceMisconfigured

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
        return require_field(mapped, names, where)
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in _PARCEL_ID_NAMES if name in by_lower), None)


def require_field(wanted: str, names: Sequence[str], where: str) -> str:
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


def no_parcel_id(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by parcel id where `choose_parcel_id` has found no column."""
    return SourceMisconfigured(
        f"{where}: no column is known to hold the parcel ids; set fields: {{parcel_id: …}} in the "
        f"registry entry; the columns are {', '.join(names) or 'none'}"
    )


def id_text(value: object) -> str | None:
    """A parcel id exactly as the county has it, as text; None for none.

    White space stays as it is. A number of a float column has no ".0".
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124  NaN is not itself
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)

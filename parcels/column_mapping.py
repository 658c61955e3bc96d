"""Column mapping: `fields` of the registry entry -> columns of the layer, and their values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from parcels.addresses.site import SiteAddress
from parcels.errors import SourceMisconfigured
from parcels.registry.county import ParcelFields
from parcels.untrusted import sanitize_text

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
# Common names of the column that tells lots from rights of way and water.
_PARCEL_TYPE_NAMES = (
    "poly_type",
    "polytype",
    "parcel_type",
    "parceltype",
    "par_type",
    "partype",
    "prcl_type",
    "feature_type",
    "featuretype",
    "feat_type",
    "feattype",
)
# From here on a double, and a single-precision number, stands for several integers, so that
# neighbours would have one id.
MAX_EXACT, MAX_EXACT_SINGLE = 2.0**53, 2.0**24
# As long as ids in the properties CSV may be; a database cannot index much longer ones.
_MAX_ID_CHARACTERS = 500
_WHOLE_NUMBER = re.compile(r"(\d+)\.0+")


def parcel_id_candidates(names: Sequence[str]) -> list[str]:
    """The columns with a common name of parcel ids, the most specific name first."""
    return _with_names(_PARCEL_ID_NAMES, names)


def choose_parcel_type(mapped: str | None, names: Sequence[str]) -> str | None:
    """The column that tells lots from rights of way: the mapped one, else a common name."""
    return mapped or next(iter(_with_names(_PARCEL_TYPE_NAMES, names)), None)


def _with_names(common: Iterable[str], names: Sequence[str]) -> list[str]:
    """The columns with these names, in their order; those without a table are preferred."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names, key=lambda name: "." in name):
        by_name[_plain_name(unqualified(name))].append(name)
    plain = dict.fromkeys(map(_plain_name, common))
    return [column for name in plain if name in by_name for column in by_name[name]]


def _plain_name(name: str) -> str:
    """Without blanks, and "parcel_no" as "parcelno"; but a P_ID may be that of a polygon."""
    words = re.sub(r"[ -]+", "_", name.strip())
    return words.replace("_", "") if words.startswith("parcel") else words


def unqualified(name: str) -> str:
    """The column name without its table, in lower case: "pin" for "GIS.PARCELS.PIN"."""
    return name.rsplit(".", 1)[-1].lower()


def find_column(
    wanted: str, names: Sequence[str], where: str, aliases: Mapping[str, str] | None = None
) -> str:
    """The column as the layer spells it, found as databases find it.

    The spelling counts first, then the name without regard to case, then an alias, then the name
    without its table ("PIN" for "GIS.PARCELS.PIN", and the other way round).

    Args:
        wanted: the column of the registry entry.
        names: the existing columns.
        where: the layer or file, for the error message.
        aliases: name -> the alias that the layer shows to people.

    Raises:
        SourceMisconfigured: it does not exist, or several columns match; the message lists them.
    """
    found = match_column(wanted, names, aliases or {})
    if len(found) == 1:
        return found[0]
    if found:
        raise SourceMisconfigured(
            f"{where}: several columns match {wanted!r}: {', '.join(found)}. Write one of them "
            "under 'fields' in the registry entry"
        )
    raise SourceMisconfigured(
        f"{where}: column {wanted!r} does not exist; the columns are "
        f"{', '.join(names) or 'none'}. Correct 'fields' in the registry entry"
    )


def match_column(wanted: str, names: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """The columns that match best, by the rule of `find_column`: none, one, or several."""
    if wanted in names:
        return [wanted]
    lower = wanted.lower()
    same = [name for name in names if name.lower() == lower]
    if same:
        return same[:1]
    by_alias = [name for name in names if aliases.get(name, "").strip().lower() == lower]
    if by_alias:
        return by_alias
    return [name for name in names if _ends_with(name.lower(), lower)]


def _ends_with(one: str, other: str) -> bool:
    """Whether one of two names is the other without its database, owner or table."""
    return one.endswith(f".{other}") or other.endswith(f".{one}")


def no_parcel_id_error(names: Sequence[str], where: str) -> SourceMisconfigured:
    """The error of a lookup by parcel id if no parcel id column is known."""
    candidates = parcel_id_candidates(names)
    if len(candidates) > 1:
        return SourceMisconfigured(
            f"{where}: the parcel id column may be {' or '.join(candidates)}; name the right one "
            f"in the registry entry, such as fields: {{parcel_id: {candidates[0]}}}"
        )
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


def meanings_by_code(coded: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Code as text -> its meaning, from the (code, meaning) pairs of a coded value domain.

    Codes are written as values are (7.0 is 7); one without a meaning is left out.
    """
    return {
        text: sanitize_text(meaning)
        for code, meaning in coded
        if meaning and (text := parcel_id_text(code)) is not None
    }


def parcel_id_text(value: object) -> str | None:
    """A parcel id as text, exactly as written by the county; None if empty or far too long.

    White space is kept. A number in a float column loses its ".0"; from `MAX_EXACT` on it is None.
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124  NaN is not itself
        return None
    if isinstance(value, float) and abs(value) >= MAX_EXACT:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text if len(text) <= _MAX_ID_CHARACTERS else None


def resolve_columns(
    mapped: ParcelFields,
    names: Sequence[str],
    where: str,
    aliases: Mapping[str, str] | None = None,
) -> ParcelFields:
    """The mapped columns as spelled in the layer; see `find_column`.

    Raises:
        SourceMisconfigured: one of them does not exist.
    """
    found: dict[str, object] = {}
    for key, column in mapped:
        if isinstance(column, tuple):
            found[key] = tuple(find_column(name, names, where, aliases) for name in column)
        elif column is not None:
            found[key] = find_column(column, names, where, aliases)
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

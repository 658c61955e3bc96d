"""Which columns of a layer hold the site address, and not the owner's mailing address."""

from __future__ import annotations

import re
from typing import Any

from parcels.catalogue.openaddresses import SourceLayer

# Columns of the owner's mailing address: MSADD, pstladdress, OWN_ADDR, CITY_MAIL; and address
# lines of a letter: `ADDR_1`, `PA2`.
MAILING_ADDRESS = re.compile(
    r"(^|[._])(own|mail|mlg|ms(add|str|city)|pstl|postal_?addr|bill|tax_?payer|co_?owner)"
    r"|_(mail|own(er)?)$"
    r"|^(addr?|address|pa)_?\d$|(^|[._])address\d$",
    re.IGNORECASE,
)
# A column with such a name holds number and street, even if the number has its own column.
_FULL_ADDRESS = re.compile(
    r"(^|[._])(site_?|situs_?|property_?|prop_?)?(addr(ess)?|situs)\d?$|combined$|fulladd",
    re.IGNORECASE,
)
_CITY_STATE_ZIP = re.compile(r"csz|citystatezip", re.IGNORECASE)

ColumnRefusal = tuple[str, str, str]


def address_fields(layer: SourceLayer) -> tuple[dict[str, Any], list[ColumnRefusal]]:
    """The mapped address columns of a layer; and (key, columns, reason) of each one left out."""
    if not layer.number and not layer.street:
        return {}, []
    fields, reason = _number_and_street(layer.number, layer.street)
    if reason:
        return {}, [("address", _format(layer.number, layer.street), reason)]
    reasons: list[ColumnRefusal] = []
    used = set(layer.number + layer.street)
    for name, columns in (
        ("unit", layer.unit),
        ("city", layer.city),
        ("postcode", layer.postcode),
    ):
        if not columns:
            continue
        shared = name != "unit" and layer.city == layer.postcode
        reason = _refusal(columns, used, shared=shared)
        if reason:
            reasons.append((name, "+".join(columns), reason))
        else:
            fields[name] = columns[0]
    return fields, reasons


def _number_and_street(
    number: tuple[str, ...], street: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """The fields, or a problem."""
    problem = _problem(number, street)
    if problem:
        return {}, problem
    if number == street:
        return {"address": number[0]}, ""
    if len(street) == 1 and _FULL_ADDRESS.search(street[0]):
        return {"address": street[0], "house_number": number[0]}, ""
    return {"house_number": number[0], "street": list(street)}, ""


def _problem(number: tuple[str, ...], street: tuple[str, ...]) -> str:
    problems = {
        "a house number without a street, or a street without a house number": not number
        or not street,
        "may be the owner's mailing address, not the site address": any(
            MAILING_ADDRESS.search(column) for column in number + street
        ),
        "is a function of other columns, not a column": any(":" in c for c in number + street),
        "the house number is made of several columns": len(number) > 1,
        "the house number is also one of the street's columns": (
            number != street and bool(set(number) & set(street))
        ),
    }
    return next((problem for problem, applies in problems.items() if applies), "")


def _refusal(columns: tuple[str, ...], used: set[str], *, shared: bool) -> str:
    if len(columns) > 1:
        return "is made of several columns"
    if columns[0] in used:
        return "is the column of the full address"
    if MAILING_ADDRESS.search(columns[0]):
        return "may be the owner's mailing address, not the site address"
    if shared or _CITY_STATE_ZIP.search(columns[0]):
        return "city, state and postcode are in one column"
    return ""


def _format(number: tuple[str, ...], street: tuple[str, ...]) -> str:
    return f"{'+'.join(number)} | {'+'.join(street)}"

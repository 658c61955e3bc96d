"""Which columns of a layer hold the address of the lot, and not the one of its owner."""

from __future__ import annotations

import re
from typing import Any

from parcels.catalogue.openaddresses import SourceLayer

# Where the tax bill goes: MSADD, pstladdress, OWN_ADDR, CITY_MAIL. `ADDR_1`, `PA2` and their like
# are the lines of a letter.
OF_THE_OWNER = re.compile(
    r"(^|[._])(own|mail|mlg|ms(add|str|city)|pstl|postal_?addr|bill|tax_?payer|co_?owner)"
    r"|_(mail|own(er)?)$"
    r"|^(addr?|address|pa)_?\d$|(^|[._])address\d$",
    re.IGNORECASE,
)
# A column of this name holds number and street, also where the number has one of its own.
_WHOLE = re.compile(
    r"(^|[._])(site_?|situs_?|property_?|prop_?)?(addr(ess)?|situs)\d?$|combined$|fulladd",
    re.IGNORECASE,
)
_SEVERAL_IN_ONE = re.compile(r"csz|citystatezip", re.IGNORECASE)

ColumnRefusal = tuple[str, str, str]


def address_fields(layer: SourceLayer) -> tuple[dict[str, Any], list[ColumnRefusal]]:
    """The mapped columns of a layer's addresses; and (key, columns, why) of what is left out."""
    if not layer.number and not layer.street:
        return {}, []
    fields, reason = _number_and_street(layer.number, layer.street)
    if reason:
        return {}, [("address", _shown(layer.number, layer.street), reason)]
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
        why = _why_not(columns, used, shared=shared)
        if why:
            reasons.append((name, "+".join(columns), why))
        else:
            fields[name] = columns[0]
    return fields, reasons


def _number_and_street(
    number: tuple[str, ...], street: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """The fields, or why there are none."""
    problem = _problem(number, street)
    if problem:
        return {}, problem
    if number == street:
        return {"address": number[0]}, ""
    if len(street) == 1 and _WHOLE.search(street[0]):
        return {"address": street[0], "house_number": number[0]}, ""
    return {"house_number": number[0], "street": list(street)}, ""


def _problem(number: tuple[str, ...], street: tuple[str, ...]) -> str:
    problems = {
        "a house number without a street, or a street without one": not number or not street,
        "may be where the owner gets letters, not where the lot is": any(
            OF_THE_OWNER.search(column) for column in number + street
        ),
        "is made from other columns, and is none itself": any(":" in c for c in number + street),
        "the house number is made of several columns": len(number) > 1,
        "the house number stands in the street's columns too": (
            number != street and bool(set(number) & set(street))
        ),
    }
    return next((problem for problem, holds in problems.items() if holds), "")


def _why_not(columns: tuple[str, ...], used: set[str], *, shared: bool) -> str:
    if len(columns) > 1:
        return "is made of several columns"
    if columns[0] in used:
        return "stands in the column of the whole address"
    if OF_THE_OWNER.search(columns[0]):
        return "may be where the owner gets letters, not where the lot is"
    if shared or _SEVERAL_IN_ONE.search(columns[0]):
        return "city, state and postcode stand in one column"
    return ""


def _shown(number: tuple[str, ...], street: tuple[str, ...]) -> str:
    return f"{'+'.join(number)} | {'+'.join(street)}"

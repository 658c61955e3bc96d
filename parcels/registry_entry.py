"""An entry as it is written -> a validated County; a mistake is said in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from parcels.county import County, Imagery, Layer, ParcelFields, Synthetic, Token
from parcels.errors import RegistryError

_MODELS: dict[str, type[BaseModel]] = {
    "": County,
    "fields": ParcelFields,
    "imagery": Imagery,
    "synthetic": Synthetic,
    "alternates": Layer,
    "token": Token,
}
_WANTED = {
    "key": "write the county's name with a-z, digits, '-' and '_' only",
    "fips": "write five digits in quotes",
    "state": "write two capital letters",
    "layer": "write the layer's number, for example layer: 0",
    "headers": "write the headers as {Referer: https://…}",
    "legacy_tls": "write a list of hosts, for example [gis.county.gov]",
    "calls_in_flight": "write a whole number from 1 to 16",
    "calls_per_second": "write a number above 0, up to 100",
    "census": "write true or false",
    "allow_private": "write true or false",
    "verified": "write a date, for example 2026-05-31",
    "geocode_server": "write the URL of a GeocodeServer",
}
# A long value is not said whole: it may be a page, or stand for billions by its aliases.
_LONGEST_SAID = 80


def validated(key: str, entry: object, folder: Path | None = None) -> County:
    """The county of one entry; relative paths are taken from `folder`.

    Raises:
        RegistryError: a line for each mistake, with the key and what to write instead.
    """
    if not isinstance(entry, dict):
        raise RegistryError("is not an entry; write 'url' and 'layer', or 'path', under it")
    if "key" in entry:
        raise RegistryError("'key' is not a key; the entry's own name is its key")
    named = {str(name): value for name, value in entry.items()}
    try:
        return County.model_validate({**named, "key": key}, context={"folder": folder or Path()})
    except ValidationError as error:
        lines = (_explain(detail) for detail in error.errors(include_url=False))
        # A list that is too short is an error for each item; it is said once.
        raise RegistryError("\n".join(dict.fromkeys(lines))) from error


def _explain(detail: ErrorDetails) -> str:
    """One line for a pydantic error: which key, and what to write instead."""
    loc = detail["loc"]
    name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{name!r} is not a key; {_known_keys(loc)}"
    if loc[:1] == ("extent",) and kind != "value_error":
        return "'extent': write [west, south, east, north] in degrees"
    if kind == "missing":
        return f"{name!r} is missing; write it"
    if kind == "value_error":
        reason = str(detail["ctx"]["error"])
        return f"{name!r}: {reason}" if name else reason
    given = _said(detail["input"])
    if name in _WANTED:
        return f"{name!r}: {given} is wrong; {_WANTED[name]}"
    return f"{name!r}: {given} is wrong: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _known_keys(loc: tuple[int | str, ...]) -> str:
    from difflib import get_close_matches  # late: few registries have a mistake

    known = _MODELS[str(loc[0]) if len(loc) > 1 else ""].model_fields.keys() - {"key"}
    close = get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"the keys are {_listed(known)}"


def _said(value: object) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= _LONGEST_SAID else f"{text[:_LONGEST_SAID]}…"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

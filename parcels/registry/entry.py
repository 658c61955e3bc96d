"""An entry as it is written -> a validated County; a mistake is said in one line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from parcels.errors import RegistryError
from parcels.registry.county import (
    ArcGISLayerEntry,
    County,
    ImageryEntry,
    ParcelFields,
    SyntheticEntry,
    TokenEntry,
)
from parcels.registry.label_entry import LabelEntry

_MODELS: dict[str, type[BaseModel]] = {
    "": County,
    "fields": ParcelFields,
    "imagery": ImageryEntry,
    "synthetic": SyntheticEntry,
    "alternates": ArcGISLayerEntry,
    "token": TokenEntry,
    "labels": LabelEntry,
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
    "line_tolerance_m": "write metres, from 0 to 10",
    "imagery.chip_gsd_m": "write metres a pixel, for example 0.3",
    "labels.*.kind": "write discrete or continuous",
    "labels.*.min_area_m2": "write square metres, from 0 to 10,000",
    "labels.*.score_threshold": "write a number above 0 and below 1",
    "labels.*.simplify_share": "write a share from 0 to 0.1",
    "labels.*.prompt": "write in a few words what is looked for, such as swimming pool",
}
# Lists that are told as a whole, however much of them is wrong.
_WANTED_LISTS = {
    "extent": "write [west, south, east, north] in degrees",
    "lot_offset_m": "write [east, north] in metres, from -50 to 50",
}
# A long value is not said whole: it may be a page, or stand for billions by its aliases.
_LONGEST_SAID = 80


def validate_entry(key: str, entry: object, folder: Path | None = None) -> County:
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
        raise RegistryError("\n".join(validation_messages(error))) from error


def validation_messages(error: ValidationError) -> list[str]:
    """A line for each mistake, with the key and what to write instead."""
    lines = (_explain(detail) for detail in error.errors(include_url=False))
    # A list that is too short is an error for each item; it is said once.
    return list(dict.fromkeys(lines))


def _explain(detail: ErrorDetails) -> str:
    """One line for a pydantic error: which key, and what to write instead."""
    loc = detail["loc"]
    name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{name!r} is not a key; {_known_keys(loc)}"
    if loc and loc[0] in _WANTED_LISTS and kind != "value_error":
        return f"{loc[0]!r}: {_WANTED_LISTS[str(loc[0])]}"
    if kind == "missing":
        return f"{name!r} is missing; write it"
    if kind == "value_error":
        reason = str(detail["ctx"]["error"])
        return f"{name!r}: {reason}" if name else reason
    given = _said(detail["input"])
    wanted = _WANTED.get(f"labels.*.{loc[-1]}" if loc[:1] == ("labels",) else name)
    if wanted is not None:
        return f"{name!r}: {given} is wrong; {wanted}"
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

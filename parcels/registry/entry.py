"""An entry as written -> a validated County; one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, overload

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from parcels.errors import RegistryError
from parcels.registry.county import County
from parcels.registry.entry_model import EntryModel

CountyT = TypeVar("CountyT", bound=County)
# A value in a message is cut: it may be a page long, or expand to billions by its YAML aliases.
_MAX_VALUE_LENGTH = 80


@overload
def validate_entry(key: str, entry: object, file: Path | None = None) -> County: ...


@overload
def validate_entry(
    key: str, entry: object, file: Path | None, county_type: type[CountyT]
) -> CountyT: ...


def validate_entry(
    key: str, entry: object, file: Path | None = None, county_type: type[County] = County
) -> County:
    """The county of one entry; relative paths are resolved against the folder of `file`.

    `county_type` is a County that also validates the keys that other packages own.

    Raises:
        RegistryError: a line for each mistake, with the key and what to write instead.
    """
    if not isinstance(entry, dict):
        raise RegistryError("is not an entry; write 'url' and 'layer', or 'path', under it")
    if "key" in entry:
        raise RegistryError("'key' is not a key; the name of the entry is its key")
    named = {str(name): value for name, value in entry.items()}
    folder = Path() if file is None else file.absolute().parent
    context = {"folder": folder, "file": file}
    try:
        return county_type.model_validate({**named, "key": key}, context=context)
    except ValidationError as error:
        raise RegistryError("\n".join(validation_messages(error, county_type))) from error


def validation_messages(error: ValidationError, model: type[EntryModel]) -> list[str]:
    """A line for each mistake, with the key and what to write instead."""
    lines = (_explain(detail, model) for detail in error.errors(include_url=False))
    # A list that is too short is an error for each item; it is reported once.
    return list(dict.fromkeys(lines))


def _explain(detail: ErrorDetails, model: type[EntryModel]) -> str:
    """One line for a pydantic error: which key, and what to write instead."""
    loc = detail["loc"]
    name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{name!r} is not a key; {_known_keys(loc, model)}"
    if loc and loc[0] in model.list_hints and kind != "value_error":
        return f"{loc[0]!r}: {model.list_hints[str(loc[0])]}"
    if kind == "missing":
        return f"{name!r} is missing; write it"
    if kind == "value_error":
        reason = str(detail["ctx"]["error"])
        return f"{name!r}: {reason}" if name else reason
    given = _shortened(detail["input"])
    hint = model.hints.get(name) or model.hints.get(_any_name(loc))
    if hint is not None:
        return f"{name!r}: {given} is wrong; {hint}"
    return f"{name!r}: {given} is wrong: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _any_name(loc: tuple[int | str, ...]) -> str:
    """labels.lawn.kind -> labels.*.kind, as hints are written for keys under any name."""
    return f"{loc[0]}.*.{loc[-1]}" if len(loc) > 2 else ""


def _known_keys(loc: tuple[int | str, ...], model: type[EntryModel]) -> str:
    from difflib import get_close_matches  # late: few registries have a mistake

    parent = model.nested_models[str(loc[0])] if len(loc) > 1 else model
    known = parent.model_fields.keys() - {"key"}
    close = get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"the keys are {', '.join(sorted(known))}"


def _shortened(value: object) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"

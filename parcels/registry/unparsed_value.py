"""The value of a registry key that another package owns: carried as written, not parsed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo


@dataclass(frozen=True, slots=True)
class UnparsedValue:
    """What the owner of a key needs to parse it later.

    Attributes:
        value: as written in the file, in plain YAML values.
        folder: relative paths in the value are resolved against it.
        location: file and county, for the owner's error messages.
    """

    value: Any
    folder: Path
    location: str


def _carry(value: object, info: ValidationInfo) -> UnparsedValue:
    context = info.context or {}
    county = f"county {info.data.get('key', '')!r}"
    file = context.get("file")
    location = county if file is None else f"{file}: {county}"
    return UnparsedValue(value, context.get("folder", Path()), location)


# A key left out is None.
Unparsed = Annotated[Any, BeforeValidator(_carry)]

"""One object of a file of corrections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from parcels.regular_file import other_than_file
from parcels.untrusted import sanitize_text
from pipeline.errors import CorrectionsFileError

Spoken = Literal["accept", "reject", "restore"]

# What people write for a decision, in small letters.
WORDS: dict[str, Spoken] = {
    "accept": "accept",
    "accepted": "accept",
    "correct": "accept",
    "reject": "reject",
    "rejected": "reject",
    "wrong": "reject",
    "restore": "restore",
}
# As in the panel.
MAX_VERTICES = 100_000
_MAX_KEY = 2**63
_MAX_NOTE = 2_000


class UnusableValue(ValueError):
    """A value of one object cannot be used; the message says why, and how to fix it."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An object as a file has it.

    Attributes:
        where: in the file, for messages.
        outline: in EPSG:4326, as it was drawn; not checked.
        problem: why the object cannot be used; None if it can.
        label: as written; None if the file has none.
        version: of the detection, as exported.
        review: the decision that a person wrote.
        state: as the file has it.
        area_m2: of the outline, as exported; whoever changes the outline rarely changes it.
        may_match: whether an object without an id may be one that is stored, as in an image that
            was annotated anew.
        values: the object's own values, for the file of what was refused.
    """

    where: str
    outline: BaseGeometry | None
    problem: str | None = None
    label: str | None = None
    detection_id: int | None = None
    version: int | None = None
    review: Spoken | None = None
    state: str | None = None
    property_id: str | None = None
    note: str = ""
    area_m2: float | None = None
    may_match: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)


def require_file(path: Path, max_bytes: int) -> None:
    """Refuse what is not a file, or too large.

    Raises:
        CorrectionsFileError: with what to do.
    """
    try:
        kind = other_than_file(path)
        size = path.stat().st_size
    except OSError as error:
        raise CorrectionsFileError(f"{path}: {error.strerror or error}") from error
    if path.is_dir():
        raise CorrectionsFileError(f"{path} is a folder: name a file of it")
    if kind is not None:
        raise CorrectionsFileError(f"{path} is {kind}, not a file")
    if size > max_bytes:
        raise CorrectionsFileError(
            f"{path} has {size / 2**20:,.0f} MiB, more than {max_bytes / 2**20:,.0f}: save only "
            "the objects that you changed, or several files"
        )


def whole_number(name: str, value: object) -> int | None:
    """An id or a version, which other programs save as a float or a text too; None for blank.

    Raises:
        UnusableValue: it is neither.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip() if isinstance(value, int | float | str) else ""
    if isinstance(value, str) and text.lower() in ("", "null", "none", "nan"):
        return None
    try:
        if isinstance(value, bool) or not 0 < len(text) <= 40:
            raise ValueError
        number = int(text) if text.isdecimal() else _integral(text)
    except (ValueError, OverflowError):
        number = 0
    if not 1 <= number < _MAX_KEY:
        raise UnusableValue(f"{name} {sanitize_text(value, 60)!r} is not a number from 1")
    return number


def _integral(text: str) -> int:
    number = float(text)
    # A float of 2^53 and more is not the number that was saved.
    if not number.is_integer() or abs(number) >= 2**53:
        raise ValueError
    return int(number)


def spoken(value: object) -> Spoken | None:
    """The decision that a person wrote; None for blank.

    Raises:
        UnusableValue: another word.
    """
    word = "" if value is None else str(value).strip().lower()
    if word in ("", "null", "none", "nan"):
        return None
    if word not in WORDS:
        raise UnusableValue(
            f"review {sanitize_text(value, 60)!r} is not a decision: write accept, reject or "
            "restore, or leave it blank"
        )
    return WORDS[word]


def own_text(value: object, max_length: int = _MAX_NOTE) -> str | None:
    """A text on one line; None for blank."""
    if value is None or isinstance(value, dict | list):
        return None
    return sanitize_text(value, max_length).strip() or None


def polygons(geometry: BaseGeometry, max_vertices: int) -> BaseGeometry:
    """The geometry without heights, if it is a polygon, and small enough to be checked.

    Raises:
        UnusableValue: with what to do.
    """
    flat = shapely.force_2d(geometry)
    if flat.geom_type not in ("Polygon", "MultiPolygon"):
        raise UnusableValue(f"it is a {flat.geom_type}, not a polygon: draw its outline")
    xy: NDArray[Any] = shapely.get_coordinates(flat)
    if not 4 <= len(xy) <= max_vertices:
        raise UnusableValue(f"it has {len(xy):,} vertices: draw 3 to {max_vertices:,}")
    if not np.isfinite(xy).all():
        raise UnusableValue("a coordinate is not a number: draw the outline again")
    return flat

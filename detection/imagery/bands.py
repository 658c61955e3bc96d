"""Metadata of a raster file: its alpha band, and the capture date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader


def mask_index(dataset: DatasetReader, data: list[int]) -> int | None:
    """The 1-based index of the alpha band, unless it is one of the `data` bands."""
    for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if colour == ColorInterp.alpha and index not in data:
            return int(index)
    return None


def capture_date(dataset: DatasetReader) -> str | None:
    """ISO 8601 date or year from the file's name, else from its TIFF tag.

    The name comes first because the tag is often the date when the file was written.
    """
    stem = Path(dataset.name).stem
    for digits in re.findall(r"(?<!\d)((?:19|20)\d{6})(?!\d)", stem):
        if day := _past_day(digits):
            return day
    # With two four-digit numbers, either may be a tile's column or row.
    fours = set(re.findall(r"(?<!\d)\d{4}(?!\d)", stem))
    year = fours.pop() if len(fours) == 1 else ""
    if year.startswith(("19", "20")) and int(year) <= datetime.now(UTC).year:
        return str(year)
    tag = re.match(r"(\d{4}):(\d{2}):(\d{2})", dataset.tags().get("TIFFTAG_DATETIME", ""))
    return _past_day("".join(tag.groups())) if tag else None


def _past_day(digits: str) -> str | None:
    """YYYYMMDD as an ISO date; None if it is not a date, or in the future."""
    try:
        day = date.fromisoformat(digits)
    except ValueError:
        return None
    return day.isoformat() if day <= datetime.now(UTC).date() else None

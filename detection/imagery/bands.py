"""What can be read off a raster file beside its pixels: band names and the date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from detection.errors import ImageryError

# The order of NAIP and of nearly every four-band aerial product.
COMMON_BANDS = ("red", "green", "blue", "nir")
_BY_COLOUR = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_BY_DESCRIPTION = {
    "red": "red",
    "green": "green",
    "blue": "blue",
    "nir": "nir",
    "near infrared": "nir",
    "nearinfrared": "nir",
    "near-infrared": "nir",
    "infrared": "nir",
}


def colour_indexes(dataset: DatasetReader) -> list[int]:
    """The 1-based indexes of a file's bands that are not alpha."""
    pairs = zip(dataset.indexes, dataset.colorinterp, strict=True)
    return [index for index, colour in pairs if colour != ColorInterp.alpha]


def band_names(dataset: DatasetReader, declared: tuple[str, ...] | None) -> tuple[str, ...]:
    """A name for each band that is not alpha: declared, described, by colour, or by custom.

    Raises:
        ImageryError: more names declared than the file has bands.
    """
    indexes = colour_indexes(dataset)
    if declared is not None:
        if len(declared) > len(indexes):
            raise ImageryError(
                f"{dataset.name} has {len(indexes)} bands, but `bands:` of the imagery names "
                f"{len(declared)} ({', '.join(declared)}): name only those it has"
            )
        return declared
    named = [
        _BY_DESCRIPTION.get((dataset.descriptions[i - 1] or "").strip().lower())
        or _BY_COLOUR.get(dataset.colorinterp[i - 1])
        for i in indexes
    ]
    # By custom the fourth band of an aerial image that starts red, green, blue is near infrared.
    if named[:3] in ([None] * 3, list(COMMON_BANDS[:3])) and len(named) in (3, 4):
        named = list(COMMON_BANDS[: len(named)])
    return tuple(name or f"band{index}" for name, index in zip(named, indexes, strict=True))


def capture_date(dataset: DatasetReader) -> str | None:
    """ISO 8601 date, or only the year, from the TIFF's own tag, else from the file's name."""
    tag = dataset.tags().get("TIFFTAG_DATETIME", "")
    if match := re.match(r"(\d{4}):(\d{2}):(\d{2})", tag):
        return "-".join(match.groups())
    stem = Path(dataset.name).stem
    for digits in re.findall(r"(?<!\d)((?:19|20)\d{6})(?!\d)", stem):
        try:
            return datetime.strptime(digits, "%Y%m%d").date().isoformat()  # noqa: DTZ007
        except ValueError:
            continue
    years = re.findall(r"(?<!\d)((?:19|20)\d{2})(?!\d)", stem)
    return years[0] if years else None


def date_span(dates: Iterable[str | None]) -> str | None:
    """One date for pixels of several files: the date, or an ISO 8601 interval "first/last"."""
    known = sorted({date for date in dates if date})
    if not known:
        return None
    return known[0] if len(known) == 1 else f"{known[0]}/{known[-1]}"

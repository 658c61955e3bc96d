"""What can be read off a raster file beside its pixels: which bands it has, and the date."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

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
# A mask is nearly everywhere shut or open; a picture nearly nowhere.
_MASK_SHARE = 0.9
_SAMPLE_PX = 256


def data_indexes(dataset: DatasetReader, declared: tuple[str, ...] | None) -> list[int]:
    """The 1-based indexes of the bands that are pictures, in order.

    Much four-band imagery (NAIP as GDAL writes it, for one) marks its near infrared as alpha,
    and would lose it, and every dark pixel, to the mark. So an alpha band is taken for a mask
    only where it looks like one, and where `declared` names do not count it.
    """
    colour = dict(zip(dataset.indexes, dataset.colorinterp, strict=True))
    plain = [index for index in dataset.indexes if colour[index] != ColorInterp.alpha]
    if len(plain) == dataset.count:
        return plain
    if declared is not None:
        return list(dataset.indexes) if len(declared) > len(plain) else plain
    masks = {i for i in dataset.indexes if i not in plain and _looks_like_a_mask(dataset, i)}
    return [index for index in dataset.indexes if index not in masks]


def mask_index(dataset: DatasetReader, data: list[int]) -> int | None:
    """The 1-based index of the alpha band, unless it is one of the `data` bands."""
    for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if colour == ColorInterp.alpha and index not in data:
            return int(index)
    return None


def _looks_like_a_mask(dataset: DatasetReader, index: int) -> bool:
    """Whether the middle of a band is nearly all 0 or one other value."""
    width, height = min(dataset.width, _SAMPLE_PX), min(dataset.height, _SAMPLE_PX)
    left, top = (dataset.width - width) // 2, (dataset.height - height) // 2
    values, counts = np.unique(
        dataset.read(index, window=Window(left, top, width, height)), return_counts=True
    )
    open_pixels = int(counts[values != 0].max(initial=0))
    shut_pixels = int(counts[values == 0].sum())
    return bool(open_pixels + shut_pixels >= _MASK_SHARE * width * height)


def band_names(
    dataset: DatasetReader, indexes: list[int], declared: tuple[str, ...] | None
) -> tuple[str, ...]:
    """A name for each of the bands `indexes`: declared, described, by colour, or by custom.

    Raises:
        ImageryError: more names declared than the file has bands, or one declared twice.
    """
    if declared is not None:
        if len(declared) > len(indexes) or len(set(declared)) < len(declared):
            raise ImageryError(
                f"{dataset.name} has {len(indexes)} bands, but `bands:` of the imagery is "
                f"{', '.join(declared)}: name those it has, from the first, each once"
            )
        return declared
    named = [
        _BY_DESCRIPTION.get((dataset.descriptions[i - 1] or "").strip().lower())
        or _BY_COLOUR.get(dataset.colorinterp[i - 1])
        for i in indexes
    ]
    # By custom the fourth band of an aerial image that starts red, green, blue is near infrared.
    if named[:3] in ([None] * 3, list(COMMON_BANDS[:3])) and len(named) in (3, 4):
        named = list(default_names(len(named)))
    # A colour that two bands claim is neither's.
    return tuple(
        name if name and named.count(name) == 1 else f"band{index}"
        for name, index in zip(named, indexes, strict=True)
    )


def default_names(count: int) -> tuple[str, ...]:
    """Names by custom for bands of which nothing is known but their number."""
    if count in (3, 4):
        return COMMON_BANDS[:count]
    return tuple(f"band{index}" for index in range(1, count + 1))


def capture_date(dataset: DatasetReader) -> str | None:
    """ISO 8601 date, or only the year, from the file's name, else from the TIFF's own tag.

    The name comes first because the tag is often the day on which the file was written.
    """
    stem = Path(dataset.name).stem
    for digits in re.findall(r"(?<!\d)((?:19|20)\d{6})(?!\d)", stem):
        if day := _past_day(digits):
            return day
    # Beside another number of four digits a year may as well be a tile's column or row.
    fours = set(re.findall(r"(?<!\d)\d{4}(?!\d)", stem))
    year = fours.pop() if len(fours) == 1 else ""
    if year.startswith(("19", "20")) and int(year) <= datetime.now(UTC).year:
        return str(year)
    tag = re.match(r"(\d{4}):(\d{2}):(\d{2})", dataset.tags().get("TIFFTAG_DATETIME", ""))
    return _past_day("".join(tag.groups())) if tag else None


def _past_day(digits: str) -> str | None:
    """YYYYMMDD as an ISO date, or None: no day, or one that has not come yet."""
    try:
        day = date.fromisoformat(digits)
    except ValueError:
        return None
    return day.isoformat() if day <= datetime.now(UTC).date() else None


def date_span(dates: Iterable[str | None]) -> str | None:
    """One date for pixels of several files: the date, or an ISO 8601 interval "first/last"."""
    known = sorted({date for date in dates if date})
    if not known:
        return None
    return known[0] if len(known) == 1 else f"{known[0]}/{known[-1]}"

"""Metadata of a raster file: band names, data and mask bands, and the capture date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.errors import ImageryError

# The band order of NAIP and of nearly every four-band aerial product.
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
# An alpha band is a mask if at least this fraction of a sample is 0 or one other value.
_MASK_SHARE = 0.9
_SAMPLE_PX = 256


def data_indexes(dataset: DatasetReader, declared: tuple[str, ...] | None) -> list[int]:
    """The 1-based indexes of the data bands, in order.

    Much four-band imagery (NAIP written by GDAL, for example) tags near infrared as alpha. Taken
    at its word, it would lose that band and every dark pixel. So an alpha band is a mask only if
    it looks like one and is not among the `declared` names.
    """
    colour = dict(zip(dataset.indexes, dataset.colorinterp, strict=True))
    plain = [index for index in dataset.indexes if colour[index] != ColorInterp.alpha]
    if len(plain) == dataset.count:
        return plain
    if declared is not None:
        return list(dataset.indexes) if len(declared) > len(plain) else plain
    masks = {i for i in dataset.indexes if i not in plain and _looks_like_mask(dataset, i)}
    return [index for index in dataset.indexes if index not in masks]


def mask_index(dataset: DatasetReader, data: list[int]) -> int | None:
    """The 1-based index of the alpha band, unless it is one of the `data` bands."""
    for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if colour == ColorInterp.alpha and index not in data:
            return int(index)
    return None


def _looks_like_mask(dataset: DatasetReader, index: int) -> bool:
    """Whether the centre of a band is nearly all 0 or one other value."""
    width, height = min(dataset.width, _SAMPLE_PX), min(dataset.height, _SAMPLE_PX)
    left, top = (dataset.width - width) // 2, (dataset.height - height) // 2
    values, counts = np.unique(
        dataset.read(index, window=Window(left, top, width, height)), return_counts=True
    )
    opaque_px = int(counts[values != 0].max(initial=0))
    transparent_px = int(counts[values == 0].sum())
    return bool(opaque_px + transparent_px >= _MASK_SHARE * width * height)


def band_names(
    dataset: DatasetReader, indexes: list[int], declared: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The names of the bands `indexes`: declared, else by description, colour tag or convention.

    Raises:
        ImageryError: more declared names than bands, or a duplicate.
    """
    if declared is not None:
        if len(declared) > len(indexes) or len(set(declared)) < len(declared):
            raise ImageryError(
                f"{dataset.name} has {len(indexes)} bands, but `imagery: {{bands: …}}` lists "
                f"{', '.join(declared)}. List the file's bands from the first, each once"
            )
        return declared
    named = [
        _BY_DESCRIPTION.get((dataset.descriptions[i - 1] or "").strip().lower())
        or _BY_COLOUR.get(dataset.colorinterp[i - 1])
        for i in indexes
    ]
    # By convention the fourth band after red, green, blue is near infrared.
    if named[:3] in ([None] * 3, list(COMMON_BANDS[:3])) and len(named) in (3, 4):
        named = list(default_names(len(named)))
    # A name that two bands claim is used for neither.
    return tuple(
        name if name and named.count(name) == 1 else f"band{index}"
        for name, index in zip(named, indexes, strict=True)
    )


def default_names(count: int) -> tuple[str, ...]:
    """Conventional names, given only the number of bands."""
    if count in (3, 4):
        return COMMON_BANDS[:count]
    return tuple(f"band{index}" for index in range(1, count + 1))


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

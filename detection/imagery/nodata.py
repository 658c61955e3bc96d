"""Valid pixels: from declared masks and nodata values, and from undeclared fill.

An entry's `nodata:` decides alone. Else whatever the file's mask, its nodata value or a survey for
undeclared fill (`fill_survey`) hides is hidden.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from scipy import ndimage

from detection.errors import ImageryError
from detection.imagery.bands import mask_index
from detection.imagery.fill import fill_in, is_near_fill, window_of, with_rim
from detection.imagery.fill_colours import FillColour
from detection.imagery.fill_view import is_lossy, is_remote
from detection.imagery.holes import black_holes, flat_holes, may_have_flat_holes
from detection.imagery.masks import has_mask, mask_shown, matches
from detection.imagery.pixel_grid import PixelWindow

# Numbers that no pixel has: floats are filled with the largest of their type, or of another. And
# values below 0 that stand for no data, undeclared, where every band has one of them.
_MAX_VALUE = 1e15
_SENTINELS = (-999.0, -9999.0, -32767.0, -32768.0, -99999.0)
_NEARBY_PX = 64
_CORE_PX = 8
_SAMPLE_PX = 256

# An entry's nodata: a value, or one per band; () for none at all; None where it says nothing.
Nodata = tuple[float, ...] | None


def valid_pixels(
    dataset: DatasetReader,
    indexes: list[int],
    pixels: NDArray[np.generic],
    window: PixelWindow | None = None,
    nodata: Nodata = None,
) -> NDArray[np.bool_]:
    """(height, width) bool for `pixels` (bands, height, width): the bands `indexes` of a window.

    A nodata value hides a pixel only if every band has it. NaN, infinite values and those beyond
    1e15 are never valid.

    Args:
        window: in pixels of the file, inside it; by default all of it.
        nodata: what the entry says, which overrules the file.

    Raises:
        ImageryError: `nodata` has neither one value nor one for each band.
    """
    window = window or PixelWindow(0, 0, dataset.width, dataset.height)
    valid = are_numbers(pixels)
    if nodata is not None:
        return valid & ~_as_entered(dataset, indexes, pixels, window, nodata)
    shown = mask_shown(dataset, indexes, window_of(window))
    if shown is not None:
        valid &= shown
    elif dataset.nodata is not None:
        valid &= ~matches(pixels, (dataset.nodata,))
    else:
        valid &= ~black_holes(dataset, indexes, pixels, window)
    valid &= ~_sentinels(pixels)
    fill = fill_in(dataset, indexes, window)
    if fill is not None:
        valid &= ~fill
    return valid & ~flat_holes(dataset, indexes, pixels, window, valid)


def are_numbers(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """(height, width): pixels (bands, height, width) that are neither NaN nor beyond any value."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return np.ones(pixels.shape[1:], bool)
    return np.asarray(((pixels > -_MAX_VALUE) & (pixels < _MAX_VALUE)).all(axis=0))


def may_be_hidden(
    dataset: DatasetReader,
    overview: DatasetReader,
    indexes: list[int],
    part: PixelWindow,
    nodata: Nodata = None,
) -> bool:
    """Whether anything of a part of an overview, in its pixels, may be hidden.

    A mask is read at full resolution, because GDAL misplaces one that has no overview of its own
    (gdal#2021). Everything else is seen in the overview.
    """
    pixels = overview.read(indexes, window=window_of(part))
    values = nodata if nodata is not None else (dataset.nodata or 0.0,)
    if not are_numbers(pixels).all() or (values and bool(matches(pixels, values).any())):
        return True
    if nodata is not None:
        return False
    step = round(dataset.width / overview.width)
    if _sentinels(pixels).any() or may_have_flat_holes(overview, indexes, pixels, part, step):
        return True
    if _mask_hides_some(dataset, overview, indexes, part):
        return True
    # A remote file is surveyed by its smallest overview, whichever one is read.
    if is_remote(dataset):
        return is_near_fill(dataset, indexes, _in_file(dataset, overview, part))
    return is_near_fill(overview, indexes, part)


def _in_file(dataset: DatasetReader, overview: DatasetReader, part: PixelWindow) -> PixelWindow:
    """A part of an overview in pixels of the file."""
    step = round(dataset.width / overview.width)
    whole = PixelWindow(*(step * value for value in astuple(part)))
    return whole.intersection(PixelWindow(0, 0, dataset.width, dataset.height)) or whole


def _mask_hides_some(
    dataset: DatasetReader, overview: DatasetReader, indexes: list[int], part: PixelWindow
) -> bool:
    alpha = mask_index(dataset, indexes)
    if alpha is not None:
        # Averages of alpha lie between its values: only a constant one hides nothing for sure.
        shown = overview.read(alpha, window=window_of(part))
        return bool(shown.min() == 0 or shown.min() != shown.max())
    mask = mask_shown(dataset, indexes, window_of(_in_file(dataset, overview, part)))
    return mask is not None and not mask.all()


def hidden_by_mask_alone(dataset: DatasetReader, indexes: list[int]) -> bool:
    """Whether the mask hides every pixel although they differ, which a sample decides."""
    shape = (min(dataset.height, _SAMPLE_PX), min(dataset.width, _SAMPLE_PX))
    alpha = mask_index(dataset, indexes)
    if alpha is not None:
        shown = dataset.read(alpha, out_shape=shape)
    elif has_mask(dataset, indexes):
        shown = dataset.read_masks(1, out_shape=shape)
    else:
        return False
    pixels = dataset.read(indexes, out_shape=(len(indexes), *shape))
    return not shown.any() and bool((pixels != pixels[:, :1, :1]).any())


def _sentinels(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that have a value for no data, below 0, in every band."""
    if pixels.dtype.kind not in "if":
        return np.zeros(pixels.shape[1:], bool)
    values = list(_SENTINELS)
    if pixels.dtype.kind == "i":
        values.append(float(np.iinfo(pixels.dtype.name).min))
    found = np.asarray((pixels <= max(_SENTINELS)).all(axis=0))
    if found.any():
        found[found] = np.isin(pixels[:, found], values).all(axis=0)
    return found


def _as_entered(
    dataset: DatasetReader,
    indexes: list[int],
    pixels: NDArray[np.generic],
    window: PixelWindow,
    nodata: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Pixels with the entry's nodata; in a lossy file also the noise around parts of it."""
    if len(nodata) not in (0, 1, len(pixels)):
        raise ImageryError(
            f"`imagery: {{nodata: …}}` has {len(nodata)} values, but {dataset.name} has "
            f"{len(pixels)} bands. Write one value, or one for each band"
        )
    if not nodata:
        return np.zeros(pixels.shape[1:], bool)
    hidden = matches(pixels, nodata)
    if not is_lossy(dataset) or not np.isfinite(nodata).all():
        return hidden
    colour = FillColour(nodata, 2.0, pure=True)
    padded = window.pad(_CORE_PX + _NEARBY_PX).intersection(
        PixelWindow(0, 0, dataset.width, dataset.height)
    )
    if padded is None:
        return hidden
    around = dataset.read(indexes, window=window_of(padded))
    near = matches(around, colour.values, colour.tolerance)
    core = ndimage.binary_opening(near, np.ones((_CORE_PX, _CORE_PX), bool))
    rim = with_rim(around, core, colour) if core.any() else core
    return hidden | rim[window.slices_in(padded)]

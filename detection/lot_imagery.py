"""The imagery of each lot on a mosaic: how much of the lot it covers, and whose pixels they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import MultiPolygon

from detection.footage import captured_span
from detection.mosaic import Mosaic
from detection.results import ChipInfo


@dataclass(frozen=True, slots=True)
class LotImagery:
    """What a lot's own pixels are.

    Attributes:
        coverage_fraction: the fraction of the lot's pixels (by their centres) that are valid, 0..1.
        info: the provenance: `sources`, `captured_on` and `gsd_m` of the lot's own pixels.
    """

    coverage_fraction: float
    info: ChipInfo


def lot_imagery(lots: Sequence[MultiPolygon], mosaic: Mosaic) -> list[LotImagery]:
    """The imagery of lots (in the mosaic's CRS) that lie in the mosaic."""
    one_source = mosaic.footage is None or mosaic.footage.index is None
    if one_source and mosaic.valid.all():
        return [LotImagery(1.0, mosaic.info)] * len(lots)
    infos: dict[tuple[int, ...], ChipInfo] = {}
    found = []
    for lot in lots:
        inside, part = _pixels_inside(lot, mosaic)
        valid = mosaic.valid[part]
        fraction = float(valid[inside].mean()) if inside.any() else 0.0
        used = () if mosaic.footage is None else mosaic.footage.used(inside & valid, part)
        if used not in infos:
            infos[used] = _info_of_sources(mosaic, used)
        found.append(LotImagery(fraction, infos[used]))
    return found


def _pixels_inside(
    lot: MultiPolygon, mosaic: Mosaic
) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """A lot's pixels in its window, and the window's rows and columns in the mosaic."""
    window = mosaic.grid.window_from_bounds(lot.bounds)
    row, column = window.row - mosaic.window.row, window.column - mosaic.window.column
    part = (slice(row, row + window.height), slice(column, column + window.width))
    shape = mosaic.valid[part].shape
    transform = mosaic.grid.transform(window)
    inside = geometry_mask([lot], shape, transform, invert=True)
    if not inside.any():  # smaller than a pixel: use the pixels that it touches
        inside = geometry_mask([lot], shape, transform, all_touched=True, invert=True)
    return inside, part


def _info_of_sources(mosaic: Mosaic, used: tuple[int, ...]) -> ChipInfo:
    """The provenance of a lot whose pixels come from some of the mosaic's sources."""
    if mosaic.footage is None or not used:
        return mosaic.info
    images = [mosaic.footage.images[position] for position in used]
    sha256 = mosaic.info.sha256
    if len(images) < len(mosaic.footage.images):
        # Two lots of one chip may have different sources, and are stored with a hash each.
        sha256 = hashlib.sha256(f"{sha256} {used}".encode()).hexdigest()
    return replace(
        mosaic.info,
        sha256=sha256,
        sources=tuple(dict.fromkeys(image.path for image in images)),
        captured_on=captured_span(images),
        gsd_m=max(image.gsd_m for image in images),
    )

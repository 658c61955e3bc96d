"""A mosaic: the area of one chip, or of several overlapping ones, that lots are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detection.chip import Chip
from detection.dates import date_span
from detection.footage import Footage, join_footage
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.results import ChipInfo


@dataclass(frozen=True, eq=False)
class Mosaic:
    """What is kept of the chips after inference: position, valid pixels and provenance.

    Attributes:
        grid, window: its position on the imagery's pixel grid.
        valid: (height, width) bool; False where no chip has a usable pixel.
        info: the provenance of the whole mosaic; `lot_imagery` derives that of a lot.
        failed_sources: files that cover a part of it but could not be read.
        footage: which source each valid pixel comes from; None where only `info` is known.
    """

    grid: PixelGrid
    window: PixelWindow
    valid: NDArray[np.bool_]
    info: ChipInfo
    failed_sources: tuple[str, ...] = ()
    footage: Footage | None = None

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) -> CRS (x, y) of the pixel's upper left corner."""
        return self.grid.transform(self.window)


def mosaic_of(chip: Chip, grid: PixelGrid, window: PixelWindow) -> Mosaic:
    """The mosaic of one chip at this window of the grid."""
    footage = chip.footage
    info = ChipInfo(
        sha256=chip.sha256,
        sources=chip.sources,
        captured_on=chip.captured_on,
        crs=chip.crs.to_string(),
        gsd_m=footage.gsd_m if footage else chip.gsd_m,
        bands=chip.bands,
        bounds=chip.bounds,
        chip_gsd_m=chip.gsd_m,
    )
    return Mosaic(grid, window, chip.valid, info, chip.failed_sources, footage)


def join_mosaics(
    mosaics: Sequence[Mosaic], window: PixelWindow, failed_sources: Sequence[str] = ()
) -> Mosaic:
    """Join mosaics of one grid into one on `window`; pixels that none of them covers are invalid.

    Its hash is the hash of their hashes, its sources are all of theirs, its date spans theirs, and
    its `gsd_m` is the coarsest.

    Args:
        failed_sources: further files that could not be read.
    """
    first = mosaics[0]
    valid = np.zeros((window.height, window.width), bool)
    for mosaic in mosaics:
        valid[mosaic.window.slices_in(window)] |= mosaic.valid
    footage = join_footage(
        ((each.footage, each.valid, each.window.slices_in(window)) for each in mosaics),
        valid.shape,
    )
    infos = [mosaic.info for mosaic in mosaics]
    dates = [date for info in infos for date in (info.captured_on or "").split("/")]
    failed = [source for mosaic in mosaics for source in mosaic.failed_sources]
    info = ChipInfo(
        sha256=hashlib.sha256(" ".join(info.sha256 for info in infos).encode()).hexdigest(),
        sources=tuple(dict.fromkeys(source for info in infos for source in info.sources)),
        captured_on=date_span(dates),
        crs=first.info.crs,
        gsd_m=max(info.gsd_m for info in infos),
        bands=first.info.bands,
        bounds=first.grid.bounds(window),
        chip_gsd_m=first.info.chip_gsd_m,
    )
    failed = list(dict.fromkeys([*failed, *failed_sources]))
    return Mosaic(first.grid, window, valid, info, tuple(failed), footage)

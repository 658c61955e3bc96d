"""The plan: which lots share which chips.

A fixed grid of cells lies over each grid. A chip is a cell with a margin round it, so that
neighbours share one look of the segmenter, and chips side by side overlap by two margins. A
lot's chips depend on where the lot is, and not on which other lots are asked for in the same
breath.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import shapely

from detection.clip import LotLines
from detection.errors import ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, union
from detection.results import LotStatus
from parcels.boundary import Boundary

log = logging.getLogger(__name__)

# A chip's margin is this share of its side. A side is a whole number of margins, and so is a
# mask's (288 cells, say): then the masks of overlapping chips lie cell on cell.
OVERLAP_SHARES = 16
# What a lot must have round it, so that an object on its line is seen from both sides.
CONTEXT_BUFFER_M = 5.0
# A lot that needs more is refused with a reason: all of them are in memory together.
MAX_CHIPS = 64
# Imagery up to this much coarser than what a segmenter is to see is enlarged without a word.
_MAX_ENLARGED = 4.0


# Where a chip is: the grid whose pixels it has, and its window there.
ChipKey = tuple[PixelGrid, PixelWindow]


@dataclass(frozen=True, slots=True)
class ChipPlan:
    """Windows to read and segment, and the indexes of the boundaries that they serve together.

    Attributes:
        windows: one, or overlapping ones side by side where no chip holds a lot.
        needed: the lots with `CONTEXT_BUFFER_M` round them; no more need be looked at.
    """

    grid: PixelGrid
    windows: tuple[PixelWindow, ...]
    lots: tuple[int, ...]
    needed: PixelWindow

    @property
    def chip_keys(self) -> list[ChipKey]:
        """Of its chips."""
        return [(self.grid, window) for window in self.windows]


@dataclass(frozen=True, slots=True)
class PlanFailure:
    """Why a boundary has no chip, as `LotResult` says it."""

    status: LotStatus
    reason: str
    detail: str


def plan_chips(
    boundaries: Sequence[Boundary],
    imagery: ImagerySource,
    chip_px: int,
    gsd_m: float | None = None,
    lines: LotLines | None = None,
) -> tuple[list[ChipPlan], dict[int, PlanFailure]]:
    """Chips for boundaries, and the boundaries (by index) that can have none.

    A server that does not answer for one boundary is not asked again for the others.

    Args:
        chip_px: the side of a chip in pixels of `gsd_m`.
        gsd_m: the ground sample distance that is to be seen; None for the imagery's own. Imagery
            at least twice as fine is read coarser; coarser imagery stays as it is, and has
            chips of fewer pixels.
        lines: how far the boundaries must be moved to lie on the imagery.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    grids, unplanned = _by_grid(boundaries, imagery)
    shared: dict[tuple[PixelGrid, tuple[PixelWindow, ...]], list[tuple[int, PixelWindow]]]
    shared = defaultdict(list)
    for native, indexes in grids.items():
        grid = _chip_grid(native, gsd_m)
        side_px = _chip_side_px(grid, chip_px, gsd_m)
        mine = [boundaries[index] for index in indexes]
        needed = _needed_windows(mine, grid, lines or LotLines())
        for index, window in zip(indexes, needed, strict=True):
            windows = chip_windows(window, side_px) if window else ()
            if window and windows:
                shared[grid, windows].append((index, window))
            else:
                unplanned[index] = _too_large(grid, side_px)
    plans = [
        ChipPlan(grid, windows, tuple(i for i, _ in lots), union(w for _, w in lots))
        for (grid, windows), lots in shared.items()
    ]
    return plans, unplanned


def _by_grid(
    boundaries: Sequence[Boundary], imagery: ImagerySource
) -> tuple[dict[PixelGrid, list[int]], dict[int, PlanFailure]]:
    """The boundaries (by index) of each of the imagery's own grids, and those of none."""
    grids: dict[PixelGrid, list[int]] = defaultdict(list)
    unplanned: dict[int, PlanFailure] = {}
    unavailable: PlanFailure | None = None
    for index, boundary in enumerate(boundaries):
        if unavailable:
            unplanned[index] = unavailable
            continue
        try:
            grids[imagery.grid_for(boundary.geometry)].append(index)
        except NoImagery as error:
            unplanned[index] = PlanFailure("no_imagery", error.reason, str(error))
        except ImageryUnavailable as error:
            unavailable = PlanFailure("unavailable", "imagery", str(error))
            unplanned[index] = unavailable
    return grids, unplanned


def _chip_grid(grid: PixelGrid, gsd_m: float | None) -> PixelGrid:
    """The grid that chips are cut from: the imagery's own, or one a whole number coarser."""
    if gsd_m is None:
        return grid
    if grid.gsd_m > _MAX_ENLARGED * gsd_m:
        _warn_coarse(round(grid.gsd_m, 3), gsd_m)
    return grid.zoom_out(grid.coarsening_factor(gsd_m))


@cache
def _warn_coarse(gsd_m: float, wanted_m: float) -> None:
    """Once for each grid, not for each lot."""
    log.warning(
        "the imagery has %g m a pixel, but the segmenter is to see %g m: small things will be "
        "missed and outlines rough; use finer imagery for this county", gsd_m, wanted_m,
    )  # fmt: skip


def _chip_side_px(grid: PixelGrid, chip_px: int, gsd_m: float | None) -> int:
    """The side of a chip in the grid's pixels, a multiple of 16."""
    side = chip_px if gsd_m is None else chip_px * gsd_m / grid.gsd_m
    return OVERLAP_SHARES * max(1, round(side / OVERLAP_SHARES))


def _needed_windows(
    boundaries: Sequence[Boundary], grid: PixelGrid, lines: LotLines
) -> list[PixelWindow | None]:
    """The windows of lots with their context, or None where the projection does not reach."""
    lonlat = np.array([boundary.geometry for boundary in boundaries], dtype=object)
    lots = lines.align_to_imagery(boundaries, grid.from_lonlat(lonlat), grid.unit_m)
    context_px = math.ceil(CONTEXT_BUFFER_M / grid.gsd_m)
    return [
        grid.window_from_bounds(tuple(lot)).pad(context_px) if np.isfinite(lot).all() else None
        for lot in shapely.bounds(lots)
    ]


def chip_windows(needed: PixelWindow, side_px: int) -> tuple[PixelWindow, ...]:
    """The chips for what a lot needs: its middle's, or all that it meets; none beyond MAX_CHIPS."""
    margin = side_px // OVERLAP_SHARES
    cell = side_px - 2 * margin

    def chip(column: int, row: int) -> PixelWindow:
        return PixelWindow(column * cell - margin, row * cell - margin, side_px, side_px)

    middle = chip(
        (needed.column + needed.width // 2) // cell, (needed.row + needed.height // 2) // cell
    )
    if middle.contains(needed):
        return (middle,)
    # Margins lie round all of them together, so that these cells need not hold them.
    columns = _cells(needed.column + margin, needed.column + needed.width - margin, cell)
    rows = _cells(needed.row + margin, needed.row + needed.height - margin, cell)
    if len(columns) * len(rows) > MAX_CHIPS:
        return ()
    return tuple(chip(column, row) for row in rows for column in columns)


def _cells(first_px: int, end_px: int, cell: int) -> range:
    """The cells between two pixels; that of their middle where they have passed one another."""
    if end_px <= first_px:
        first_px = (first_px + end_px) // 2
        end_px = first_px + 1
    return range(first_px // cell, (end_px - 1) // cell + 1)


def _too_large(grid: PixelGrid, side_px: int) -> PlanFailure:
    return PlanFailure(
        "failed",
        "too_large",
        f"the boundary needs more than {MAX_CHIPS} chips of {side_px * grid.gsd_m:,.0f} m "
        f"({side_px} px at {grid.gsd_m:g} m), which is more than fit into memory together: split "
        "it, or show the segmenter coarser pictures (`chip_gsd_m` of the county's imagery)",
    )

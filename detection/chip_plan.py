"""The chip plan: which lots share which chips.

Each pixel grid is divided into fixed cells. A chip is a cell plus an overlap (halo) on all sides,
so neighbouring chips overlap by twice that width, and neighbouring lots share one inference. A
lot's chips depend only on where the lot is, never on which other lots are requested with it.
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
from parcels.boundary import Boundary, NoBoundary

log = logging.getLogger(__name__)

# A chip's overlap is its side divided by this. The sides of chips and masks (288 cells, say) are
# multiples of it, so that the cells of overlapping masks coincide.
OVERLAP_SHARES = 16
# The context buffer around a lot, so that an object on its line is visible on both sides.
CONTEXT_BUFFER_M = 5.0
# A lot that needs more chips fails: they are all in memory together.
MAX_CHIPS = 64
# A block of a whole image has at most this many cells a side, and about this many pixels: it is
# in memory with all chips that reach into it.
BLOCK_CELLS = 4
_BLOCK_PX = 2048
# Imagery up to this many times coarser than the segmenter's resolution is upsampled unwarned.
_MAX_UPSAMPLING = 4.0


# Identifies a chip: its pixel grid, and its window in it.
ChipKey = tuple[PixelGrid, PixelWindow]


@dataclass(frozen=True, slots=True)
class ChipPlan:
    """Windows to read and segment, and the indexes of the boundaries that share them.

    Attributes:
        windows: one, or adjacent overlapping ones where a lot does not fit into one chip.
        needed: the extent of the lots with `CONTEXT_BUFFER_M` around them.
    """

    grid: PixelGrid
    windows: tuple[PixelWindow, ...]
    lots: tuple[int, ...]
    needed: PixelWindow

    @property
    def chip_keys(self) -> list[ChipKey]:
        """The key of each chip."""
        return [(self.grid, window) for window in self.windows]


@dataclass(frozen=True, slots=True)
class PlanFailure:
    """Why a boundary has no chips, in the fields of its `LotResult`."""

    status: LotStatus
    reason: str
    detail: str


def plan_chips(
    boundaries: Sequence[Boundary | NoBoundary],
    imagery: ImagerySource,
    chip_px: int,
    gsd_m: float | None = None,
    lines: LotLines | None = None,
) -> tuple[list[ChipPlan], dict[int, PlanFailure]]:
    """Plan the chips of boundaries; boundaries that can have none are returned by index.

    When the imagery server is unavailable for one boundary, the rest are not requested.

    Args:
        chip_px: the side of a chip in pixels of `gsd_m`.
        gsd_m: the ground sample distance for the segmenter; None for the imagery's own. Imagery
            at least twice as fine is downsampled; coarser imagery is not resampled, and has
            chips of fewer pixels.
        lines: the offset that aligns the boundaries with the imagery.

    Raises:
        ImageryError: the imagery is configured wrongly.
    """
    by_grid, failures = _by_grid(boundaries, imagery)
    lots_by_windows: dict[
        tuple[PixelGrid, tuple[PixelWindow, ...]], list[tuple[int, PixelWindow]]
    ] = defaultdict(list)
    for native_grid, indexes in by_grid.items():
        grid = _chip_grid(native_grid, gsd_m)
        side_px = _chip_side_px(grid, chip_px, gsd_m)
        on_grid = [each for index in indexes if isinstance(each := boundaries[index], Boundary)]
        needed_windows = _needed_windows(on_grid, grid, lines or LotLines())
        for index, needed in zip(indexes, needed_windows, strict=True):
            windows = chip_windows(needed, side_px) if needed else ()
            if needed and windows:
                lots_by_windows[grid, windows].append((index, needed))
            else:
                failures[index] = _too_large(grid, side_px)
    plans = [
        ChipPlan(grid, windows, tuple(i for i, _ in lots), union(w for _, w in lots))
        for (grid, windows), lots in lots_by_windows.items()
    ]
    return plans, failures


def plan_area(
    native_grid: PixelGrid, area: PixelWindow, chip_px: int, gsd_m: float | None = None
) -> list[ChipPlan]:
    """The chips of a whole image, in blocks of up to `BLOCK_CELLS` cells a side that tile the area.

    Each block is a plan with its number as its only lot, and `needed` is the block: the windows
    are all chips that reach into it, so that adjacent blocks agree along their common edge.

    Args:
        area: of the image, on its own grid.
        chip_px, gsd_m: as `plan_chips`.
    """
    grid = _chip_grid(native_grid, gsd_m)
    # Exact: both grids have the same origin.
    area = area.zoom_out(round(grid.pixel_size / native_grid.pixel_size))
    side_px = _chip_side_px(grid, chip_px, gsd_m)
    windows = chip_windows(area, side_px)
    if len(windows) == 1:
        return [ChipPlan(grid, windows, (0,), area)]
    overlap = side_px // OVERLAP_SHARES
    cell = side_px - 2 * overlap
    block_cells = min(BLOCK_CELLS, max(1, _BLOCK_PX // cell))

    def blocks(first_px: int, end_px: int) -> list[tuple[range, int, int]]:
        """(cells of the chips, first pixel, end) of each block along one axis."""
        cells = _cells(first_px + overlap, end_px - overlap, cell)
        starts = range(cells.start, cells.stop, block_cells)
        edges = [first_px, *(start * cell for start in starts[1:]), end_px]
        return [
            (
                range(max(cells.start, start - 1), min(cells.stop, start + block_cells + 1)),
                edges[number],
                edges[number + 1],
            )
            for number, start in enumerate(starts)
        ]

    plans: list[ChipPlan] = []
    for rows, top, bottom in blocks(area.row, area.row + area.height):
        for columns, left, right in blocks(area.column, area.column + area.width):
            windows = tuple(
                PixelWindow(column * cell - overlap, row * cell - overlap, side_px, side_px)
                for row in rows
                for column in columns
            )
            needed = PixelWindow(left, top, right - left, bottom - top)
            plans.append(ChipPlan(grid, windows, (len(plans),), needed))
    return plans


def _by_grid(
    boundaries: Sequence[Boundary | NoBoundary], imagery: ImagerySource
) -> tuple[dict[PixelGrid, list[int]], dict[int, PlanFailure]]:
    """The boundaries (by index) on each native grid of the imagery, and those without imagery."""
    by_grid: dict[PixelGrid, list[int]] = defaultdict(list)
    failures: dict[int, PlanFailure] = {}
    unavailable: PlanFailure | None = None
    for index, boundary in enumerate(boundaries):
        if isinstance(boundary, NoBoundary):
            failures[index] = PlanFailure("no_boundary", boundary.reason, boundary.detail)
            continue
        if unavailable:
            failures[index] = unavailable
            continue
        try:
            by_grid[imagery.grid_for(boundary.geometry)].append(index)
        except NoImagery as error:
            failures[index] = PlanFailure("no_imagery", error.reason, str(error))
        except ImageryUnavailable as error:
            unavailable = PlanFailure("unavailable", "imagery", str(error))
            failures[index] = unavailable
    return by_grid, failures


def _chip_grid(grid: PixelGrid, gsd_m: float | None) -> PixelGrid:
    """The grid of the chips: the imagery's own, or one coarser by an integer factor."""
    if gsd_m is None:
        return grid
    if grid.gsd_m > _MAX_UPSAMPLING * gsd_m:
        _warn_coarse(round(grid.gsd_m, 3), gsd_m)
    return grid.zoom_out(grid.coarsening_factor(gsd_m))


@cache
def _warn_coarse(gsd_m: float, wanted_m: float) -> None:
    """Warn once for each resolution, not for each lot."""
    log.warning(
        "the imagery has %g m per pixel, but the segmenter works at %g m: small objects will be "
        "missed and outlines will be rough. Use finer imagery", gsd_m, wanted_m,
    )  # fmt: skip


def _chip_side_px(grid: PixelGrid, chip_px: int, gsd_m: float | None) -> int:
    """The side of a chip in pixels of the grid, a multiple of `OVERLAP_SHARES`."""
    side = chip_px if gsd_m is None else chip_px * gsd_m / grid.gsd_m
    return OVERLAP_SHARES * max(1, round(side / OVERLAP_SHARES))


def _needed_windows(
    boundaries: Sequence[Boundary], grid: PixelGrid, lines: LotLines
) -> list[PixelWindow | None]:
    """The window of each lot with its context buffer; None outside the projection's domain."""
    lonlat = np.array([boundary.geometry for boundary in boundaries], dtype=object)
    lots = lines.align_to_imagery(boundaries, grid.from_lonlat(lonlat), grid.unit_m)
    context_px = math.ceil(CONTEXT_BUFFER_M / grid.gsd_m)
    return [
        grid.window_from_bounds(tuple(lot)).pad(context_px) if np.isfinite(lot).all() else None
        for lot in shapely.bounds(lots)
    ]


def chip_windows(needed: PixelWindow, side_px: int) -> tuple[PixelWindow, ...]:
    """The chips that cover a window: the one at its centre if that is enough, else all it meets.

    Empty if it needs more than `MAX_CHIPS`.
    """
    overlap = side_px // OVERLAP_SHARES
    cell = side_px - 2 * overlap

    def chip(column: int, row: int) -> PixelWindow:
        return PixelWindow(column * cell - overlap, row * cell - overlap, side_px, side_px)

    centre = chip(
        (needed.column + needed.width // 2) // cell, (needed.row + needed.height // 2) // cell
    )
    if centre.contains(needed):
        return (centre,)
    # The outer chips' overlap covers the rim, so the cells need not.
    columns = _cells(needed.column + overlap, needed.column + needed.width - overlap, cell)
    rows = _cells(needed.row + overlap, needed.row + needed.height - overlap, cell)
    if len(columns) * len(rows) > MAX_CHIPS:
        return ()
    return tuple(chip(column, row) for row in rows for column in columns)


def _cells(first_px: int, end_px: int, cell: int) -> range:
    """The cells in first_px..end_px; the cell of their midpoint where that range is empty."""
    if end_px <= first_px:
        first_px = (first_px + end_px) // 2
        end_px = first_px + 1
    return range(first_px // cell, (end_px - 1) // cell + 1)


def _too_large(grid: PixelGrid, side_px: int) -> PlanFailure:
    return PlanFailure(
        "failed",
        "too_large",
        f"the boundary needs more than {MAX_CHIPS} chips of {side_px * grid.gsd_m:,.0f} m "
        f"({side_px} px at {grid.gsd_m:g} m), the limit for memory. Split it, or use a coarser "
        "`chip_gsd_m` in the county's `imagery:`",
    )

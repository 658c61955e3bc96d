"""The plan: which lots share which chip.

A fixed grid of cells lies over each frame. A chip is a cell with a margin round it, so that
neighbours share one look of the segmenter, and a lot's chip depends on where the lot is and
not on which other lots are asked for in the same breath.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from detection.errors import ImageryUnavailable, NoImagery
from detection.imagery.frame import Frame, PixelWindow
from detection.imagery.protocol import Imagery
from detection.results import Status
from parcels.boundary import Boundary

# A chip's side is SAM3's input size, so that the one plan serves every segmenter.
CHIP_PX = 1008
MARGIN_PX = 168
CELL_PX = CHIP_PX - 2 * MARGIN_PX
# What a lot must have round it, so that an object on its line is seen from both sides.
CONTEXT_M = 5.0
CONTEXT_PX = 16
# A lot beyond this is refused with a reason: its chip would not fit into memory in one piece.
MAX_SIDE_PX = 6000


@dataclass(frozen=True, slots=True)
class ChipPlan:
    """Windows to read and segment, and the indexes of the boundaries that they serve together.

    There is one window, or overlapping ones side by side where no chip holds a lot.
    """

    frame: Frame
    windows: tuple[PixelWindow, ...]
    lots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Why a boundary has no chip, as `LotResult` says it."""

    status: Status
    reason: str
    detail: str


def plan_chips(
    boundaries: Sequence[Boundary], imagery: Imagery
) -> tuple[list[ChipPlan], dict[int, Unplanned]]:
    """Chips for boundaries, and the boundaries (by index) that can have none.

    A server that does not answer for one boundary is not asked again for the others.

    Raises:
        ImageryError: imagery that is configured wrongly.
    """
    shared: dict[tuple[Frame, PixelWindow], list[int]] = {}
    unplanned: dict[int, Unplanned] = {}
    unavailable: Unplanned | None = None
    for index, boundary in enumerate(boundaries):
        if unavailable:
            unplanned[index] = unavailable
            continue
        try:
            frame = imagery.frame_for(boundary.geometry)
        except NoImagery as error:
            unplanned[index] = Unplanned("no_imagery", error.reason, str(error))
            continue
        except ImageryUnavailable as error:
            unavailable = Unplanned("unavailable", "imagery", str(error))
            unplanned[index] = unavailable
            continue
        window = _window_for(boundary, frame)
        if window is None:
            side_m = MAX_SIDE_PX * frame.gsd_m
            unplanned[index] = Unplanned(
                "failed",
                "too_large",
                f"the boundary is larger than {side_m:,.0f} m across ({MAX_SIDE_PX} px at "
                f"{frame.gsd_m:g} m), which is more than one chip holds; split it, or use "
                "coarser imagery for this county",
            )
            continue
        shared.setdefault((frame, window), []).append(index)
    plans = [ChipPlan(frame, (window,), tuple(lots)) for (frame, window), lots in shared.items()]
    return plans, unplanned


def _window_for(boundary: Boundary, frame: Frame) -> PixelWindow | None:
    """The chip's window for a boundary, or None where it is too large for one."""
    bounds = frame.from_lonlat(boundary.geometry).bounds
    if not all(map(math.isfinite, bounds)):  # it reaches beyond where the projection goes
        return None
    window = chip_window(frame.window_over(bounds))
    return None if max(window.width, window.height) > MAX_SIDE_PX else window


def chip_window(lot: PixelWindow) -> PixelWindow:
    """The chip for a lot's window: its cell's, or one of its own where that is too small."""
    needed = lot.grown(CONTEXT_PX)
    column = (lot.column + lot.width // 2) // CELL_PX
    row = (lot.row + lot.height // 2) // CELL_PX
    cell = PixelWindow(column * CELL_PX, row * CELL_PX, CELL_PX, CELL_PX).grown(MARGIN_PX)
    return cell if cell.holds(needed) else lot.grown(MARGIN_PX)

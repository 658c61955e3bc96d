"""Finds fill in a file: parts of one colour at its edge, where nothing was flown.

The file is divided into cells. A cell is solid if it has the colour everywhere, or all along the
edge of the file. Connected solid cells are fill if they reach far along the edge and end abruptly:
a white roof at the edge is too short, snow and water end gradually.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from scipy import ndimage

from detection.imagery.fill_cells import SOFT_TOLERANCE, FillCells, count_cells
from detection.imagery.fill_colours import FillColour, edge_colours
from detection.imagery.fill_view import FillView, fill_view
from detection.imagery.masks import matches

# How far JPEG's noise reaches from fill: a block of 8 x 8, with subsampled colour 16 x 16.
RIM_PX = 16
_MIN_PIXELS = 64
# How far fill reaches along the edge, as a share of the file's shorter side: with a corner, and
# without; and for colours that real surfaces have, as a share of the whole edge.
_MIN_CONTACT_PX, _MIN_CONTACT, _MIN_CONTACT_INSIDE, _MIN_CONTACT_PLAIN = 48, 0.1, 0.25, 0.25
_MIN_CONTACT_ZERO_PX = 8
_MIN_BLANK_PIXELS = 256 * 256
_WHOLE_SIDE = 0.95
_SAMPLED_CELLS = 48
_SQUARE = np.ones((3, 3), bool)
_SOFT_SHARE, _GRADUAL_SHARE, _FLAT_SHARE = 0.3, 0.5, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """The fill of one colour in a file.

    Attributes:
        solid: (rows, columns) bool of cells that have the colour everywhere, or all along the
            edge of the file.
        nearby: those, and the cells around them.
        cell_px: the side of a cell in the file's pixels.
        soft: it has a rim of pixels near its colour, as JPEG makes it.
        share: fraction of the file's pixels.
    """

    colour: FillColour
    solid: NDArray[np.bool_]
    nearby: NDArray[np.bool_]
    cell_px: int
    soft: bool
    share: float


def find_fill(dataset: DatasetReader, indexes: list[int]) -> tuple[Fill, ...]:
    """The undeclared fill of a file, by colour.

    Most files have none, and only their edges are read. Damaged parts count as not filled.
    """
    with fill_view(dataset, indexes) as view:
        if view is None:
            return ()
        colours = edge_colours(view.edges(), view.lossy)
        if not colours:
            return ()
        found = (_fill_of(view, cells) for cells in count_cells(view, colours))
        return tuple(fill for fill in found if fill)


def _fill_of(view: FillView, cells: FillCells) -> Fill | None:
    colour, solid = cells.colour, _connected(view, cells)
    if not solid.any():
        return None
    share = float(cells.counts[solid].sum() / cells.sizes.sum())
    if _is_blank(view, cells):
        soft = colour.pure and (view.lossy or colour.is_noisy)
        return Fill(colour, solid, solid, cells.side_px * view.step, soft, share)
    around = _Around.sample(view, cells, solid)
    if not (colour.is_zero or around.is_abrupt or _spans_a_side(cells)):
        return None
    if not (colour.pure or (around.is_textured and _is_convex(~solid))):
        return None
    noisy = view.lossy or colour.is_noisy or (view.step == 1 and around.is_soft)
    soft = colour.pure and noisy
    nearby = ndimage.binary_dilation(solid, _SQUARE)
    return Fill(colour, solid, nearby, cells.side_px * view.step, soft, share)


def _connected(view: FillView, cells: FillCells) -> NDArray[np.bool_]:
    """The solid cells of the parts that reach far enough along the edge of the file."""
    colour, solid = cells.colour, cells.full
    lines = zip(_edge_cells(solid), cells.noisy_sides, strict=True)
    starts = [np.arange(0, len(side), cells.side_px) for side in cells.sides]
    for (edge, side), at in zip(lines, starts, strict=True):
        lengths = np.diff(np.append(at, len(side)))
        line = np.add.reduceat(side, at, dtype=np.int64) >= cells.line_share * lengths
        np.logical_or(edge, line, out=edge)
    parts, number = ndimage.label(solid)
    if not number:
        return np.zeros_like(solid)
    areas: NDArray[np.float64] = (
        ndimage.sum_labels(cells.counts, parts, range(number + 1)) * view.step**2
    )
    contact: NDArray[np.float64] = np.zeros(number + 1)
    for edge, side, at in zip(_edge_cells(parts), cells.sides, starts, strict=True):
        pixels = np.add.reduceat(side, at, dtype=np.int64) * view.step
        contact += np.bincount(edge, pixels, number + 1)
    corners = np.bincount(parts[[0, 0, -1, -1], [0, -1, 0, -1]], minlength=number + 1)
    width, height = view.width * view.step, view.height * view.step
    if colour.is_zero:
        enough = contact >= _MIN_CONTACT_ZERO_PX
    elif colour.pure:
        shorter = min(width, height)
        least = max(_MIN_CONTACT * shorter, min(_MIN_CONTACT_PX, shorter / 2))
        at_corner = (corners > 0) & (contact >= least)
        enough = at_corner | (contact >= max(_MIN_PIXELS, _MIN_CONTACT_INSIDE * shorter))
    else:
        enough = (corners > 1) & (contact >= _MIN_CONTACT_PLAIN * 2 * (width + height))
    enough &= areas >= _MIN_PIXELS
    for edge, side in zip(_edge_cells(parts), cells.noisy_sides, strict=True):
        if colour.pure and side.mean() >= _WHOLE_SIDE:  # a collar as thin as its noise
            enough[edge] = True
    enough[0] = False
    return np.asarray(enough[parts])


def _is_blank(view: FillView, cells: FillCells) -> bool:
    """Whether all of a file has the colour: any one, because ground has noise."""
    pixels = int(cells.sizes.sum()) * view.step**2
    return pixels >= _MIN_BLANK_PIXELS and bool(cells.full.all())


def _is_convex(cells: NDArray[np.bool_]) -> bool:
    """Whether imagery has straight outer edges; those of lakes and roofs are none."""
    hull = shapely.MultiPoint(np.argwhere(cells)).convex_hull
    # Of a digitally convex set the area between its centres is less than its number (Pick).
    return bool(hull.area <= np.count_nonzero(cells))


def _spans_a_side(cells: FillCells) -> bool:
    """Whether the colour covers a side of the file from end to end."""
    return any(side.mean() >= _WHOLE_SIDE for side in cells.sides)


def _edge_cells(cells: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
    """Views of the outer cells: top, bottom, left, right."""
    return cells[0], cells[-1], cells[:, 0], cells[:, -1]


@dataclass(frozen=True, slots=True)
class _Around:
    """What lies around fill, from a sample of the cells where it ends.

    Attributes:
        is_soft: its neighbours are near its colour: noise of JPEG.
        is_abrupt: past that noise the picture has other colours; around snow or water it does not.
        is_textured: past it few neighbours are equal, as in photographs.
    """

    is_soft: bool
    is_abrupt: bool
    is_textured: bool

    @classmethod
    def sample(cls, view: FillView, cells: FillCells, solid: NDArray[np.bool_]) -> _Around:
        colour = cells.colour
        rim, reach = -(-RIM_PX // view.step), -(-2 * RIM_PX // view.step)
        totals = np.zeros(6, np.int64)
        for pixels in _where_it_ends(view, solid, cells.side_px, reach):
            near = matches(pixels, colour.values, colour.tolerance)
            if not near.any():
                continue
            distance = ndimage.distance_transform_cdt(~near, "chessboard")
            wide = matches(pixels, colour.values, SOFT_TOLERANCE if colour.pure else 8.0)
            beside, past = distance == 1, (distance > rim) & (distance <= reach)
            equal = (pixels[:, :, 1:] == pixels[:, :, :-1]).all(axis=0)
            other = ~near[:, 1:] & ~near[:, :-1]
            totals += [
                np.count_nonzero(beside & wide), np.count_nonzero(beside),
                np.count_nonzero(past & wide), np.count_nonzero(past),
                np.count_nonzero(equal & other), np.count_nonzero(other),
            ]  # fmt: skip
        n_soft, n_beside, n_gradual, n_past, n_flat, n_other = (int(n) for n in totals)
        soft_share = n_soft / max(n_beside, 1)
        return cls(
            soft_share >= _SOFT_SHARE and n_past > 0 and n_gradual <= soft_share / 2 * n_past,
            n_gradual <= _GRADUAL_SHARE * n_past,
            n_other > 0 and n_flat <= _FLAT_SHARE * n_other,
        )


def _where_it_ends(
    view: FillView, solid: NDArray[np.bool_], side_px: int, reach: int
) -> Iterator[NDArray[np.generic]]:
    """Pixels around cells beside the solid ones, spread over the file."""
    cells = np.argwhere(ndimage.binary_dilation(solid, _SQUARE) & ~solid)
    chosen = np.linspace(0, len(cells) - 1, min(len(cells), _SAMPLED_CELLS)).round().astype(int)
    for row, column in cells[chosen]:
        top, left = max(0, row * side_px - reach), max(0, column * side_px - reach)
        bottom = min(view.height, (row + 1) * side_px + reach)
        right = min(view.width, (column + 1) * side_px + reach)
        with suppress(RasterioError):
            yield view.read(int(top), int(left), int(bottom - top), int(right - left))[0]

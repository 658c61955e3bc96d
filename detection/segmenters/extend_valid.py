"""Continues an image beyond its valid pixels, so that a network sees no border there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def source_pixels(valid: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of each pixel the (rows, columns) of the valid pixel that stands for it: its own if valid.

    An invalid pixel is mirrored at the nearest valid one; where its mirror image is not valid
    either, it is the nearest one itself. So textures continue across the edge of the imagery,
    where a uniform fill would look like a straight road or wall.

    Args:
        valid: (height, width), at least one True.
    """
    nearest = ndimage.distance_transform_edt(
        ~valid, return_distances=False, return_indices=True
    ).astype(np.intp)
    height, width = valid.shape
    own = np.indices(valid.shape)
    mirrored = 2 * nearest - own
    rows, columns = mirrored
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    inside[inside] = valid[rows[inside], columns[inside]]
    chosen = np.where(inside, mirrored, nearest)
    return chosen[0], chosen[1]

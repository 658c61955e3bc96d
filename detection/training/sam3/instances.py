"""Label maps -> numbered objects: connected parts, and touching roofs told apart by shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Parts that are smaller are noise; a pool of 10 m2 is 28 pixels at 0.6 m.
MIN_AREA_M2 = 4.0
# Objects of a tile are numbered up to this; a tile of 150 m has far fewer.
MAX_NUMBER = 1023
# Where a part is narrower than twice this, it is cut if there is something on both sides,
_NECK_M = 1.8
# of at least this area after as much is taken off its edges.
_CORE_M2 = 6.0
_CROSS = ndimage.generate_binary_structure(2, 1)


def connected_parts(inside: NDArray[np.bool_], gsd_m: float) -> NDArray[np.int16]:
    """Number the 4-connected parts of (h, w) from 1; 0 elsewhere and in small parts."""
    parts, count = ndimage.label(inside, _CROSS)
    return _renumber(parts, count, gsd_m)


def split_parts(inside: NDArray[np.bool_], gsd_m: float) -> NDArray[np.int16]:
    """As `connected_parts`, with parts cut at their necks: two houses that touch at a corner.

    What is left after an erosion are the cores; each pixel goes to the nearest core of its part.
    """
    parts, whole = ndimage.label(inside, _CROSS)
    depth_m = ndimage.distance_transform_edt(inside) * gsd_m
    cores, count = ndimage.label(depth_m > _NECK_M, _CROSS)
    large = np.bincount(cores.ravel(), minlength=count + 1) * gsd_m**2 >= _CORE_M2
    large[0] = False
    cores *= large[cores]
    if not cores.any():
        return _renumber(parts, whole, gsd_m)
    nearest = ndimage.distance_transform_edt(
        cores == 0, return_distances=False, return_indices=True
    )
    owner = cores[tuple(nearest)]
    part_of_core = np.zeros(count + 1, parts.dtype)
    part_of_core[cores.ravel()] = parts.ravel()
    # The nearest core may be of a neighbouring part; a part without one stays whole.
    any_core = np.zeros(whole + 1, cores.dtype)
    any_core[part_of_core] = np.arange(count + 1)
    owner = np.where(part_of_core[owner] == parts, owner, any_core[parts])
    numbers = np.where(owner > 0, owner, parts + count) * inside
    return _renumber(numbers, int(numbers.max(initial=0)), gsd_m)


def _renumber(numbers: NDArray[np.integer], most: int, gsd_m: float) -> NDArray[np.int16]:
    """Without the numbers of small parts, from 1 without gaps."""
    areas = np.bincount(numbers.ravel(), minlength=most + 1)
    kept = areas * gsd_m**2 >= MIN_AREA_M2
    kept[0] = False
    kept &= np.cumsum(kept) <= MAX_NUMBER
    table = np.where(kept, np.cumsum(kept), 0).astype(np.int16)
    renumbered: NDArray[np.int16] = table[numbers]
    return renumbered

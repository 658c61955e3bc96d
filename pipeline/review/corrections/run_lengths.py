"""Masks of COCO (run-length encoding, RLE) as polygons in pixels.

https://github.com/cocodataset/cocoapi: runs of 0 and 1 in column-major order, beginning with 0;
compressed ones are differences to the run before the last, in 6-bit characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely import MultiPolygon
from shapely.geometry import shape

from pipeline.review.corrections.correction import MAX_VERTICES, UnusableValue

_MAX_PIXELS = 100_000_000
_MAX_RUNS = 2_000_000
# Of the compressed form: five bits of value, one that says that more follow; "0" is zero.
_ZERO, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10


def mask_outline(encoded: Mapping[str, Any], width: int, height: int) -> MultiPolygon:
    """The outline of a mask along its pixels' edges, holes included; x, y from the upper left.

    Raises:
        UnusableValue: it is damaged, empty, or not of an image of this size.
    """
    pixels = decode_mask(encoded, width, height)
    if not pixels.any():
        raise UnusableValue("its mask is empty: delete the annotation, or draw it again")
    parts = []
    vertices = 0
    for each, _ in shapes(pixels.astype(np.uint8), mask=pixels):
        vertices += sum(map(len, each["coordinates"]))
        if vertices > MAX_VERTICES:  # a chequered mask has millions
            raise UnusableValue(
                f"its mask has more than {MAX_VERTICES:,} vertices: it is noise, or many objects"
            )
        parts.append(shape(each))
    whole = shapely.union_all(parts)
    return whole if isinstance(whole, MultiPolygon) else MultiPolygon([whole])


def decode_mask(encoded: Mapping[str, Any], width: int, height: int) -> NDArray[np.bool_]:
    """The pixels (height, width) of a mask.

    Raises:
        UnusableValue: as `mask_outline`, but for an empty one.
    """
    size = encoded.get("size")
    if size != [height, width]:
        raise UnusableValue(
            f"its mask is of an image of {str(size)[:40]} (height, width), and the image has "
            f"[{height}, {width}]: export the annotations again, at the image's own size"
        )
    if not 0 < width * height <= _MAX_PIXELS:
        raise UnusableValue(f"an image of {width} x {height} pixels is too large to be unpacked")
    counts = encoded.get("counts")
    runs = _decompressed(counts) if isinstance(counts, str) else _checked(counts)
    if int(runs.sum()) != width * height:
        raise UnusableValue("its mask is damaged: its runs are not as many as the image's pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _checked(counts: object) -> NDArray[np.int64]:
    if not isinstance(counts, list) or not 0 < len(counts) <= _MAX_RUNS:
        raise UnusableValue("its mask has no usable runs (counts)")
    if not all(type(each) is int and 0 <= each <= _MAX_PIXELS for each in counts):
        raise UnusableValue("its mask has a run that is not a number of pixels")
    return np.array(counts, dtype=np.int64)


def _decompressed(text: str) -> NDArray[np.int64]:
    runs: list[int] = []
    at = 0
    while at < len(text) and len(runs) < _MAX_RUNS:
        value = shift = 0
        while True:
            # Six characters are more than any image has.
            if at >= len(text) or not 0 <= (code := ord(text[at]) - _ZERO) < 64 or shift > 35:
                raise UnusableValue("its compressed mask is damaged")
            at += 1
            value |= (code & 0x1F) << shift
            shift += _BITS
            if not code & _MORE:
                break
        if code & _SIGN:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
    return _checked(runs)

"""Footage: which file each pixel of a chip comes from, so that a lot names its own imagery.

A chip is shared by many lots and may be pieced together from several files, of different dates and
pixel sizes. What is said of a lot's imagery is that of the files whose pixels lie in the lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.dates import date_span


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A file, or a service, that pixels come from.

    Attributes:
        path: the file's path, or the service's URL.
        captured_on: ISO 8601 date, interval or year; None where unknown.
        gsd_m: the size of its own pixels in metres, whatever grid it is read on.
    """

    path: str
    captured_on: str | None
    gsd_m: float


@dataclass(frozen=True, eq=False)
class Footage:
    """The source of each valid pixel.

    Attributes:
        images: the sources, in the order in which they filled the pixels.
        index: (height, width) uint16, the position in `images` of each valid pixel's source; None
            if there is one source.
    """

    images: tuple[SourceImage, ...]
    index: NDArray[np.uint16] | None = None

    @property
    def gsd_m(self) -> float:
        """The coarsest pixel size of its sources, in metres."""
        return max(image.gsd_m for image in self.images)

    def used(self, pixels: NDArray[np.bool_], part: tuple[slice, slice]) -> tuple[int, ...]:
        """The positions of the sources of some valid pixels, in order.

        Args:
            pixels: which pixels of the part count, (rows, columns) of it.
            part: the rows and columns of the part.
        """
        if self.index is None:
            return (0,) if pixels.any() else ()
        return tuple(np.unique(self.index[part][pixels]).tolist())


def captured_span(images: Sequence[SourceImage]) -> str | None:
    """One date, or an interval "first/last"; None if the date of one image is unknown."""
    if any(image.captured_on is None for image in images):
        return None
    return date_span(day for image in images for day in (image.captured_on or "").split("/"))


def join_footage(
    parts: Iterable[tuple[Footage | None, NDArray[np.bool_], tuple[slice, slice]]],
    shape: tuple[int, ...],
) -> Footage | None:
    """The footage of a mosaic of several chips; None if that of a chip is unknown.

    Args:
        parts: of each chip its footage, its valid pixels, and its rows and columns in the mosaic.
        shape: (height, width) of the mosaic.
    """
    position: dict[SourceImage, int] = {}
    index = np.zeros(shape, np.uint16)
    for footage, valid, at in parts:
        if footage is None:
            return None
        new = np.array([position.setdefault(image, len(position)) for image in footage.images])
        own = np.zeros(valid.shape, np.uint16) if footage.index is None else footage.index
        index[at][valid] = new[own[valid]]
    return Footage(tuple(position), index if len(position) > 1 else None)

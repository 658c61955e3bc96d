"""Segmenters by name. They are built on demand, so that importing this needs no torch."""

from __future__ import annotations

from detection.errors import SegmenterError
from detection.segmenters.protocol import Segmenter

SEGMENTERS = ("spectral",)


def check_segmenter(name: str) -> None:
    """Find a wrong name without the seconds that it takes to build a segmenter.

    Raises:
        SegmenterError: no such segmenter.
    """
    if name not in SEGMENTERS:
        raise SegmenterError(f"unknown segmenter {name!r}: choose from {', '.join(SEGMENTERS)}")


def build_segmenter(name: str) -> Segmenter:
    """The segmenter of a name in `SEGMENTERS`.

    Raises:
        SegmenterError: no such segmenter, or torch is not installed.
    """
    check_segmenter(name)
    try:
        from detection.segmenters.spectral import Spectral
    except ModuleNotFoundError as error:
        raise SegmenterError(
            f"segmenter {name!r} needs {error.name}: install lotline[detection]"
        ) from error
    return Spectral()

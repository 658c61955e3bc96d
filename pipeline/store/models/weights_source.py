"""What `build_segmenter` gets for registered weights: a delta needs its base."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from detection.segmenters import build_segmenter
from detection.segmenters.sam3.sources import DELTA_FILE
from pipeline.errors import ModelError
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter


def weights_source(segmenter: str, folder: Path) -> str:
    """The weights of a folder; for a delta of sam3 the base is that of SAM3_WEIGHTS.

    Whether it is the right one is checked where the weights are loaded. The base of sam3-tiny and
    sam3-nano is in the package.

    Raises:
        ModelError: a delta of another segmenter, or no base is set.
    """
    if not (folder / DELTA_FILE).is_file():
        return str(folder)
    if segmenter == "landcover":
        raise ModelError(
            f"{folder} has a delta of SAM3: name the segmenter that it belongs to, --segmenter sam3"
        )
    if segmenter != "sam3":
        return str(folder)
    base, *_ = (load_settings().sam3_weights or "").split(os.pathsep)
    if not base:
        raise ModelError(
            f"{folder} has a delta, which needs the weights that it was trained on: set "
            "SAM3_WEIGHTS to them on each machine that detects"
        )
    return f"{base}{os.pathsep}{folder}"


def build_with(segmenter: str, weights: str | None, *, for_clicks: bool = False) -> Segmenter:
    """`build_segmenter`, where None stands for the weights before any promotion.

    Those are the package's own, and for sam3, of which it has none, those of SAM3_WEIGHTS.

    Raises:
        SegmenterError: as `build_segmenter`.
    """
    if weights is None and segmenter == "sam3":
        weights = load_settings().sam3_weights
    return build_segmenter(segmenter, weights, for_clicks=for_clicks)


def is_exact(segmenter: str, weights: str | None) -> bool:
    """Whether named weights are what is to be used, whatever was promoted.

    For sam3 a base alone is not: a promoted delta is put on it. BASE:DELTA is.
    """
    return weights is not None and (segmenter != "sam3" or os.pathsep in weights)

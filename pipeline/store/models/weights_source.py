"""How every consumer builds a segmenter, with registered weights or without.

Batches on this machine and on a Ray cluster, the panel, judges and serverless workers all build by
`build_with`, and get registered weights by `promoted_segmenter`, which adds their thresholds.
"""

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


def build_with(
    segmenter: str, folder: str | None, *, base: str | None = None, for_clicks: bool = False
) -> Segmenter:
    """Build a segmenter with registered weights, or with those before any promotion.

    Args:
        folder: of the registered files: whole weights, or a delta. None is the package's own
            weights, and for sam3, of which the package has none, its base.
        base: for sam3, the weights that deltas are put on; those of SAM3_WEIGHTS by default. A
            delta that is named with them is left out where `folder` has another.
        for_clicks: see `build_segmenter`.

    Raises:
        ModelError: a delta of another segmenter, or sam3 has no base.
        SegmenterError: as `build_segmenter`; also where a delta belongs to another base.
    """
    on = _base(base) if segmenter == "sam3" else None
    weights = on if folder is None else _source(segmenter, Path(folder), on)
    return build_segmenter(segmenter, weights, for_clicks=for_clicks)


def is_exact(segmenter: str, weights: str | None) -> bool:
    """Whether named weights are what is to be used, whatever was promoted.

    For sam3 a base alone is not: a promoted delta is put on it. BASE:DELTA is.
    """
    return weights is not None and (segmenter != "sam3" or os.pathsep in weights)


def _base(named: str | None) -> str | None:
    return named or load_settings().sam3_weights


def _source(segmenter: str, folder: Path, base: str | None) -> str:
    """What `build_segmenter` gets. The base of sam3-tiny and sam3-nano is in the package.

    Whether a base is the right one is checked where the weights are loaded.
    """
    if not (folder / DELTA_FILE).is_file():
        return str(folder)
    if segmenter == "landcover":
        raise ModelError(
            f"{folder} has a delta of SAM3: name the segmenter that it belongs to, --segmenter sam3"
        )
    if segmenter != "sam3":
        return str(folder)
    alone = (base or "").split(os.pathsep)[0]
    if not alone:
        raise ModelError(
            f"{folder} has a delta, which needs the weights that it was trained on: set "
            "SAM3_WEIGHTS to them on each machine that detects"
        )
    return f"{alone}{os.pathsep}{folder}"

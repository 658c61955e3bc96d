"""The smoke test of weights: what a segmenter finds on a known chip, before anything uses it.

It shows weights that are broken, not weights that are worse: that is for evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from pyproj import CRS as PROJ_CRS

from detection.chip import Chip
from detection.labels import LABELS, Label
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from detection.segmenters.interface import Mask, Segmenter

# The scene: the smallest synthetic neighbourhood of this seed.
_SEED, _LOTS, _SIDE_PX = 7, 4, 192
_BANDS: Final = ("red", "green", "blue", "nir")
# What a segmenter with text prompts is asked for.
_PROMPTED: Final = ("lawn", "roof")
# A label that covered this share of the chip before, and now less than a tenth of that, is lost.
_FOUND_SHARE, _LOST = 0.03, 0.1

LabelShares = Mapping[str, float]
"""The share of the known chip that each label covers, 0..1."""


def check_answers(segmenter: Segmenter, before: LabelShares | None = None) -> LabelShares:
    """Run a segmenter on the known chip.

    Args:
        before: what the weights that it would replace found there.

    Raises:
        ModelError: an answer of the wrong form, values that are not finite, nothing found at all,
            or a label lost that was found before.
        SegmenterError: it failed.
    """
    labels = [LABELS[name] for name in segmenter.labels or _PROMPTED if name in LABELS]
    segmenter.prepare(labels)
    [masks] = segmenter.segment([known_chip(_side_px(segmenter))], labels)
    shares = _shares(masks, labels)
    if not any(shares.values()):
        raise ModelError("the weights find nothing on the known chip, and they should find lawn")
    for name, was in (before or {}).items():
        if was >= _FOUND_SHARE and shares.get(name, 0.0) < was * _LOST:
            raise ModelError(
                f"the weights find {name} on {shares.get(name, 0.0):.1%} of the known chip, and "
                f"those before found it on {was:.1%}"
            )
    return shares


@cache
def known_chip(side_px: int = _SIDE_PX) -> Chip:
    """A square chip of a synthetic neighbourhood, 0.3 m a pixel; the same on every machine."""
    # A lazy import: painting needs rasterio, and most processes check no weights.
    from detection.sample.layout import CRS
    from detection.sample.paint import grid, paint
    from detection.sample.scene import build_scene

    scene = build_scene(_SEED, _LOTS)
    pixels = paint(scene)[:, :_SIDE_PX, :_SIDE_PX]
    # Mirrored, so that a larger chip has no seams.
    grown = np.pad(pixels, ((0, 0), *[(0, side_px - _SIDE_PX)] * 2), "symmetric")
    valid = np.ones((side_px, side_px), np.bool_)
    return Chip(grown, valid, grid(scene), PROJ_CRS.from_user_input(CRS), _BANDS)


def _side_px(segmenter: Segmenter) -> int:
    # A network with text prompts sees chips of one size only.
    return _SIDE_PX if segmenter.labels is not None else max(_SIDE_PX, segmenter.chip_px)


def _shares(masks: Sequence[Mask], labels: Sequence[Label]) -> dict[str, float]:
    shares = {label.name: 0.0 for label in labels}
    for mask in masks:
        if mask.label not in labels:
            raise ModelError(f"the weights answer for {mask.label.name}, which was not asked for")
        rows, columns = mask.cells
        height, width = mask.field.shape
        fits = mask.row + height <= rows and mask.column + width <= columns
        if not fits or mask.confidence.shape != mask.field.shape:
            raise ModelError(f"the weights answer for {mask.label.name} in a wrong shape")
        confidence = mask.confidence
        if not (np.isfinite(mask.field).all() and ((confidence >= 0) & (confidence <= 1)).all()):
            raise ModelError(
                f"the weights answer for {mask.label.name} with values that are not finite, or "
                "confidences that are not in 0..1"
            )
        shares[mask.label.name] += float((mask.field > 0).sum()) / (rows * columns)
    if answered := {label.name for label in labels if label.kind == "continuous"} - {
        mask.label.name for mask in masks
    }:
        raise ModelError(f"the weights do not answer for {min(answered)}")
    return shares

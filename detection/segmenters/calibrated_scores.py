"""Score thresholds that belong to weights: they take the place of the labels' defaults.

New weights have other scores. A label whose threshold a county has set keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import LABELS, Label
from detection.segmenters.interface import (
    BoxPrompt,
    ClickPrompt,
    Mask,
    PromptableSegmenter,
    Segmenter,
)


class CalibratedScores:
    """A segmenter with text prompts whose weights have thresholds of their own.

    Args:
        thresholds: by label; of other labels the label's own counts.
    """

    def __init__(self, segmenter: Segmenter, thresholds: Mapping[str, float]) -> None:
        self._segmenter, self._thresholds = segmenter, dict(thresholds)
        self.name, self.weights_sha256 = segmenter.name, segmenter.weights_sha256
        self.labels, self.chip_px, self.gsd_m = segmenter.labels, segmenter.chip_px, segmenter.gsd_m
        self.chips_per_batch, self.device = segmenter.chips_per_batch, segmenter.device

    def prepare(self, labels: Sequence[Label]) -> None:
        """As the segmenter's."""
        self._segmenter.prepare([self._calibrated(label) for label in labels])

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """As the segmenter's; masks name the labels that were asked for."""
        calibrated = [self._calibrated(label) for label in labels]
        asked = dict(zip(calibrated, labels, strict=True))
        found = self._segmenter.segment(chips, calibrated)
        return [[replace(mask, label=asked[mask.label]) for mask in masks] for masks in found]

    def mask_at(self, chip: Chip, label: Label, prompt: ClickPrompt | BoxPrompt) -> Mask | None:
        """As the segmenter's, which a click asks without a threshold.

        Raises:
            SegmenterError: it cannot be asked at a click.
        """
        if not isinstance(self._segmenter, PromptableSegmenter):
            raise SegmenterError(f"{self.name} cannot be asked at a click: draw the outline")
        return self._segmenter.mask_at(chip, label, prompt)

    def _calibrated(self, label: Label) -> Label:
        known = LABELS.get(label.name)
        is_default = known is not None and label.score_threshold == known.score_threshold
        if not is_default or label.name not in self._thresholds:
            return label
        return replace(label, score_threshold=self._thresholds[label.name])


def with_thresholds(segmenter: Segmenter, thresholds: Mapping[str, float]) -> Segmenter:
    """The segmenter with its weights' thresholds; itself without any, or if it takes no prompts."""
    if not thresholds or segmenter.labels is not None:
        return segmenter
    return CalibratedScores(segmenter, thresholds)

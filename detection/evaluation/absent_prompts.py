"""Prompts that nothing in the traced windows answers to: a segmenter should find nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detection.evaluation.bootstrap import bootstrap
from detection.evaluation.field_sampling import label_answer
from detection.evaluation.segmenter_answers import SegmenterRival
from detection.evaluation.traced import TracedTile
from detection.labels import Label

# Things that an aerial view could show, and that no traced window does.
ABSENT = (
    "snow field", "football stadium", "wind turbine", "cargo ship", "airplane", "railway tracks",
    "golf bunker", "greenhouse",
)  # fmt: skip
_MIN_AREA_M2 = 4.0


def absent_prompt_figures(rival: SegmenterRival, tiles: Sequence[TracedTile]) -> dict[str, Any]:
    """The share of (window, absent prompt) for which something of 4 m² is reported, by prompt.

    Raises:
        SegmenterError: it failed on a window.
    """
    labels = [Label(text, text, "continuous", _MIN_AREA_M2) for text in ABSENT]
    alarms: list[tuple[str, str, bool]] = []
    for tile in tiles:
        for found in rival.masks(tile, labels):
            for label in labels:
                masks = [mask for mask in found.masks if mask.label == label]
                answer = label_answer(masks, found.mosaic, found.place.transform, found.window)
                area_m2 = answer.inside.sum() * found.place.pixel_m2
                alarms.append((tile.name, label.prompt, bool(area_m2 >= _MIN_AREA_M2)))
    sums = np.array([(alarm, 1) for _, _, alarm in alarms], float)
    share = bootstrap(sums, [tile for tile, _, _ in alarms], lambda s: s[:, 0] / s[:, 1])
    return {
        "prompts": len(alarms),
        "reported": sum(alarm for _, _, alarm in alarms),
        "share": None if share is None else share.as_json(),
        "by_prompt": {
            text: sum(alarm for _, prompt, alarm in alarms if prompt == text) for text in ABSENT
        },
    }

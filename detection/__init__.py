"""A boundary and an image -> detections. No database, no web.

    from detection import LABELS, Detector, build_segmenter, open_imagery

    detector = Detector(build_segmenter("spectral"))
    [result] = detector.detect([boundary], open_imagery(county.imagery), [LABELS["lawn"]])
    print(result.status, [d.area_m2 for d in result.detections])

`boundary` and `county` come from `parcels`. Importing this does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detection.chip import Chip
    from detection.detector import Detector
    from detection.errors import DetectionError
    from detection.imagery import open_imagery
    from detection.labels import LABELS, Label, choose_labels
    from detection.results import Detection, LotResult
    from detection.segmenters import build_segmenter

__all__ = [
    "LABELS",
    "Chip",
    "Detection",
    "DetectionError",
    "Detector",
    "Label",
    "LotResult",
    "build_segmenter",
    "choose_labels",
    "open_imagery",
]

_HOME = {
    "Chip": "detection.chip",
    "Detection": "detection.results",
    "DetectionError": "detection.errors",
    "Detector": "detection.detector",
    "LABELS": "detection.labels",
    "Label": "detection.labels",
    "LotResult": "detection.results",
    "build_segmenter": "detection.segmenters",
    "choose_labels": "detection.labels",
    "open_imagery": "detection.imagery",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # Not imported until asked for: a batch that has nothing to do must not wait for rasterio.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

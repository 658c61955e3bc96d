"""A boundary and an image -> detections. No database, no web.

    from detection import LABELS, Detector, build_segmenter, open_imagery

    detector = Detector(build_segmenter("spectral"))
    [result] = detector.detect([boundary], open_imagery(county.imagery), [LABELS["lawn"]])
    print(result.status, [d.area_m2 for d in result.detections])

`boundary` and `county` come from `parcels`. Importing this does not load torch.
"""

from __future__ import annotations

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

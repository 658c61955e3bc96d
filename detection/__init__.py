"""Detects labelled objects on lots: boundaries and imagery in, measured detections out.

    from detection import Detector

    detector = Detector.for_county(county, labels=["lawn"])
    [result] = detector.detect([boundary])
    print(result.status, result.areas_m2, result.caveats)

`boundary` and `county` come from `parcels`. The result is that of a batch: `county_settings` and
`county_labels` say for both what a county's entry means. Importing this does not load torch.

The stages, in their order:

    imagery/       reads windows of imagery; `interface` shows how to add a kind of source
    chip_plan      which lots share which chips; `chip_batches` groups them for inference
    inference      runs a segmenter (`segmenters/`) on chips -> masks
    stitch, mosaic masks of overlapping chips -> masks of one mosaic
    vectorize      masks -> polygons; `simplify` reduces their vertices
    clip           clips polygons to lots; `lot_results` measures them
    assemble       puts these stages together; `detector` runs all of them
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

_MODULE_OF = {
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
    # Imported lazily: a batch with nothing to do must not wait for rasterio.
    if name in _MODULE_OF:
        try:
            return getattr(import_module(_MODULE_OF[name]), name)
        except ModuleNotFoundError as error:
            # Here, because a machine that only trains has no need of parcels.
            from parcels.missing_extra import missing_extra

            message = missing_extra(error, "detection")
            if message is None:
                raise
            raise ModuleNotFoundError(message, name=error.name) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

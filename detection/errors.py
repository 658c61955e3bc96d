"""The errors of `detection`.

DetectionError
├── ImageryError             the imagery is configured wrongly
│   └── ImageryUnavailable   an imagery server is temporarily unavailable
├── NoImagery                no usable pixels at the requested position
├── LabelError               a label that is not defined correctly, or not supported
│   └── UnknownLabel         a name that no label has
└── SegmenterError           a segmenter that cannot be built, or failed on a chip
    └── WeightsMissing       it needs weights, and none were given
"""

from __future__ import annotations

from typing import Literal

NoImageryReason = Literal["missing", "corrupt", "nodata"]


class DetectionError(Exception):
    """The base class of all errors of `detection`."""


class ImageryError(DetectionError):
    """The imagery is configured wrongly."""


class ImageryUnavailable(ImageryError):
    """An imagery server is temporarily unavailable; the imagery itself may be fine."""


class NoImagery(DetectionError):
    """No usable pixels at the requested position: missing, corrupt or all nodata.

    `failed_sources` are files that cover it but could not be read.
    """

    def __init__(
        self, reason: NoImageryReason, detail: str, failed_sources: tuple[str, ...] = ()
    ) -> None:
        super().__init__(detail)
        self.reason: NoImageryReason = reason
        self.failed_sources = failed_sources


class LabelError(DetectionError):
    """A label that is not defined correctly, or that the segmenter does not support."""


class UnknownLabel(LabelError):
    """A name that no label has."""


class SegmenterError(DetectionError):
    """A segmenter that cannot be built, or that failed on a chip."""


class WeightsMissing(SegmenterError):
    """A segmenter that needs weights, without any."""

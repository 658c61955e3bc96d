"""The errors of `detection`.

DetectionError
├── ImageryError             imagery that is configured wrongly
│   └── ImageryUnavailable   an imagery server that does not answer now
├── NoImagery                there are no usable pixels where they were asked for
├── LabelError               a label that nobody can detect as it is written
└── SegmenterError           a segmenter that cannot be built, or failed on a chip
"""

from __future__ import annotations

from typing import Literal

NoImageryReason = Literal["missing", "corrupt", "nodata"]


class DetectionError(Exception):
    """The base of every error that `detection` raises on purpose."""


class ImageryError(DetectionError):
    """Imagery that is configured wrongly."""


class ImageryUnavailable(ImageryError):
    """An imagery server that does not answer now; it says nothing about the imagery."""


class NoImagery(DetectionError):
    """There are no usable pixels where they were asked for: missing, corrupt or all nodata.

    `failed_sources` are the files that should have shown some and could not be read.
    """

    def __init__(
        self, reason: NoImageryReason, detail: str, failed_sources: tuple[str, ...] = ()
    ) -> None:
        super().__init__(detail)
        self.reason: NoImageryReason = reason
        self.failed_sources = failed_sources


class LabelError(DetectionError):
    """A label that nobody can detect as it is written."""


class SegmenterError(DetectionError):
    """A segmenter that cannot be built, or that failed on a chip."""

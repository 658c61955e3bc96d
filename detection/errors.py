"""The errors of `detection`.

DetectionError
├── ImageryError             the imagery is configured wrongly
│   ├── ImageryUnavailable   an imagery server is temporarily unavailable
│   └── ImageryChanged       the imagery is not that of an earlier result
├── NoImagery                no usable pixels at the requested position
├── LabelError               a label that is not defined correctly, or not supported
│   └── UnknownLabel         a name that no label has
├── TruthError               a truth to evaluate against that cannot be read
├── SegmenterError           a segmenter that cannot be built, or failed on a chip
│   └── WeightsMissing       it needs weights, and none were given
└── TrainingError            a training run that cannot start, or cannot go on
    ├── CheckpointError      a checkpoint that cannot be saved, or is of another run
    │   └── DamagedCheckpoint    its files cannot be read
    ├── TrainingDiverged     the loss or the gradients are not finite any more
    └── TrackingError        a tracking server that does not answer
        └── TrackingRefused      it answers, and refuses
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


class ImageryChanged(ImageryError):
    """The imagery of a place is not that of an earlier result any more."""


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


class TruthError(DetectionError):
    """A truth to evaluate against that cannot be read, or that does not fit its imagery."""


class SegmenterError(DetectionError):
    """A segmenter that cannot be built, or that failed on a chip."""


class WeightsMissing(SegmenterError):
    """A segmenter that needs weights, without any."""


class TrainingError(DetectionError):
    """A training run that cannot start, or cannot go on."""


class CheckpointError(TrainingError):
    """A checkpoint that cannot be saved, or is of another run."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint whose files cannot be read."""


class TrainingDiverged(TrainingError):
    """The loss or the gradients are not finite any more."""


class TrackingError(TrainingError):
    """A tracking server that does not answer; a training goes on without it."""


class TrackingRefused(TrackingError):
    """A tracking server that refuses a request, such as one for a run that was deleted there."""

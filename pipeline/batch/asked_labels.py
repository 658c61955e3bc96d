"""The labels that a request asks of finished properties, before its segmenter is loaded."""

from __future__ import annotations

from detection.county_labels import CountyLabels
from detection.segmenters import supported_labels
from pipeline.store.queue.missing_labels import AskedLabels


def asked_labels(labels: CountyLabels, segmenter: str | None) -> AskedLabels | None:
    """The labels that the request names, or else all that the segmenter finds.

    Args:
        segmenter: a name of `detection.segmenters`; None for a segmenter of the caller's own, whose
            labels are not known before it is built.

    Returns:
        None if they are not known.

    Raises:
        LabelError: the segmenter cannot find one of them.
    """
    found = None
    if segmenter is not None:
        found = labels.for_segmenter(segmenter, supported_labels(segmenter))
    if labels.named:
        return AskedLabels(labels.named)
    if segmenter is None or found is None:
        return None
    return AskedLabels(tuple(label.name for label in found), segmenter)

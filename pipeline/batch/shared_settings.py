"""The settings that batches on the same properties at the same time must have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from detection.labels import Label
from detection.segmenters import WITHOUT_WEIGHTS
from parcels import County
from pipeline.batch.registry_entry import registry_sha256
from pipeline.batch.request import BatchRequest


def shared_settings(
    county: County, request: BatchRequest, labels: Sequence[Label] | None
) -> dict[str, str]:
    """What is known of them before the segmenter is loaded.

    Args:
        labels: all that the request asks for; None if they are not known yet.
    """
    entry = f"{registry_sha256(county)} {county.lot_offset_m} {county.line_tolerance_m}"
    shared = {
        "segmenter": request.segmenter,
        "registry entry": _digest(entry),
        "when_unavailable": request.when_unavailable,
    }
    if labels is not None:
        in_order = sorted(labels, key=lambda label: label.name)
        shared["labels"] = ", ".join(label.name for label in in_order)
        shared["label definitions"] = _digest(repr(in_order))
    if request.segmenter in WITHOUT_WEIGHTS:
        shared["weights"] = ""
    return shared


def all_shared_settings(
    county: County, request: BatchRequest, labels: Sequence[Label], weights_sha256: str | None
) -> dict[str, str]:
    """All of them, once the segmenter is loaded."""
    return shared_settings(county, request, labels) | {"weights": weights_sha256 or ""}


def are_all_known(shared: dict[str, str]) -> bool:
    """Whether loading the segmenter could show no other difference."""
    return "weights" in shared and "labels" in shared


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()

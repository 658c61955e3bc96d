"""Each failure of a job as a code, a message and a cure; never a traceback or a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from detection.errors import (
    DetectionError,
    ImageryError,
    LabelError,
    SegmenterError,
    TrainingError,
)
from parcels.errors import AddressRefused, ParcelsError, SourceUnavailable
from parcels.untrusted import sanitize_text
from pipeline.errors import (
    JobError,
    ManifestError,
    ModelError,
    ObjectStoreError,
    PipelineError,
)
from pipeline.redaction import redactor

log = logging.getLogger(__name__)

_MAX_MESSAGE_CHARS: Final = 2000
_REPEAT: Final = "submit the job again with the same job_id"
# The first one that fits.
_KINDS: Final = (
    (AddressRefused, "address_refused", "give a public address"),
    (SourceUnavailable, "source_unavailable", f"{_REPEAT} when its server answers"),
    (LabelError, "invalid_labels", "correct labels and prompts"),
    (ManifestError, "invalid_manifest", "export the corrections again"),
    (ObjectStoreError, "store_unavailable", "check the worker's bucket and credentials, then "
                                            f"{_REPEAT}"),
    (ModelError, "model_unavailable", "check the worker's champion, then restart it"),
    (SegmenterError, "segmenter_failed", "check SEGMENTER and its weights on the worker"),
    (TrainingError, "training_failed", "correct the settings of the training"),
    (ImageryError, "invalid_image", "correct the image or its options"),
    (DetectionError, "detection_failed", "correct the image or its options"),
    (ParcelsError, "source_failed", "correct the address"),
    (PipelineError, "failed", "correct the input"),
    (MemoryError, "out_of_memory", "give smaller images, or take a larger machine"),
    (OSError, "worker_failed", f"check disk and permissions of the worker, then {_REPEAT}"),
)  # fmt: skip
_UNKNOWN: Final = ("internal", f"{_REPEAT}; if it fails again, report it with the worker's log")


def failure_of(error: BaseException) -> dict[str, str]:
    """The code, the message and the cure of an error; the log has more of it."""
    if isinstance(error, JobError):
        log.warning("a job failed (%s): %s", error.code, error.message)
        return _failure(error.code, error.message, error.cure)
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which is not imported for this
        error = MemoryError("the GPU has not enough memory for this job")
    for kind, code, cure in _KINDS:
        if isinstance(error, kind):
            log.warning("a job failed (%s): %s", code, error)
            log.debug("its traceback", exc_info=error)
            return _failure(code, str(error) or type(error).__name__, cure)
    log.error("a job failed for an unknown reason", exc_info=error)
    code, cure = _UNKNOWN
    return _failure(code, f"an unexpected {type(error).__name__}", cure)


def error_answer(failure: Mapping[str, str], about: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a failed job.

    `error` is JSON in a text: the platform and the SDK's local server take no other type.
    """
    return {"error": json.dumps({**failure, **about}, ensure_ascii=False)}


def _failure(code: str, message: str, cure: str) -> dict[str, str]:
    clean = sanitize_text(redactor.text(message), _MAX_MESSAGE_CHARS)
    return {"code": code, "message": clean, "cure": redactor.text(cure)}

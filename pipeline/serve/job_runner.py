"""One job, from its input to its answer. Nothing is raised: a failure is an answer too."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.serve.job_context import JobContext
from pipeline.serve.job_errors import error_answer, failure_of
from pipeline.serve.job_input import DetectJobInput, parse_job, request_sha256
from pipeline.serve.job_store import JobStore

if TYPE_CHECKING:
    from pipeline.serve.worker import Worker


def run_job(
    worker: Worker,
    job: Mapping[str, Any],
    report: Callable[[Mapping[str, Any], Mapping[str, object]], None],
    stop: threading.Event,
) -> dict[str, Any]:
    """The answer to a job: that of its manifest if it is done already.

    Args:
        report: sends progress to the platform.
        stop: set to end the work early.
    """
    about: dict[str, Any] = {"weights_sha256": worker.weights_sha256}
    try:
        job_id, asked = parse_job(job)
        about = {"job_id": job_id, **about}
        store = JobStore(worker.objects, job_id, request_sha256(asked))
        with tempfile.TemporaryDirectory(
            prefix="lotline-job-", dir=worker.work, ignore_cleanup_errors=True
        ) as folder:
            context = JobContext(
                worker, store, Path(folder), stop, lambda progress: report(job, progress)
            )
            # Lazy imports: a worker that only detects needs no trainer.
            if isinstance(asked, DetectJobInput):
                from pipeline.serve.detect_job import run_detect_job

                return run_detect_job(asked, context)
            from pipeline.serve.train_job import run_train_job

            return run_train_job(asked, context)
    except BaseException as error:  # the SDK would answer with a traceback
        return error_answer(failure_of(error), about)

"""What a running job uses: its folder, its part of the store, progress, and whether to end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.errors import JobError
from pipeline.serve.job_store import JobStore
from pipeline.serve.worker import Worker

log = logging.getLogger(__name__)

# Each report is a request to the platform.
_REPORT_EVERY_S: Final = 5.0


@dataclass(slots=True)
class JobContext:
    """What a running job uses.

    Attributes:
        folder: for its files; removed when it ends.
        stop: set when it must end: the worker is stopped, or the job is cancelled.
    """

    worker: Worker
    store: JobStore
    folder: Path
    stop: threading.Event
    send: Callable[[Mapping[str, object]], None]
    _stage: str = ""
    _reported_s: float = field(default=0.0)

    def report(self, stage: str, **values: object) -> None:
        """Report progress: each stage once, and then at most every few seconds."""
        now_s = time.monotonic()
        if stage == self._stage and now_s - self._reported_s < _REPORT_EVERY_S:
            return
        self._stage, self._reported_s = stage, now_s
        try:
            self.send({"stage": stage, **values})
        except Exception as error:  # progress that is lost must not stop the work
            log.warning("progress cannot be reported: %s", type(error).__name__)

    def check_stopped(self) -> None:
        """Raises:
        JobError: the job must end.
        """
        if self.stop.is_set():
            raise stopped("nothing of it is kept")


def stopped(what_is_kept: str) -> JobError:
    """The error of a job that ends because the worker does, or because it was cancelled."""
    return JobError(
        "stopped", f"the worker was stopped, or the job cancelled: {what_is_kept}",
        "submit the job again with the same job_id",
    )  # fmt: skip

"""The worker of a serverless GPU: `python -m pipeline.serve.runpod_handler`.

Importing this module does nothing and takes milliseconds. The SDK is imported in `main` only: its
import takes seconds, configures the root logger and reads a folder of the user's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

    from pipeline.serve.worker import Worker

Job = Mapping[str, Any]
ReportProgress = Callable[[Job, Mapping[str, object]], None]

_SERVE_API: Final = "--rp_serve_api"
_API_HOST: Final = "--rp_api_host"
# Progress that the platform has not taken after this time is not waited for.
_LATE_PROGRESS_S: Final = 10.0
# The SDK logs at DEBUG by default, with all answers.
_SDK_LOG_LEVEL: Final = ("RUNPOD_LOG_LEVEL", "INFO")


class JobHandler:
    """Runs each job in a thread, so that the SDK can stop it, and answers its pings meanwhile.

    SIGTERM and a job that is cancelled stop the work: a training saves a checkpoint first.

    Args:
        report: sends the progress of a job to the platform.
    """

    def __init__(self, worker: Worker, report: ReportProgress) -> None:
        self._worker, self._report = worker, report
        self._running: set[threading.Event] = set()
        self._is_ending = False
        self._handler_before: Any = None

    async def __call__(self, job: Job) -> dict[str, Any]:
        """The answer to a job; a failure is its `error`."""
        self._listen_for_sigterm()
        stop = threading.Event()
        self._running.add(stop)
        if self._is_ending:
            stop.set()
        try:
            work = asyncio.ensure_future(asyncio.to_thread(self._work, job, stop))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                stop.set()
                await asyncio.wait([work])  # the next job needs the GPU that this one has
                raise
        finally:
            self._running.discard(stop)

    def _work(self, job: Job, stop: threading.Event) -> dict[str, Any]:
        """Run a job, and return when its progress is sent: the SDK sends that in threads.

        Progress that came after the answer would put a job that is done in progress again.
        """
        from pipeline.serve.job_runner import run_job

        sending: list[threading.Thread] = []

        def report(about: Job, progress: Mapping[str, object]) -> None:
            before = set(threading.enumerate())
            self._report(about, progress)
            new = set(threading.enumerate()) - before
            sending.extend(thread for thread in new if thread.daemon)

        answer = run_job(self._worker, job, report, stop)
        end_s = time.monotonic() + _LATE_PROGRESS_S
        for thread in sending:
            thread.join(max(0.0, end_s - time.monotonic()))
        return answer

    def _listen_for_sigterm(self) -> None:
        """Come before the SDK's own handler, which waits for running jobs without a word to them.

        The SDK sets its handler after it got ours, so this is done when a job begins.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        current = signal.getsignal(signal.SIGTERM)
        if current != self._on_sigterm:
            self._handler_before = current
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._is_ending = True
        for stop in self._running:
            stop.set()
        if callable(self._handler_before):
            self._handler_before(number, frame)
        else:
            signal.signal(number, self._handler_before)  # the second one acts as before


def main() -> int:
    """Load the weights, then serve jobs until the platform stops the worker.

    Returns:
        2 if the worker cannot start, and 0 after it was stopped.
    """
    from detection.errors import DetectionError
    from pipeline.errors import PipelineError
    from pipeline.log import configure
    from pipeline.redaction import redactor
    from pipeline.serve.worker import start_worker, worker_settings

    log = logging.getLogger("pipeline.serve")
    try:
        settings = worker_settings(os.environ)
        configure(settings.log_level, settings.log_format)
        worker = start_worker(settings)
        sdk = import_sdk()
    except (PipelineError, DetectionError) as error:
        sys.stderr.write(f"error: {redactor.text(str(error))}\n")
        return 2
    except ModuleNotFoundError as error:
        from parcels.missing_extra import missing_extra

        sys.stderr.write(f"error: {missing_extra(error) or error}\n")
        return 2
    log.info("serving with %s, weights %s", worker.segmenter.name, worker.weights_sha256)
    sys.argv = with_api_host(sys.argv)
    sdk.serverless.start({"handler": JobHandler(worker, sdk.serverless.progress_update)})
    return 0


def import_sdk() -> ModuleType:
    """The runpod SDK, without what its import does to the logs of this process."""
    os.environ.setdefault(*_SDK_LOG_LEVEL)
    with _root_logger_kept():
        import runpod
    sdk: ModuleType = runpod
    return sdk


def with_api_host(arguments: list[str]) -> list[str]:
    """The arguments with an address for the SDK's local server.

    By default it binds the name `localhost`, which may be an IPv6 address, an IPv4 one, or both.
    """
    names = {argument.partition("=")[0] for argument in arguments}
    if _SERVE_API not in names or _API_HOST in names:
        return arguments
    return [*arguments, _API_HOST, "127.0.0.1"]


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())

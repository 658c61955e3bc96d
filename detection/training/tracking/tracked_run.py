"""Sends a run beside its training, in a thread that the training never waits for."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from detection.errors import TrackingError, TrackingRefused, TrainingError
from detection.training.run_record import LOCK_NAME, METRICS_NAME
from detection.training.tracking.rows_tail import RowsTail
from detection.training.tracking.send_run import send_run
from detection.training.tracking.sent import SentState, now_ms, one_sender, read_sent, write_sent
from detection.training.tracking.server import MlflowServer, RunStatus
from detection.training.tracking.settings import TrackingSettings, tracking_settings

# How often new metrics are sent; after a failure up to this long is waited.
_EVERY_S: Final = 10.0
_LONGEST_WAIT_S: Final = 300.0
# How long the end of a training waits for the last metrics.
_END_S: Final = 30.0
_STATUSES: Final[dict[str, RunStatus]] = {
    "finished": "FINISHED", "time limit": "KILLED", "interrupted": "KILLED",
}  # fmt: skip


class TrackedRun:
    """A training that is sent to a server; without one, all methods do nothing."""

    def __init__(
        self, folder: Path, settings: TrackingSettings | None, on_message: Callable[[str], None]
    ) -> None:
        self._folder, self._on_message = folder, on_message
        self._server = None if settings is None else MlflowServer(settings)
        self._wake, self._has_ended = threading.Event(), False
        self._end_status: RunStatus = "FAILED"
        self._thread: threading.Thread | None = None
        self._reported: set[str] = set()

    def begin(self, step: int) -> None:
        """Begin to send.

        Args:
            step: that is trained next; after a resume, its metrics are sent again.
        """
        if self._server is None:
            return
        state = read_sent(self._folder, self._server.settings.uri)
        state = state or SentState(self._server.settings.uri)
        state.next_step = min(state.next_step, step)
        state.status, state.ended_ms = "RUNNING", None
        try:
            write_sent(self._folder, state)
        except OSError as error:
            self._report(f"{self._folder} cannot be written ({error}): nothing is sent to MLflow")
            return
        self._thread = threading.Thread(
            target=self._send_until_the_end, args=(self._server,), name="mlflow", daemon=True
        )
        self._thread.start()

    def end(self, how: str | None) -> None:
        """Send the last metrics, for half a minute at most; what is left is sent later.

        Args:
            how: the training ended, as `TrainedState.ended`; None if it failed.
        """
        if self._thread is None or self._server is None or self._has_ended:
            return
        self._end_status = "FAILED" if how is None else _STATUSES.get(how, "FINISHED")
        self._has_ended = True
        self._wake.set()
        self._thread.join(_END_S)
        state = read_sent(self._folder, self._server.settings.uri)
        if state is None or not state.is_complete:
            self._report(
                f"the MLflow server has not all of {self._folder}: the next training beside it "
                f"sends the rest, and so does `python -m detection.training.tracking "
                f"{self._folder}`"
            )

    def _send_until_the_end(self, server: MlflowServer) -> None:
        tail, wait_s = _tail(self._folder), _EVERY_S
        self._attempt(lambda: send_pending(self._folder, server, self._report))
        while True:
            has_ended = self._has_ended
            if has_ended:
                self._note_end(server)
            is_sent = self._attempt(lambda: _send(self._folder, server, tail))
            if has_ended:
                return
            wait_s = _EVERY_S if is_sent else min(2 * wait_s, _LONGEST_WAIT_S)
            self._wake.wait(wait_s)

    def _note_end(self, server: MlflowServer) -> None:
        state = read_sent(self._folder, server.settings.uri)
        if state is not None:
            state.status, state.ended_ms = self._end_status, now_ms()
            self._attempt(lambda: write_sent(self._folder, state))

    def _attempt(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except TrackingError as error:
            self._report(f"{error}: the training goes on, and what was not sent is sent later")
        except (TrainingError, OSError) as error:  # the run is not described yet, or a full disk
            self._report(f"not sent to MLflow yet: {error}")
        else:
            return True
        return False

    def _report(self, message: str) -> None:
        """Say it once."""
        if message not in self._reported:
            self._reported.add(message)
            self._on_message(message)


@contextmanager
def tracked(
    folder: Path, on_message: Callable[[str], None], *, is_on: bool = True
) -> Iterator[TrackedRun]:
    """A training in a folder; it counts as failed unless `end` says otherwise."""
    settings = None
    try:
        settings = tracking_settings(os.environ) if is_on else None
    except TrackingError as error:
        on_message(str(error))
    run = TrackedRun(folder, settings, on_message)
    try:
        yield run
    finally:
        run.end(None)


def send_pending(
    folder: Path, server: MlflowServer, on_message: Callable[[str], None] = lambda _: None
) -> None:
    """Send the runs beside a folder that ended, and that the server has not.

    Args:
        on_message: called with those that cannot be sent, though the server answers.

    Raises:
        TrackingError: the server does not answer.
    """
    for other in sorted(folder.resolve().parent.iterdir()):
        state = read_sent(other, server.settings.uri) if other != folder.resolve() else None
        if state is not None and not state.is_complete and not _is_training(other):
            try:
                send_ended(other, server)
            except TrackingRefused as error:
                on_message(f"{other} is not sent: {error}. Delete its mlflow.json to send it anew")
            except TrackingError:
                raise
            except (TrainingError, OSError) as error:
                on_message(f"{other} is not sent to MLflow: {error}")


def send_ended(folder: Path, server: MlflowServer) -> None:
    """Send all of a run that does not train any more.

    Raises:
        TrackingError: the server does not answer, or refuses.
        TrainingError: the folder has no run, or it is being trained.
    """
    if _is_training(folder):
        raise TrainingError(f"{folder} is being trained: that training sends it")
    state = read_sent(folder, server.settings.uri) or SentState(server.settings.uri)
    if state.status == "RUNNING":  # it was killed, or had no server
        state.status, state.ended_ms = "KILLED", now_ms()
        write_sent(folder, state)
    _send(folder, server, _tail(folder))


def _send(folder: Path, server: MlflowServer, tail: RowsTail) -> None:
    with one_sender(folder) as is_ours:
        state = read_sent(folder, server.settings.uri) if is_ours else None
        if state is not None:
            send_run(folder, server, state, tail)


def _tail(folder: Path) -> RowsTail:
    return RowsTail(folder / METRICS_NAME)


def _is_training(folder: Path) -> bool:
    """Whether a process trains into a folder."""
    try:
        with (folder / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False

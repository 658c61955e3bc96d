"""mlflow.json in a run's folder: how far a tracking server has the run."""

from __future__ import annotations

import fcntl
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from detection.training.atomic import write_text
from detection.training.tracking.server import RunStatus

_NAME: Final = "mlflow.json"
_LOCK_NAME: Final = ".mlflow-lock"


@dataclass(slots=True)
class SentState:
    """What a server has of a run, and what it is still to get.

    Attributes:
        uri: of the server.
        key: a tag of the run there, by which it is found if the answer to its creation was lost.
        run_id: None before it is created.
        next_step: the first step whose metrics it has not.
        proofs: how many judgements of checkpoints it has.
        status, sent_status: how the run goes, and what the server knows of that.
        ended_ms: when it ended, in milliseconds since 1970.
    """

    uri: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_ms: int = field(default_factory=lambda: now_ms())  # noqa: PLW0108  defined below
    run_id: str | None = None
    has_params: bool = False
    next_step: int = 0
    proofs: int = 0
    status: RunStatus = "RUNNING"
    sent_status: RunStatus | None = None
    ended_ms: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the server has all of a run that ended."""
        return self.status != "RUNNING" and self.sent_status == self.status


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def read_sent(folder: Path, uri: str | None = None) -> SentState | None:
    """What a server has of a folder's run; None if nothing is noted, or of another server.

    Args:
        uri: of the server; None is any.
    """
    try:
        content = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        known = {each.name for each in fields(SentState)}
        state = SentState(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return state if uri in (None, state.uri) else None


def write_sent(folder: Path, state: SentState) -> None:
    """Note what a server has."""
    write_text(folder / _NAME, json.dumps(asdict(state), indent=2) + "\n")


@contextmanager
def one_sender(folder: Path) -> Iterator[bool]:
    """Whether no other process sends the folder's run now."""
    with (folder / _LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True

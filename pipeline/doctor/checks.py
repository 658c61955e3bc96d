"""Runs checks side by side. None can hang the report or end it: each has a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from parcels.untrusted import sanitize_text

CheckLevel = Literal["ok", "warning", "problem"]
_REPORT = "The check itself is at fault: report this line, with the output of lotline doctor --json"


@dataclass(frozen=True, slots=True)
class CheckRow:
    """What was found of one thing.

    Attributes:
        level: a problem is what the default needs and does not have; a warning concerns something
            that only some commands need.
        cure: what to type or to do; "" if nothing.
    """

    check: str
    level: CheckLevel
    found: str
    cure: str = ""

    def as_json(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """A check: a function that returns its rows.

    Attributes:
        limit_s: after which it is given up.
        needed: whether the default does not work without it; a failure is then a problem.
        advice: the cure where the check takes too long.
    """

    name: str
    rows: Callable[[], Sequence[CheckRow]]
    limit_s: float = 30.0
    needed: bool = False
    advice: str = "Run lotline doctor again when the machine is less busy"


def run_checks(checks: Sequence[DoctorCheck]) -> Iterator[CheckRow]:
    """The rows of all checks, in the checks' order; they run at the same time."""
    started_s = time.monotonic()
    # Daemon threads: a check that hangs is left behind.
    running = [(check, _start(check)) for check in checks]
    for check, (thread, found) in running:
        thread.join(max(0.0, started_s + check.limit_s - time.monotonic()))
        late = _failed(check, f"no answer within {check.limit_s:g} s", check.advice)
        yield from found[0] if found else [late]


def _start(check: DoctorCheck) -> tuple[threading.Thread, list[Sequence[CheckRow]]]:
    found: list[Sequence[CheckRow]] = []

    def work() -> None:
        try:
            found.append(tuple(check.rows()))
        except Exception as error:  # whatever it is, the other checks go on
            text = f"{type(error).__name__}: {sanitize_text(error)}"
            found.append([_failed(check, f"the check failed: {text}", _REPORT)])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, found


def _failed(check: DoctorCheck, found: str, cure: str) -> CheckRow:
    return CheckRow(check.name, "problem" if check.needed else "warning", found, cure)

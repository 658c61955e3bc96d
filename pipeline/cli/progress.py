"""Progress of long work: a bar on a terminal, plain lines elsewhere, records in a JSON log."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline import log
from pipeline.cli.output import print_message
from pipeline.plurals import count_of
from pipeline.redaction import redactor

LINE_EVERY_S = 10.0


class BarProgress:
    """A rich bar on standard error."""

    def __init__(self, unit: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def message(self, what: str) -> None:
        """A line above the bar, or before it is there."""
        self._bar.console.print(redactor.text(what), markup=False, highlight=False, soft_wrap=True)

    def start(self, total: int, what: str) -> None:
        """Show the bar."""
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def advance(self, count: int) -> None:
        """Move it on."""
        self._bar.advance(self._task, count)

    def stop(self) -> None:
        """Leave it as it is."""
        self._bar.stop()


class LineProgress:
    """A line now and then, for logs and pipes."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def message(self, what: str) -> None:
        """A line of its own."""
        print_message(what)

    def start(self, total: int, what: str) -> None:
        """Say what begins."""
        self._total, self._done, self._what = total, 0, what
        self._started = self._last = time.monotonic()
        self.message(f"{what}: {count_of(total, self._unit)} to do")

    def advance(self, count: int) -> None:
        """Count, and say so when a while has passed or all is done."""
        self._done += count
        now = time.monotonic()
        if self._done < self._total and now - self._last < LINE_EVERY_S:
            return
        self._last = now
        speed = _speed(self._done, now - self._started)
        self.message(f"{self._what}: {self._done:,} of {self._total:,}, {speed}")

    def stop(self) -> None:
        """Nothing is left open."""


class TotalProgress:
    """Progress of what says how far it is, and how far it is to go."""

    def __init__(self, shown: BarProgress | LineProgress, what: str) -> None:
        self._shown = shown
        self._what = what
        self._reached: int | None = None

    def update(self, done: int, total: int) -> None:
        """So much of the total is done."""
        if self._reached is None:
            self._shown.start(total, self._what)
            self._reached = 0
        self._shown.advance(done - self._reached)
        self._reached = done

    @property
    def started(self) -> bool:
        """Whether there was any."""
        return self._reached is not None

    def stop(self) -> None:
        """No more will come."""
        if self._reached is not None:
            self._shown.stop()


def _speed(count: int, seconds: float) -> str:
    rate = count / max(seconds, 1e-3)
    return f"{rate:.0f} a second" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s each"


def progress(unit: str = "properties") -> BarProgress | LineProgress:
    """What fits the place that standard error goes to."""
    return BarProgress(unit) if sys.stderr.isatty() and not log.is_json() else LineProgress(unit)

"""Progress: a bar on a terminal, plain lines elsewhere, records with LOG_FORMAT=json."""

from __future__ import annotations

import sys
import time

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipeline import log
from pipeline.cli.console import console
from pipeline.cli.output import print_message
from pipeline.plurals import count_of
from pipeline.redaction import redactor

LINE_EVERY_S = 10.0
# Columns that a bar with its task, count and times needs.
_BAR_WIDTH = 72


class BarProgress:
    """A `rich` progress bar on standard error."""

    def __init__(self, unit: str) -> None:
        out = console(stderr=True)
        self._is_narrow = out.width < _BAR_WIDTH
        count = (MofNCompleteColumn(), TextColumn(unit, markup=False), TimeElapsedColumn())
        wide = (TextColumn("{task.description}", markup=False), BarColumn(), *count,
                TimeRemainingColumn())  # fmt: skip
        self._bar = Progress(*(count if self._is_narrow else wide), console=out)

    def message(self, what: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(redactor.text(what))

    def start(self, total: int, what: str) -> None:
        """Show the bar; in a narrow terminal only the count, below the task's name."""
        if self._is_narrow:
            self.message(what)
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def advance(self, count: int) -> None:
        """Add to the number of completed items."""
        self._bar.advance(self._task, count)

    def stop(self) -> None:
        """Stop refreshing the bar; it stays on the screen."""
        self._bar.stop()


class LineProgress:
    """A line every `LINE_EVERY_S` seconds, for logs and pipes."""

    def __init__(self, unit: str) -> None:
        self._unit = unit

    def message(self, what: str) -> None:
        """Print a line."""
        print_message(what)

    def start(self, total: int, what: str) -> None:
        """Print the task and its total."""
        self._total, self._done, self._what = total, 0, what
        self._started_s = self._printed_s = time.monotonic()
        self.message(f"{what}: {count_of(total, self._unit)} to do")

    def advance(self, count: int) -> None:
        """Add to the count; print it when due, and at the end."""
        self._done += count
        now = time.monotonic()
        if self._done < self._total and now - self._printed_s < LINE_EVERY_S:
            return
        self._printed_s = now
        speed = _speed_text(self._done, now - self._started_s)
        self.message(f"{self._what}: {self._done:,} of {self._total:,}, {speed}")

    def stop(self) -> None:
        """Nothing to close."""


class TotalProgress:
    """Progress of a task that reports (done, total); starts the display at the first report."""

    def __init__(self, display: BarProgress | LineProgress, what: str) -> None:
        self._display = display
        self._what = what
        self._done: int | None = None

    def update(self, done: int, total: int) -> None:
        """Report that `done` of `total` items are complete."""
        if self._done is None:
            self._display.start(total, self._what)
            self._done = 0
        self._display.advance(done - self._done)
        self._done = done

    @property
    def started(self) -> bool:
        """Whether any progress was reported."""
        return self._done is not None

    def stop(self) -> None:
        """Stop the display."""
        if self._done is not None:
            self._display.stop()


def _speed_text(count: int, seconds: float) -> str:
    rate = count / max(seconds, 1e-3)
    return f"{rate:.0f} a second" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s each"


def progress(unit: str = "properties") -> BarProgress | LineProgress:
    """Return a bar if standard error is a terminal, else plain lines."""
    return BarProgress(unit) if sys.stderr.isatty() and not log.is_json() else LineProgress(unit)

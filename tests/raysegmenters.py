"""Segmenters for the workers of a cluster: with many small chips, or killing their worker."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from segmenters import FreeSegmenter

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask


class SmallChips(FreeSegmenter):
    """Chips so small that many lots are on several of them.

    Args:
        log: a file that gets a line for each chip: process id and bounds.
        fatal_m: (x, y) in metres; segmenting a chip that contains it kills the process.
        once: a file that is created at the first death, and prevents a second one.
    """

    chip_px = 128
    chips_per_batch = 4

    def __init__(
        self,
        log: Path | None = None,
        fatal_m: tuple[float, float] | None = None,
        once: Path | None = None,
    ) -> None:
        super().__init__()
        self._log_file = log
        self._fatal_m = fatal_m
        self._once = once

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if any(self._is_fatal(chip) for chip in chips) and not (self._once and self._once.exists()):
            if self._once:
                self._once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._log_file is not None:
            with self._log_file.open("a", encoding="ascii") as log:
                log.writelines(f"{os.getpid()} {chip.bounds}\n" for chip in chips)
        return super().segment(chips, labels)

    def _is_fatal(self, chip: Chip) -> bool:
        if self._fatal_m is None:
            return False
        left, bottom, right, top = chip.bounds
        return left <= self._fatal_m[0] < right and bottom <= self._fatal_m[1] < top


def build_small(_name: str, _weights: str | None, **more: object) -> SmallChips:
    """A segmenter factory, as `run_batch` expects it."""
    return SmallChips(**more)  # type: ignore[arg-type]  # any argument


def build_without_weights(_name: str, _weights: str | None) -> FreeSegmenter:
    """A segmenter whose weights are missing."""
    raise SegmenterError(f"/weights/sam3.pt: no such file on {socket.gethostname()}")


def build_deadly(_name: str, _weights: str | None) -> FreeSegmenter:
    """A segmenter that kills the process that loads it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")

"""Segmenters for a cluster's workers: many small chips, and those that kill whoever uses them."""

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
    """So small that many lots lie on several chips.

    Args:
        log: a line for each chip, and who was shown it.
        fatal_m: (x, y) on the ground in metres; to look there kills the process.
        once: where its death is noted; it dies of that place no second time.
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
        self._looks = log
        self._fatal_m = fatal_m
        self._once = once

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if any(self._is_fatal(chip) for chip in chips) and not (self._once and self._once.exists()):
            if self._once:
                self._once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._looks is not None:
            with self._looks.open("a", encoding="ascii") as log:
                log.writelines(f"{os.getpid()} {chip.bounds}\n" for chip in chips)
        return super().segment(chips, labels)

    def _is_fatal(self, chip: Chip) -> bool:
        if self._fatal_m is None:
            return False
        left, bottom, right, top = chip.bounds
        return left <= self._fatal_m[0] < right and bottom <= self._fatal_m[1] < top


def small(_name: str, _weights: str | None, **more: object) -> SmallChips:
    """As `run_batch` wants it."""
    return SmallChips(**more)  # type: ignore[arg-type]  # the tests say what they want


def without_weights(_name: str, _weights: str | None) -> FreeSegmenter:
    """A segmenter whose weights are elsewhere."""
    raise SegmenterError(f"/weights/sam3.pt: no such file on {socket.gethostname()}")


def deadly(_name: str, _weights: str | None) -> FreeSegmenter:
    """A segmenter that nobody survives loading."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still there")

"""Counters that add up over calls, workers and machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from detection.timing import StageTimer


@dataclass
class Counters:
    """Counters of one call of a stage, of one worker, or of a run.

    Attributes:
        timer: calls and seconds by stage; stages overlap, so their sum exceeds the run's time.
        requests: HTTP requests by host, failed ones included.
        encoder_calls: chips that the segmenter encoded.
        faults: recovered faults by name, such as "segmenter lost".
    """

    timer: StageTimer = field(default_factory=StageTimer)
    requests: Counter[str] = field(default_factory=Counter)
    encoder_calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counters) -> None:
        """Add the counts of another one."""
        self.timer.add(other.timer)
        self.requests.update(other.requests)
        self.encoder_calls += other.encoder_calls
        self.faults.update(other.faults)

"""What happened while some work was done, as numbers that add up over workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from detection.timing import StageTimer


@dataclass
class Counters:
    """Counts of one worker, of one stage's call, or of a whole run.

    Attributes:
        timer: calls and seconds of each stage; stages that overlap add up to more than the run.
        requests: HTTP requests by host, those that failed among them.
        encoder_calls: chips that the segmenter was shown.
        faults: what went wrong and was mended, by its name: a worker lost, a write tried again.
    """

    timer: StageTimer = field(default_factory=StageTimer)
    requests: Counter[str] = field(default_factory=Counter)
    encoder_calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counters) -> None:
        """What another one counted, too."""
        self.timer.add(other.timer)
        self.requests.update(other.requests)
        self.encoder_calls += other.encoder_calls
        self.faults.update(other.faults)

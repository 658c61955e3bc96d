"""What became of properties, gathered and written so many together."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine

from pipeline.store import properties as queue
from pipeline.store import writer
from pipeline.store.outcomes import Outcome, RunInfo, Written
from pipeline.store.properties import LeasedProperty

LEASE_S = 900.0

# Many together cost little more than one; but what is found is not kept waiting for long, so that
# progress is seen, and a crash loses little.
CHUNK_LOTS = 500
CHUNK_S = 1.0

# Told of each property that was written, and with None of one that was not the owner's any more.
Told = Callable[[LeasedProperty, Outcome, Written | None], None]


class ChunkWriter:
    """Gathers outcomes of what an owner leased, and writes a chunk when there is enough."""

    def __init__(self, engine: Engine, run: RunInfo, owner: str, told: Told) -> None:
        self._engine = engine
        self._run = run
        self._owner = owner
        self._told = told
        self._waiting: list[tuple[LeasedProperty, Outcome]] = []
        self._written = self._renewed = time.monotonic()

    def add(self, lease: LeasedProperty, outcome: Outcome) -> int:
        """Take an outcome; how many properties were written, 0 while they are gathered."""
        self._waiting.append((lease, outcome))
        is_late = time.monotonic() - self._written > CHUNK_S
        return self.flush() if is_late or len(self._waiting) >= CHUNK_LOTS else 0

    def flush(self) -> int:
        """Write what waits; how many properties that were."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._renew()
            outcomes = [outcome for _, outcome in waiting]
            written = writer.write(self._engine, self._run, outcomes, self._owner)
            for lease, outcome in waiting:
                self._told(lease, outcome, written.get(lease.id))
        self._written = time.monotonic()
        return len(waiting)

    def _renew(self) -> None:
        """Hold the leases for longer when a while has passed."""
        if time.monotonic() - self._renewed > LEASE_S / 10:
            with self._engine.begin() as conn:
                queue.renew(conn, self._owner, LEASE_S)
            self._renewed = time.monotonic()

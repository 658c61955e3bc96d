"""What a worker tells the driver beside its result: counts, and what it logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from queue import Empty, SimpleQueue

from parcels.arcgis.http.rate_limit import drain_calls
from pipeline.batch.counters import Counters


@dataclass
class WorkerTelemetry:
    """Of one call of a stage. It can be sent to another process."""

    counters: Counters = field(default_factory=Counters)
    records: list[logging.LogRecord] = field(default_factory=list)

    def add(self, other: WorkerTelemetry) -> None:
        """What another call told, too."""
        self.counters.add(other.counters)
        self.records += other.records

    def log(self) -> None:
        """Let the records go on as if they had been made here, once."""
        for record in self.records:
            logging.getLogger(record.name).handle(record)
        self.records.clear()


class _Keeper(QueueHandler):
    """Keeps the records of its process, as they can be sent, until they are told."""

    def __init__(self) -> None:
        self._held: SimpleQueue[logging.LogRecord] = SimpleQueue()
        super().__init__(self._held)
        self.setLevel(logging.WARNING)

    def drain(self) -> list[logging.LogRecord]:
        """Those since this was last asked."""
        records = []
        with suppress(Empty):
            while True:
                records.append(self._held.get_nowait())
        return records


_keeper = _Keeper()


@contextmanager
def collect_telemetry() -> Iterator[WorkerTelemetry]:
    """Counts of what happens inside; requests, and warnings or worse that are logged, of the
    whole process since this was last used.
    """
    logging.getLogger().addHandler(_keeper)  # which does nothing the second time
    told = WorkerTelemetry()
    try:
        yield told
    finally:
        told.counters.requests.update(drain_calls())
        told.records += _keeper.drain()

"""Telemetry that a worker returns beside its result: counters and log records."""

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
    """The telemetry of one or more calls of a stage; picklable."""

    counters: Counters = field(default_factory=Counters)
    records: list[logging.LogRecord] = field(default_factory=list)

    def add(self, other: WorkerTelemetry) -> None:
        """Add the telemetry of other calls."""
        self.counters.add(other.counters)
        self.records += other.records

    def log(self) -> None:
        """Log the records in this process, and clear them."""
        for record in self.records:
            logging.getLogger(record.name).handle(record)
        self.records.clear()


class _RecordCollector(QueueHandler):
    """Collects the process's warnings and errors, in picklable form."""

    def __init__(self) -> None:
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        super().__init__(self._records)
        self.setLevel(logging.WARNING)

    def drain(self) -> list[logging.LogRecord]:
        """The records since the last call."""
        records = []
        with suppress(Empty):
            while True:
                records.append(self._records.get_nowait())
        return records


_collector = _RecordCollector()


@contextmanager
def collect_telemetry() -> Iterator[WorkerTelemetry]:
    """Collect what happens in the block; requests and log records are those of the process."""
    logging.getLogger().addHandler(_collector)  # has no effect if it is added already
    telemetry = WorkerTelemetry()
    try:
        yield telemetry
    finally:
        telemetry.counters.requests.update(drain_calls())
        telemetry.records += _collector.drain()

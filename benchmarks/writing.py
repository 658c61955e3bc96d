"""Writing results: one lot at a time or in chunks, with one writer or two, and in other ways."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from benchmarks import synthetic_lots, ways
from benchmarks.commands import ROOT
from benchmarks.results import Result, save
from benchmarks.scratch import OWNER, lease, scratch_county, server_s
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Processed, RunInfo

LOTS = 6_000
ONE_BY_ONE = 300
RUNS = 3

Write = Callable[[Engine, RunInfo, Sequence[Processed]], None]


def run() -> None:
    rows = []
    one = _median(ONE_BY_ONE, _one_by_one)
    rows.append(_row("one at a time, about 20 statements each", one, one))
    for size, writers in ((1, 1), (10, 1), (100, 1), (500, 1), (1000, 1), (500, 2)):
        count = LOTS if size > 10 else ONE_BY_ONE
        figures = _median(count, _in_chunks(size, writers))
        many = "writers" if writers > 1 else "writer"
        rows.append(_row(f"chunks of {size:,}, {writers} {many}", figures, one))
    rows.append(_row("chunks of 500, written again", _median(LOTS, _in_chunks(500, 1), True), one))
    save(
        Result(
            name="writing",
            order=35,
            title="Writing lots to PostGIS",
            command="python -m benchmarks writing",
            columns=[
                "method",
                "lots/s",
                "speedup",
                "Python CPU, ms/lot",
                "PostgreSQL CPU, ms/lot",
            ],
            rows=rows,
            notes=[
                f"Synthetic lots with {len(synthetic_lots.THINGS)} detections of "
                f"{synthetic_lots.CORNERS} corners each, three labels, in a new embedded "
                f"database that flushes each commit to disk; the median of {RUNS} runs.",
            ],
        )
    )
    save(ways.measure_ways())


Figures = tuple[float, float, float]


def _median(count: int, write: Write, twice: bool = False) -> Figures:
    """Median lots per second, and CPU milliseconds per lot in this process and in the server."""
    figures = [_figures(count, write, twice) for _ in range(RUNS)]
    rate, client_ms, server_ms = (
        statistics.median(values) for values in zip(*figures, strict=True)
    )
    return rate, client_ms, server_ms


def _figures(count: int, write: Write, twice: bool) -> Figures:
    with scratch_county(count) as (database, leased):
        processed = [
            Processed(fk, *lot)
            for fk, lot in zip(leased, synthetic_lots.results(0, count), strict=True)
        ]
        info = lease(database.engine, count)
        if twice:
            write(database.engine, info, processed)
            with database.engine.begin() as conn:
                conn.execute(text("UPDATE lotline.run SET state = 'finished'"))
            info = lease(database.engine, count)
        server_before_s, client_before_s = server_s(database), time.process_time()
        started_s = time.perf_counter()
        write(database.engine, info, processed)
        duration_s = time.perf_counter() - started_s
        client_cpu_s = time.process_time() - client_before_s
        server_cpu_s = server_s(database) - server_before_s
        with database.engine.connect() as conn:
            not_done = text("SELECT count(*) FROM lotline.property WHERE state <> 'done'")
            assert conn.execute(not_done).scalar_one() == 0
    return count / duration_s, client_cpu_s / count * 1e3, server_cpu_s / count * 1e3


def _one_by_one(engine: Engine, info: RunInfo, lots: Sequence[Processed]) -> None:
    sys.path.append(str(ROOT / "tests" / "integration"))
    from onelot import write_lot

    for lot in lots:
        with engine.begin() as conn:
            write_lot(conn, info, lot.property_fk, lot.boundary, lot.result)


def _in_chunks(size: int, writers: int) -> Write:
    def write(engine: Engine, info: RunInfo, lots: Sequence[Processed]) -> None:
        chunks = [lots[i : i + size] for i in range(0, len(lots), size)]
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(lambda chunk: writer.write(engine, info, chunk, OWNER), chunks))

    return write


def _row(how: str, figures: Figures, first: Figures) -> list[str]:
    rate, client_ms, server_ms = figures
    return [how, f"{rate:,.0f}", f"{rate / first[0]:.1f}", f"{client_ms:.2f}", f"{server_ms:.2f}"]

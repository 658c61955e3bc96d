"""Ways of writing detections into PostGIS: binary COPY, SQLAlchemy's core, GeoPandas and the ORM.

All write the same rows into `lotline.detection` with its constraints, foreign keys, indexes and
triggers, in one transaction for each chunk of lots. Each starts with shapely geometries, in the
fastest form that we know for many rows.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields

import geopandas
import shapely
from shapely import MultiPolygon
from sqlalchemy import Connection, Engine, create_engine, insert, text
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks import synthetic_lots
from benchmarks.memory import forget_peak, peak_mb, resident_mb
from benchmarks.results import Result
from benchmarks.scratch import OWNER, lease, scratch_county, server_s
from pipeline.store import tables
from pipeline.store.bulk_copy import StagingTable
from pipeline.store.results import writer
from pipeline.store.results.findings import collect_findings
from pipeline.store.results.outcomes import Processed, RunInfo

LOTS = 6_000
LOTS_A_TRANSACTION = 500
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `lotline.detection`."""

    property_fk: int
    boundary_fk: int
    run_fk: int
    chip_sha256: str
    label: str
    prompt: str
    segmenter: str
    score: float
    relation: str
    geom: MultiPolygon
    area_m2: float
    clipped_area_m2: float
    whole_area_m2: float
    fingerprint: str


COLUMNS = tuple(field.name for field in fields(Row))

_STAGE = StagingTable(
    "staged_detection",
    dict(
        zip(
            COLUMNS,
            ("bigint", "bigint", "bigint", "text", "text", "text", "text", "float8", "text",
             "geometry(MultiPolygon, 4326)", "float8", "float8", "float8", "text"),
            strict=True,
        )
    ),
    key="property_fk, fingerprint",
)  # fmt: skip
_NAMES = ", ".join(COLUMNS)
_MERGE = text(f"INSERT INTO lotline.detection ({_NAMES}) SELECT {_NAMES} FROM {_STAGE.name}")


class _Base(DeclarativeBase):
    """Base of classes that are mapped to existing tables."""


class _Detection(_Base):
    __table__ = tables.detection


def copy(conn: Connection, rows: Sequence[Row]) -> None:
    """Binary COPY into a temporary table, then one INSERT, as `pipeline.store` does."""
    outlines = shapely.to_wkb([row.geom for row in rows])
    geom_index = COLUMNS.index("geom")
    values = [[getattr(row, name) for name in COLUMNS] for row in rows]
    for value, outline in zip(values, outlines, strict=True):
        value[geom_index] = outline
    _STAGE.copy_rows(conn, values)
    conn.execute(_MERGE)


def core(conn: Connection, rows: Sequence[Row]) -> None:
    """One INSERT, executed for many rows: psycopg sends them in a pipeline."""
    conn.execute(insert(tables.detection), _dicts(rows))


def core_values(conn: Connection, rows: Sequence[Row]) -> None:
    """The same with RETURNING: SQLAlchemy then puts many rows into one statement."""
    conn.execute(insert(tables.detection).returning(tables.detection.c.id), _dicts(rows)).all()


def to_postgis(conn: Connection, rows: Sequence[Row]) -> None:
    """`GeoDataFrame.to_postgis`, which copies CSV straight into the table."""
    values = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    frame = geopandas.GeoDataFrame(values, geometry="geom", crs="EPSG:4326")
    frame.to_postgis("detection", conn, schema="lotline", if_exists="append")


def orm(conn: Connection, rows: Sequence[Row]) -> None:
    """Objects of a mapped class, added to a session together."""
    with Session(conn) as session:
        session.add_all([_Detection(**values) for values in _dicts(rows)])
        session.flush()


def _dicts(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Rows with geometry as hexadecimal EWKB, which GeoAlchemy2 passes on unchanged."""
    shapes = shapely.set_srid([row.geom for row in rows], 4326)
    outlines = shapely.to_wkb(shapes, hex=True, include_srid=True)
    return [
        {name: outline if name == "geom" else getattr(row, name) for name in COLUMNS}
        for row, outline in zip(rows, outlines, strict=True)
    ]


Way = Callable[[Connection, Sequence[Row]], None]
WAYS: dict[str, Way] = {
    "binary COPY into a staging table, one INSERT": copy,
    "GeoPandas `to_postgis` (COPY of CSV)": to_postgis,
    "SQLAlchemy core, many rows per statement": core_values,
    "SQLAlchemy core, executemany": core,
    "SQLAlchemy ORM, `add_all`": orm,
}


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost of writing all rows in one way.

    Attributes:
        duration_s: wall-clock time.
        client_cpu_s, server_cpu_s: CPU time of this process and of the server.
        peak_mb: additional memory of the process.
    """

    duration_s: float
    client_cpu_s: float
    server_cpu_s: float
    peak_mb: float


def measure_ways(lots: int = LOTS, rounds: int = ROUNDS) -> Result:
    """Write the same rows in each of the ways, in turn, for a number of rounds."""
    figures: dict[str, list[Figures]] = {name: [] for name in WAYS}
    with scratch_county(lots) as (database, ids):
        run = lease(database.engine, lots)
        # Writes boundaries, chips and the run; detections are deleted before each round.
        for start in range(0, lots, LOTS_A_TRANSACTION):
            chunk = _processed(ids[start : start + LOTS_A_TRANSACTION], start)
            writer.write(database.engine, run, chunk, OWNER)
        for _ in range(rounds):
            for name in WAYS:
                _delete_detections(database.engine)
                server_before_s = server_s(database)
                duration_s, client_cpu_s, peak_mb = _in_a_process(name, database.url, run, ids)
                server_cpu_s = server_s(database) - server_before_s
                figures[name].append(Figures(duration_s, client_cpu_s, server_cpu_s, peak_mb))
                _check(database.engine, len(ids) * len(synthetic_lots.THINGS))
    slowest_s = statistics.median(each.duration_s for each in figures["SQLAlchemy ORM, `add_all`"])
    count = lots * len(synthetic_lots.THINGS)
    return Result(
        name="writing_ways",
        order=36,
        title="Methods of writing detections to PostGIS",
        command="python -m benchmarks writing",
        columns=["method", "detections/s", "speedup over the ORM", "Python CPU, ms/1,000",
                 "PostgreSQL CPU, ms/1,000", "memory, MB"],
        rows=[_row(name, each, count, slowest_s) for name, each in figures.items()],
        notes=[
f"The same {count:,} detections of {synthetic_lots.CORNERS} corners, from "
"shapely geometries to `lotline.detection` with its checks, foreign keys, "
f"indexes and triggers, {LOTS_A_TRANSACTION} lots per transaction; a process "
f"per method, the median of {rounds} rounds. PostgreSQL's work per row is "
"the same for all methods. Memory is the maximum added while writing.",
],
    )  # fmt: skip


def _row(how: str, figures: Sequence[Figures], count: int, slowest_s: float) -> list[str]:
    duration_s, client_cpu_s, server_cpu_s, peak_mb = (
        statistics.median(getattr(each, field.name) for each in figures)
        for field in fields(Figures)
    )
    ms = 1e6 / count  # from seconds for all detections to milliseconds for a thousand
    return [
        how, f"{count / duration_s:,.0f}", f"{slowest_s / duration_s:.1f}",
        f"{client_cpu_s * ms:.0f}", f"{server_cpu_s * ms:.0f}", f"{peak_mb:.0f}",
    ]  # fmt: skip


def _processed(ids: Sequence[int], first: int) -> list[Processed]:
    lots = zip(ids, synthetic_lots.results(first, len(ids)), strict=True)
    return [Processed(fk, boundary, result) for fk, (boundary, result) in lots]


def _delete_detections(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        # Disables the trigger that refuses TRUNCATE.
        conn.execute(text("SET session_replication_role = replica"))
        conn.execute(text("TRUNCATE lotline.detection CASCADE"))
        conn.execute(text("RESET session_replication_role"))
        conn.execute(text("CHECKPOINT"))


def _check(engine: Engine, count: int) -> None:
    with engine.connect() as conn:
        there = text("SELECT count(*), count(DISTINCT fingerprint) FROM lotline.detection "
                     "WHERE ST_SRID(geom) = 4326 AND state = 'proposed'")  # fmt: skip
        assert conn.execute(there).one() == (count, count)


def _in_a_process(
    name: str, url: str, run: RunInfo, ids: Sequence[int]
) -> tuple[float, float, float]:
    """Write in a new process; returns its duration and CPU time in seconds, and memory in MB."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as process:
        return process.submit(_write_all, name, url, run, ids).result()


def _write_all(name: str, url: str, run: RunInfo, ids: Sequence[int]) -> tuple[float, float, float]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    write = WAYS[name]
    with engine.connect() as conn:
        found = text("SELECT property_fk, id FROM lotline.boundary")
        boundary_of = {row.property_fk: row.id for row in conn.execute(found)}
    chunks = [
        _rows(run, _processed(ids[start : start + LOTS_A_TRANSACTION], start), boundary_of)
        for start in range(0, len(ids), LOTS_A_TRANSACTION)
    ]
    before_mb = resident_mb()
    forget_peak()
    started_s, cpu_before_s = time.perf_counter(), time.process_time()
    for chunk in chunks:
        with engine.begin() as conn:
            write(conn, chunk)
    duration_s = time.perf_counter() - started_s
    cpu_s = time.process_time() - cpu_before_s
    engine.dispose()
    return duration_s, cpu_s, peak_mb() - before_mb


def _rows(run: RunInfo, lots: Sequence[Processed], boundary_of: dict[int, int]) -> list[Row]:
    chip_of = {lot.property_fk: lot.result.chip for lot in lots}
    rows = []
    for each in collect_findings(run, lots):
        found, chip = each.detection, chip_of[each.property_fk]
        assert chip is not None
        rows.append(
            Row(
                each.property_fk, boundary_of[each.property_fk], run.id, chip.sha256, found.label,
                found.prompt, run.segmenter, found.score, found.relation, found.geometry,
                found.area_m2, found.clipped_area_m2, found.whole_area_m2, each.fingerprint,
            )
        )  # fmt: skip
    return rows

"""Run batches as separate processes, and compare what they wrote to the database.

`python tests/batches.py FOLDER KEY LOG [CHUNK_LOTS]` runs a batch with the free segmenter, which
does no inference, and prints its result as one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
from largecounty import KEY, ODD, TWIN, LargeCounty

LOTLINE = str(Path(sys.executable).with_name("lotline"))

# Rows without the keys and times that differ from run to run.
_ROWS = {
    "property": """
SELECT p.property_id, p.state, p.reason, replace(p.detail, p.county, ''), p.coverage_fraction,
    p.method, p.located_by, ST_AsBinary(p.located_point), p.confidence, p.matched_address,
    p.chip_sha256, b.version
FROM lotline.property p LEFT JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = %(county)s ORDER BY 1
""",
    "boundary": """
SELECT p.property_id, b.version, b.source, ST_AsBinary(b.geom), b.area_m2, b.origin, b.parcel_ids
FROM lotline.boundary b JOIN lotline.property p ON p.id = b.property_fk
WHERE p.county = %(county)s ORDER BY 1, 2
""",
    "detection": """
SELECT p.property_id, d.label, ST_AsBinary(d.geom), b.version, d.chip_sha256, d.prompt,
    d.segmenter, d.weights_sha256, d.score, d.relation, d.area_m2, d.clipped_area_m2,
    d.whole_area_m2, d.state, d.review_fk IS NOT NULL, d.version, d.fingerprint
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
JOIN lotline.boundary b ON b.id = d.boundary_fk
WHERE p.county = %(county)s ORDER BY 1, 2, 3, 4
""",
    "measurement": """
SELECT p.property_id, m.label, m.area_m2, m.detection_count, m.coverage_fraction, m.source,
    m.current,
    b.version, ARRAY(
        SELECT d.fingerprint FROM lotline.measurement_detection md
        JOIN lotline.detection d ON d.id = md.detection_fk
        WHERE md.measurement_fk = m.id ORDER BY 1)
FROM lotline.measurement m JOIN lotline.property p ON p.id = m.property_fk
JOIN lotline.boundary b ON b.id = m.boundary_fk
WHERE p.county = %(county)s ORDER BY 1, 2, m.id
""",
    "chip": """
SELECT c.* FROM lotline.chip c WHERE EXISTS (
    SELECT FROM lotline.property p WHERE p.county = %(county)s AND p.chip_sha256 = c.sha256)
ORDER BY sha256
""",
}

_INCONSISTENT = """
SELECT p.property_id, p.state, 'has ' || count(DISTINCT m.label) || ' measurements' FROM
lotline.property p LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE p.county = %(county)s GROUP BY p.id
HAVING count(DISTINCT m.label) <> CASE WHEN p.state = 'done' THEN %(labels)s ELSE 0 END
UNION ALL
SELECT p.property_id, p.state, 'has a detection and no result' FROM lotline.property p
WHERE p.county = %(county)s AND p.state <> 'done'
    AND EXISTS (SELECT FROM lotline.detection d WHERE d.property_fk = p.id)
UNION ALL
SELECT p.property_id, p.state, 'has a measurement of missing detections' FROM lotline.property p
JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE p.county = %(county)s AND m.detection_count <> (
    SELECT count(*) FROM lotline.measurement_detection md JOIN lotline.detection d
    ON d.id = md.detection_fk WHERE md.measurement_fk = m.id AND d.state <> 'superseded')
"""

# Labels of the free segmenter.
LABELS = 4

Rows = dict[str, list[tuple[Any, ...]]]


def county_rows(url: str, county: str) -> Rows:
    """All rows of a county, in an order that does not depend on when they were written."""
    with psycopg.connect(url) as conn:
        return {name: conn.execute(q, {"county": county}).fetchall() for name, q in _ROWS.items()}


def inconsistent_properties(url: str, county: str, labels: int) -> list[tuple[Any, ...]]:
    """Properties whose state, detections and measurements of `labels` labels do not agree."""
    with psycopg.connect(url) as conn:
        return conn.execute(_INCONSISTENT, {"county": county, "labels": labels}).fetchall()


def count_by_state(url: str, county: str) -> dict[str, int]:
    """Number of properties by state; empty before the tables exist."""
    query = "SELECT state, count(*) FROM lotline.property WHERE county = %s GROUP BY state"
    with psycopg.connect(url) as conn:
        try:
            return {str(state): int(count) for state, count in conn.execute(query, [county])}
        except psycopg.errors.UndefinedTable:
            return {}


def leased_properties(url: str, county: str) -> list[str]:
    """The leased properties, including those of killed batches."""
    query = "SELECT property_id FROM lotline.property WHERE county = %s AND state = 'leased'"
    with psycopg.connect(url) as conn:
        return [property_id for (property_id,) in conn.execute(query, [county])]


def count_finished(url: str, county: str) -> int:
    """Number of properties that are done, failed or without imagery."""
    states = count_by_state(url, county)
    return sum(states.get(name, 0) for name in ("done", "no_imagery", "failed"))


def wait_for(ready: Callable[[], bool], batch: Batch | None = None, seconds: float = 120) -> None:
    """Poll until `ready`; fail if the batch ends before, or at the timeout."""
    deadline_s = time.monotonic() + seconds
    while not ready():
        assert batch is None or batch.process.poll() is None, batch.wait()
        assert time.monotonic() < deadline_s, "timed out"
        time.sleep(0.005)


@dataclass(frozen=True)
class Batch:
    """A running process, in its own process group as a shell starts it."""

    process: subprocess.Popen[str]

    def wait(self, seconds: float = 300) -> tuple[int, str, str]:
        """Wait for the end; return exit code, standard output and standard error."""
        output, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, output, errors

    def group(self) -> list[psutil.Process]:
        """All live processes of the process group."""
        group = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                is_dead = process.status() == psutil.STATUS_ZOMBIE
                if os.getpgid(process.pid) == self.process.pid and not is_dead:
                    group.append(process)
        return group

    def resident_mb(self) -> float:
        """Resident memory of the process and its children, without PostgreSQL."""
        total = 0
        with contextlib.suppress(psutil.Error):  # a process may end meanwhile
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                total += process.memory_info().rss
        return total / 1e6

    def kill(self, *, alone: bool) -> None:
        """`kill -9` the process alone, or its whole group."""
        if alone:
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send a signal to the whole group, as a terminal does at Ctrl-C."""
        os.killpg(self.process.pid, number)


@contextlib.contextmanager
def start_process(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[Batch]:
    """Start a command in its own process group, which is killed at the end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Batch(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def assert_equal_to_clean_run(url: str, county: LargeCounty, home: Path) -> None:
    """The rows equal those of an undisturbed run; nothing is inconsistent or leased."""
    with start_process(
        free_segmenter_command(county, TWIN, home / "clean"), home, environment(url, home)
    ) as batch:
        code, _, errors = batch.wait()
        assert code == 0, errors
    assert leased_properties(url, KEY) == []
    assert inconsistent_properties(url, KEY, LABELS) == []
    ours, clean = county_rows(url, KEY), county_rows(url, TWIN)
    assert len(clean["property"]) == county.lots + len(ODD)
    for name in clean:
        assert ours[name] == clean[name], name


def free_segmenter_command(
    county: LargeCounty, key: str, log: Path, chunk_lots: int = 0
) -> list[str]:
    """The command of a batch with the free segmenter; 0: the default chunk size."""
    chunk = [str(chunk_lots)] if chunk_lots else []
    return [sys.executable, __file__, str(county.folder), key, str(log), *chunk]


def spectral_command(county: LargeCounty, *more: str) -> list[str]:
    """The command-line tool, with the segmenter that needs no weights."""
    files = ("--registry", str(county.registry), "--properties", str(county.properties))
    return [LOTLINE, "batch", "--county", KEY, "--segmenter", "spectral", *files, *more]


def environment(url: str | None, home: Path) -> dict[str, str]:
    """Environment of a batch on a database (None: embedded), without the caller's settings."""
    env = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    env |= {"LOTLINE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return env if url is None else {**env, "DATABASE_URL": url}


_SETTINGS = (
    "DATABASE_URL",
    "COUNTY",
    "REGISTRY",
    "PROPERTIES",
    "SEGMENTER",
    "LIMIT",
    "AGAIN",
    "OUT",
)


def _main(folder: str, key: str, log: str, chunk_lots: str = "") -> None:
    from segmenters import build_free

    from pipeline import BatchRequest, run_batch
    from pipeline.batch import lease_loop

    if chunk_lots:
        lease_loop.CHUNK_LOTS = int(chunk_lots)

    county = LargeCounty(Path(folder), 0)
    request = BatchRequest(key, county.registry, county.properties, segmenter="free")
    report = run_batch(request, build=partial(build_free, log=Path(log)))
    processed = {f"{state}/{reason}": n for (state, reason), n in report.processed.items()}
    result = {
        "run": report.run_id,
        "processed": processed,
        "wall_s": report.wall_s,
        "busy_s": report.timer.seconds if report.timer else {},
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Memory of an export: constant in the size of the county, for every format.

Each export is a process of its own, whose highest resident set (VmHWM) the kernel knows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from bigcounty import create_county

from pipeline.store.database import Database

KINDS = ("geoparquet", "geojson", "csv")
REGISTRY = """
counties:
  small: {url: "https://gis.example.gov/arcgis/rest/services/A/MapServer", layer: 0}
  large: {url: "https://gis.example.gov/arcgis/rest/services/B/MapServer", layer: 0}
"""
EXPORT = """
import json, os, re, sys, time
from pathlib import Path
from sqlalchemy import create_engine
from parcels import load_registry
from pipeline.export import export_county, geoparquet

key, kind, group_bytes = sys.argv[1:4]
geoparquet.GROUP_BYTES = int(group_bytes)
url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:", 1)
county = load_registry(Path("registry.yaml")).county(key)
resident = [0.0] * 10  # MB, the highest in each tenth of the rows
page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6

def sample(done, total):
    tenth = min(done * 10 // total, 9)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident[tenth] = max(resident[tenth], pages * page_mb)

started = time.perf_counter()
written = export_county(create_engine(url), county, Path(f"{key}-{kind}"), kind, sample)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({
    "rows": sum(count or 0 for count in written.values()),
    "size_mb": sum(path.stat().st_size for path in written) / 1e6,
    "seconds": time.perf_counter() - started,
    "peak_mb": int(peak[1]) * 1024 / 1e6,
    "resident_mb": resident,
}))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc"
)


@dataclass(frozen=True)
class Export:
    rows: int
    size_mb: float
    seconds: float
    peak_mb: float
    resident_mb: list[float]

    def __str__(self) -> str:
        through = " ".join(f"{mb:.0f}" for mb in self.resident_mb)
        return (
            f"{self.rows:,} rows, {self.size_mb:.0f} MB in {self.seconds:.1f} s "
            f"({self.rows / self.seconds:,.0f} a second), peak {self.peak_mb:.0f} MB ({through})"
        )


def export(database: Database, folder: Path, key: str, kind: str, group_bytes: int) -> Export:
    (folder / "registry.yaml").write_text(REGISTRY)
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, key, kind, str(group_bytes)],
        env={**os.environ, "DATABASE_URL": database.url},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = Export(**json.loads(done.stdout))
    print(f"{key} {kind}: {found}")  # noqa: T201 - the figures of `make test-long`
    return found


@pytest.mark.long  # half a minute
def test_memory_does_not_grow_with_the_county(database: Database, tmp_path: Path) -> None:
    """With row groups of a megabyte, which small counties fill too."""
    with database.engine.connect() as conn:
        create_county(conn, "small", 1500, corners=100)
        create_county(conn, "large", 6000, corners=100)
    for kind in KINDS:
        small = export(database, tmp_path, "small", kind, 2**20)
        large = export(database, tmp_path, "large", kind, 2**20)
        assert large.rows == pytest.approx(small.rows * 4, rel=0.01)
        # The large county has 29 MB more of outlines.
        assert large.peak_mb - small.peak_mb < 12, f"{small}; {large}"


@pytest.mark.long  # five minutes
@pytest.mark.timeout(1800)
def test_100_000_lots_use_the_memory_of_30_000(database: Database, tmp_path: Path) -> None:
    with database.engine.connect() as conn:
        create_county(conn, "small", 30_000)
        create_county(conn, "large", 100_000)
    for kind in KINDS:
        small = export(database, tmp_path, "small", kind, 32 * 2**20)
        large = export(database, tmp_path, "large", kind, 32 * 2**20)
        assert large.rows == 497_000
        # It reads 600 MB, 420 MB more than the small county.
        assert large.peak_mb - small.peak_mb < 60
        assert large.peak_mb < 450
        assert max(large.resident_mb[5:]) - max(large.resident_mb[:5]) < 60, "no slow growth"

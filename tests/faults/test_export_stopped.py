"""Fault 10: a full disk or a kill in the middle of an export.

There is no README.md, no partial file has its final name, and the next export is complete.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exports import check_geoparquet
from integration.bigcounty import create_county
from smalldisk import small_disk

from pipeline.export.export_folder import README
from pipeline.store.database import Database

LOTS = 400
DISK_BYTES = 300_000  # the export is several times as large, and so is one of its GeoJSON files
REGISTRY = """
counties:
  synthetic:
    name: Synthetic County
    url: https://gis.example.gov/arcgis/rest/services/Parcels/MapServer
    layer: 0
"""
EXPORT = ("export", "--county", "synthetic", "--registry", "registry.yaml")
KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import create_engine
from parcels import load_registry
from pipeline.export import export_county

def kill(done, total):
    if done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)

url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:", 1)
county = load_registry(Path(sys.argv[1])).county("synthetic")
export_county(create_engine(url), county, Path(sys.argv[2]), "geoparquet", kill)
"""

STOPPED = """
import os, signal, sys
from pipeline.cli import main
from pipeline.cli.progress import LineProgress

stop = signal.Signals[sys.argv.pop(1)]
LineProgress.advance = lambda self, count: os.kill(os.getpid(), stop)
main()
"""


@pytest.fixture
def filled(database: Database) -> Database:
    with database.engine.connect() as conn:
        create_county(conn, "synthetic", LOTS)
    return database


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `DISK_BYTES`."""
    with small_disk(tmp_path / "disk", str(DISK_BYTES)) as folder:
        yield folder


def python(
    database: Database,
    folder: Path,
    code: str,
    *arguments: str,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    (folder / "registry.yaml").write_text(REGISTRY)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "DATABASE_URL": database.url},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )


def lotline_export(
    database: Database,
    folder: Path,
    out: Path,
    kind: str,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    arguments = (*EXPORT, "--out", str(out), "--format", kind)
    code = "from pipeline.cli import main; main()"
    return python(database, folder, code, *arguments, before=before)


def check_disk_full_message(done: subprocess.CompletedProcess[str], out: Path) -> None:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"error: {out} is full after 0.")
    assert "Free some space" in message
    assert "then export again" in message


@pytest.mark.serial  # a small file system is mounted
@pytest.mark.parametrize("kind", ["geoparquet", "geojson", "csv"])
def test_a_full_disk_leaves_no_readme(
    filled: Database, tmp_path: Path, disk: Path, kind: str
) -> None:
    out = disk / "out"
    check_disk_full_message(lotline_export(filled, tmp_path, out, kind), out)
    assert list(out.iterdir()) == [], "the draft is removed"


@pytest.mark.parametrize("kind", ["geoparquet", "geojson", "csv"])
def test_a_file_size_limit_leaves_no_readme_and_the_earlier_files(
    filled: Database, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    complete = lotline_export(filled, tmp_path, out, kind)
    assert complete.returncode == 0, complete.stderr
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    limit_bytes = max(path.stat().st_size for path in out.iterdir()) // 2

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    check_disk_full_message(lotline_export(filled, tmp_path, out, kind, limited), out)
    del before[README]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    again = lotline_export(filled, tmp_path, out, kind)
    assert again.returncode == 0, again.stderr
    assert (out / README).exists()


@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM"])
def test_a_stopped_export_leaves_nothing(filled: Database, tmp_path: Path, stop: str) -> None:
    done = python(filled, tmp_path, STOPPED, stop, *EXPORT, "--out", "out")
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "stopped"
    assert "Exception ignored" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_export_leaves_no_readme_and_the_next_one_cleans_up(
    filled: Database, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed = python(filled, tmp_path, KILLED, "registry.yaml", str(out))
    assert killed.returncode == -9, killed.stderr
    [left] = out.iterdir()
    assert left.is_dir()
    assert any(left.iterdir())
    again = lotline_export(filled, tmp_path, out, "geoparquet")
    assert again.returncode == 0, again.stderr
    assert not left.exists()
    assert (out / README).exists()
    for path in out.glob("*.parquet"):
        check_geoparquet(path)

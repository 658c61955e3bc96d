"""A snapshot of 353,214 synthetic lots: its size, load time and lookup time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely
from shapely import MultiPolygon, Point

from benchmarks.commands import environment
from benchmarks.memory import forget_peak, peak_mb, resident_mb
from benchmarks.results import Result, save
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.cache import CachedLayer, FolderCache, LayerKey, ParcelCache
from parcels.cache.fetch_layer import fetch_layer
from parcels.parcel_source import LayerVersion, Page, ParcelRow

LOTS, PAGE, QUESTIONS = 353_214, 1_000, 5_000
ACROSS = 600
WEST, SOUTH, WIDTH, HEIGHT = -90.3, 35.0, 0.0003, 0.0004
KEY = LayerKey("synthetic", "synthetic", "a" * 32)
STREETS = ("MAIN ST", "OAK AVE", "ELM DR", "2ND ST", "POPLAR CV")


class Lots:
    """A layer of synthetic lots of 12 corners, as many as Shelby County, Tennessee, has."""

    snapshot_origin = KEY.origin

    def layer_version(self) -> LayerVersion:
        """See `HarvestableLayer`."""
        return LayerVersion(last_edit_ms=1)

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        """See `HarvestableLayer`."""
        for start in range(after_object_id or 0, LOTS, PAGE):
            numbers = range(start, min(start + PAGE, LOTS))
            hits = tuple(_hit(number) for number in numbers)
            yield Page(hits, numbers[-1] + 1, numbers[-1] + 1, LOTS)


def _hit(number: int) -> ParcelRow:
    x, y = WEST + number % ACROSS * WIDTH, SOUTH + number // ACROSS * HEIGHT
    box = shapely.segmentize(shapely.box(x, y, x + WIDTH * 0.9, y + HEIGHT), WIDTH / 2.9)
    site = SiteAddress(line=f"{100 + number % 4000} {STREETS[number % 5]}", postcode="00000")
    return ParcelRow(f"{number:06d}  00001", MultiPolygon([box]), number + 1, site)


def _points() -> list[Point]:
    rows = np.random.default_rng(7).integers(0, LOTS - 1, QUESTIONS)
    return [
        Point(WEST + (row % ACROSS + 0.4) * WIDTH, SOUTH + (row // ACROSS + 0.5) * HEIGHT)
        for row in rows.tolist()
    ]


def _ask(layer: CachedLayer) -> dict[str, float]:
    """Return the seconds of each kind of lookup, including its index, for a new process."""
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    copy = layer.snapshot()
    assert copy is not None
    assert copy.rows == LOTS
    seconds["load"] = time.perf_counter() - started
    addresses = [
        StreetAddress(str(100 + n % 4000), STREETS[n % 5], STREETS[n % 5].split()[0])
        for n in range(0, 100_000, 200)
    ]
    for name, ask in (
        ("points", lambda: copy.at_points(_points())),
        ("ids", lambda: copy.with_ids([f"{n:06d}  00001" for n in range(QUESTIONS)])),
        ("addresses", lambda: copy.with_addresses(addresses)),
    ):
        started = time.perf_counter()
        found = ask()
        assert all(each.rows for each in found)
        seconds[name] = time.perf_counter() - started
    return seconds


def _fetch(cache: ParcelCache) -> float:
    started = time.perf_counter()
    assert fetch_layer(Lots(), cache.layer(KEY)).rows == LOTS
    return time.perf_counter() - started


def _in_database(home: Path) -> tuple[float, dict[str, float]]:
    from pipeline.store.database import open_database
    from pipeline.store.parcel_cache.database_cache import DatabaseCache

    with open_database(None, home) as database:
        cache = DatabaseCache(database.engine)
        return _fetch(cache), _ask(cache.layer(KEY))


def child(folder: str) -> None:
    """Load a folder's snapshot in a new process; print the figures as JSON."""
    before_mb = resident_mb()
    forget_peak()
    seconds = _ask(FolderCache(Path(folder)).layer(KEY))
    print(json.dumps({**seconds, "mb": peak_mb() - before_mb}))


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        written_s = _fetch(FolderCache(home / "kept"))
        [file] = (home / "kept").glob("synthetic/*/copy.parquet")
        size_mb = file.stat().st_size / 1e6
        asked = [
            sys.executable, "-c",
            f"from benchmarks.kept_parcels import child; child({str(home / 'kept')!r})",
        ]  # fmt: skip
        done = subprocess.run(
            asked, env=environment(home), check=True, capture_output=True, text=True
        )
        folder = json.loads(done.stdout)
        stored_s, database = _in_database(home)
    save(
        Result(
            name="kept_parcels",
            order=45,
            title=f"A snapshot of {LOTS:,} synthetic lots",
            command="python -m benchmarks kept_parcels",
            columns=["", "folder of GeoParquet", "PostGIS"],
            rows=[
                ["write, without server time (s)", f"{written_s:.1f}", f"{stored_s:.1f}"],
                *(
                    [f"{what} (s)", f"{folder[name]:.2f}", f"{database[name]:.2f}"]
                    for name, what in (
                        ("load", "open"),
                        ("points", f"{QUESTIONS:,} points"),
                        ("ids", f"{QUESTIONS:,} parcel ids"),
                        ("addresses", "500 addresses"),
                    )
                ),
            ],
            notes=[
                f"The file has {size_mb:.1f} MB; a process that opens it and runs all these "
                f"lookups uses {folder['mb']:,.0f} MB of memory. PostGIS uses its own "
                "indexes: nothing is loaded into memory, however large the county. The "
                "first lookup of a kind builds the folder's index, which its time includes.",
            ],
        )
    )

"""A synthetic county with 100,000 detections and imagery, and the review panel over it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.warp import transform_bounds
from sqlalchemy import Engine, text

from benchmarks import synthetic_lots
from benchmarks.commands import LOTLINE, environment
from benchmarks.scratch import lease, scratch_county, write_results
from pipeline.county_entry import find_county
from pipeline.store.counties import bind_county

LOTS = 25_000
GSD_M = 0.6
_BLOCK_PX = 512


@dataclass(frozen=True)
class ServedCounty:
    """The panel's address, and the keys of the county's properties in order."""

    address: str
    keys: list[int]
    engine: Engine


@contextmanager
def served_county(folder: Path, lots: int = LOTS) -> Iterator[ServedCounty]:
    """Serve the panel over `lots` measured lots with four detections each."""
    imagery = _write_imagery(folder / "synthetic.tif", lots)
    registry = folder / "registry.yaml"
    registry.write_text(
        f"counties:\n  synthetic:\n    path: {folder}/lots.gpkg\n    imagery: {{path: {imagery}}}\n"
    )
    with scratch_county(lots) as (database, keys):
        write_results(database.engine, lease(database.engine, len(keys)), keys)
        with database.engine.begin() as conn:
            bind_county(conn, find_county("synthetic", registry))
        with database.engine.connect() as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        with _panel(database.url, folder) as address:
            yield ServedCounty(address, keys, database.engine)


def _write_imagery(path: Path, lots: int) -> Path:
    """Noise that compresses like a photograph, in UTM zone 16, over all lots."""
    rows = -(-lots // synthetic_lots.LOTS_A_ROW)
    west, south = synthetic_lots.LON, synthetic_lots.LAT
    east = west + synthetic_lots.LOTS_A_ROW * synthetic_lots.LOT_DEG
    north = south + rows * synthetic_lots.LOT_DEG
    left, bottom, right, top = transform_bounds("EPSG:4326", "EPSG:32616", west, south, east, north)
    width, height = int((right - left) / GSD_M), int((top - bottom) / GSD_M)
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8",
        "crs": "EPSG:32616", "transform": rasterio.Affine(GSD_M, 0, left, 0, -GSD_M, top),
        "tiled": True, "blockxsize": _BLOCK_PX, "blockysize": _BLOCK_PX, "compress": "deflate",
    }  # fmt: skip
    rng = np.random.default_rng(1)
    with rasterio.open(path, "w", **profile) as file:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        for _, window in file.block_windows(1):
            shape = (3, -(-int(window.height) // 8), -(-int(window.width) // 8))
            coarse = rng.integers(40, 200, shape).repeat(8, axis=1).repeat(8, axis=2)
            block = coarse[:, : int(window.height), : int(window.width)]
            file.write((block + rng.integers(0, 16, block.shape)).astype(np.uint8), window=window)
        file.build_overviews([2, 4, 8, 16])
    return path


@contextmanager
def _panel(database_url: str, home: Path) -> Iterator[str]:
    """`lotline review` in a process of its own; yields its address, without a slash at the end."""
    env = {**environment(home), "DATABASE_URL": database_url}
    command = [str(LOTLINE), "review", "--port", "0"]
    with subprocess.Popen(command, env=env, cwd=home, stdout=subprocess.PIPE, text=True) as panel:
        try:
            assert panel.stdout is not None
            for line in panel.stdout:
                if " is at http" in line:
                    yield line.split(" is at ")[1].split(" (")[0].rstrip("/")
                    break
            else:
                raise RuntimeError("the panel did not start")
        finally:
            panel.terminate()


def figures(command: list[str]) -> dict[str, list[float]]:
    """The figures that a process prints as its last line, in JSON."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return dict(json.loads(done.stdout.splitlines()[-1]))

"""A real FeatureServer (Koop, on Node) on loopback: real parcels where they lie, else synthetic."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import requests
import shapely

HERE = Path(__file__).parent / "koop"
_REAL = (
    Path(__file__).resolve().parents[3]
    / "shared/data/real/parcels/Riverside__riverside-6th-adopted040622.zip"
)
_NPM_CI = ["npm", "ci", "--omit=dev", "--omit=optional", "--omit=peer", "--ignore-scripts"]


@dataclass(frozen=True)
class FeatureServer:
    """A running server; `parcels` is what it serves, in EPSG:4326, ids in the column APN."""

    address: str
    parcels: gpd.GeoDataFrame

    @property
    def url(self) -> str:
        return f"{self.address}/parcels/rest/services/all/FeatureServer"

    def fail(self, kind: str, times: int = 1_000_000) -> None:
        """Answer the next calls with a fault of server.js, and count calls from 0."""
        requests.post(
            f"{self.address}/faults", json={"kind": kind, "times": times}, timeout=10
        ).raise_for_status()

    def mend(self) -> None:
        """Answer as it should, and count calls from 0."""
        self.fail("", times=0)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls since the last fault was set: method, url, agent."""
        calls: list[dict[str, Any]] = requests.get(f"{self.address}/calls", timeout=10).json()
        return calls


@contextmanager
def feature_server(parcels: gpd.GeoDataFrame, folder: Path) -> Iterator[FeatureServer]:
    """Serve parcels (EPSG:4326) from 127.0.0.1 until the block ends."""
    _install()
    numbered = parcels.reset_index(drop=True)
    numbered.insert(0, "OBJECTID", range(1, len(numbered) + 1))
    file = folder / "parcels.geojson"
    file.write_text(numbered.to_json(drop_id=True))
    server = subprocess.Popen(
        ["node", "server.js", str(file)],
        cwd=HERE,
        env={**os.environ, "SUPPRESS_NO_CONFIG_WARNING": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        try:
            yield FeatureServer(f"http://127.0.0.1:{_port(server)}", numbered)
        finally:
            server.terminate()


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("listening "):
            return int(line.split()[1])
    raise RuntimeError(f"the feature server ended with {server.wait()} before it listened")


def _install() -> None:
    """`npm ci`, once for each lock file."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, and the real FeatureServer needs it")
    installed, lock = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    with (HERE / "server.js").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two test runs may start at once
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        run = subprocess.run(_NPM_CI, cwd=HERE, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip(f"npm cannot install the real FeatureServer: {run.stderr.strip()[-300:]}")


def some_parcels() -> gpd.GeoDataFrame:
    """Riverside's real parcels where they lie, else synthetic lots; ids in the column APN."""
    if _REAL.exists():
        return gpd.read_file(_REAL)[["APN", "geometry"]]
    return synthetic_lots()


def synthetic_lots() -> gpd.GeoDataFrame:
    """A grid of 12 x 10 synthetic lots with streets between them, and a stack of two."""
    lots = [
        shapely.box(x, y, x + 0.0003, y + 0.0004)
        for x in (-90.0 + i * 0.0004 for i in range(12))
        for y in (35.1 + j * 0.0005 for j in range(10))
    ]
    ids = [f"{number:06d}  00001" for number in range(len(lots))]
    return gpd.GeoDataFrame({"APN": [*ids, "CONDO'1"]}, geometry=[*lots, lots[0]], crs="EPSG:4326")

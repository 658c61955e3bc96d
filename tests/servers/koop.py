"""A FeatureServer (Koop, on Node) on loopback with real parcels if available, else synthetic."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import requests
import shapely

HERE = Path(__file__).parent / "koop"
_REAL = Path(__file__).resolve().parents[3] / "shared/data/real/parcels"
_RIVERSIDE = _REAL / "Riverside__riverside-6th-adopted040622.zip"
_MALIBU = _REAL / "malibu_la_county_parcels.geojson"
_NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
_NPM_CI = ["npm", "ci", "--omit=dev", "--omit=optional", "--omit=peer", "--ignore-scripts"]


@dataclass(frozen=True)
class FeatureServer:
    """A running server; `parcels` is what it serves, in EPSG:4326, ids in the column APN.

    Object ids count from 1 in the order of the rows, unless the parcels have OBJECTID.
    """

    address: str
    parcels: gpd.GeoDataFrame

    @property
    def url(self) -> str:
        return f"{self.address}/parcels/rest/services/all/FeatureServer"

    @property
    def map_url(self) -> str:
        """The same parcels as a MapServer."""
        return f"{self.address}/parcels/rest/services/all/MapServer"

    def fail(self, kind: str, times: int = 1_000_000, **more: Any) -> None:
        """Reply to the next calls with a fault of faults.js, and reset the call count.

        `share` and `seed` choose the calls reproducibly; `on` is a text that a call must contain;
        `retryAfter` is a header; `delayMs` delays every call.
        """
        self._post("/faults", {"kind": kind, "times": times, **more})

    def mend(self) -> None:
        """Work normally, and reset the call count."""
        self._post("/faults", {})

    def slow(self, delay_ms: int) -> None:
        """Work normally but slowly, and reset the call count."""
        self._post("/faults", {"delayMs": delay_ms})

    def edited(self, last_edit_ms: int | None) -> None:
        """Set the last edit in the layer's metadata, or remove it."""
        self._post("/layer", {"lastEditDate": last_edit_ms})

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls since the last fault was set: method, url, agent, form, body_length."""
        calls: list[dict[str, Any]] = requests.get(f"{self.address}/calls", timeout=60).json()
        return calls

    @property
    def most_in_flight(self) -> int:
        """The maximum number of calls in flight since the last fault was set."""
        most: int = requests.get(f"{self.address}/most_in_flight", timeout=60).json()
        return most

    def _post(self, path: str, body: dict[str, Any]) -> None:
        requests.post(f"{self.address}{path}", json=body, timeout=60).raise_for_status()


@contextmanager
def feature_server(
    parcels: gpd.GeoDataFrame,
    folder: Path,
    *,
    wkid: int = 4326,
    max_record_count: int = 1000,
    last_edit_ms: int | None = None,
    supports_pagination: bool = True,
) -> Iterator[FeatureServer]:
    """Serve parcels (EPSG:4326) from 127.0.0.1, stored in the CRS `wkid`, until the block ends."""
    modules = _install()
    numbered = parcels.reset_index(drop=True)
    if "OBJECTID" not in numbered:
        numbered.insert(0, "OBJECTID", range(1, len(numbered) + 1))
    file = folder / "parcels.geojson"
    kept = numbered if wkid == 4326 else numbered.to_crs(3857 if wkid == 102100 else wkid)
    file.write_text(kept.to_json(drop_id=True))
    layer = {
        "wkid": wkid,
        "maxRecordCount": max_record_count,
        "lastEditDate": last_edit_ms,
        "supportsPagination": supports_pagination,
        "fields": [_field(name, numbered[name]) for name in numbered.columns if name != "geometry"],
    }
    server = subprocess.Popen(
        ["node", "server.js", str(file), json.dumps(layer)],
        cwd=HERE,
        env={**os.environ, "NODE_PATH": str(modules), "SUPPRESS_NO_CONFIG_WARNING": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        try:
            yield FeatureServer(f"http://127.0.0.1:{_port(server)}", numbered)
        finally:
            server.terminate()


def _field(name: str, values: pd.Series) -> dict[str, str]:
    if pd.api.types.is_integer_dtype(values):
        return {"name": name, "type": "Integer"}
    return {"name": name, "type": "Double" if pd.api.types.is_float_dtype(values) else "String"}


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("listening "):
            return int(line.split()[1])
    raise RuntimeError(f"the feature server ended with {server.wait()} before it listened")


def _install() -> Path:
    """Koop and what it needs, by `npm ci`, once for each lock file; outside of the working tree."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, and the real FeatureServer needs it")
    wanted = [(HERE / name).read_bytes() for name in _NPM_FILES]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lotline-tests"
    folder = cache / f"koop-{hashlib.sha256(b''.join(wanted)).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    modules = folder / "node_modules"
    with (folder / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # several test runs, or workers of one, may start at once
        if (modules / ".package-lock.json").exists():  # what npm writes last
            return modules
        for name in _NPM_FILES:
            shutil.copy(HERE / name, folder)
        run = subprocess.run(_NPM_CI, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip(f"npm cannot install the real FeatureServer: {run.stderr.strip()[-300:]}")
    return modules


def some_parcels() -> gpd.GeoDataFrame:
    """Riverside's real parcels if available, else synthetic lots; ids in the column APN."""
    # Without the first synthetic lot there is no stack, as at the first of the real ones.
    return riverside_parcels() if _RIVERSIDE.exists() else synthetic_lots().iloc[1:]


def riverside_parcels() -> gpd.GeoDataFrame:
    """1,012 real parcels; ids in the column APN."""
    return _read(_RIVERSIDE)[["APN", "geometry"]]


def malibu_parcels() -> gpd.GeoDataFrame:
    """8,626 real parcels, 107 of them multipart. Their ids, in the column APN, are made up."""
    parcels = _read(_MALIBU).set_crs("EPSG:4326", allow_override=True)
    parcels["APN"] = [f"made-up-{number:05d}" for number in range(1, len(parcels) + 1)]
    return parcels[["APN", "geometry"]]


def with_synthetic_addresses(parcels: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The parcels with made-up house numbers (a float, as some counties keep them) and streets.

    Columns: NUMBER, PREDIR, STREET, SUFFIX, LINE ("12 N MAIN ST"), CITY, ZIP. Row i has the
    number 100 + 2 (i div 5), and its street cycles through five.
    """
    rows = np.arange(len(parcels))
    streets = [
        ("N", "MAIN", "ST"),
        (None, "O'BRIEN", "RD"),
        ("S", "ST JOHNS", "AVE"),
        (None, "100%_REAL", "WAY"),
        (None, "SECOND", "ST"),
    ]
    numbers = 100 + 2 * (rows // len(streets))
    parts = [streets[row % len(streets)] for row in rows]
    lines = [
        " ".join(str(part) for part in (number, *street) if part is not None)
        for number, street in zip(numbers, parts, strict=True)
    ]
    return parcels.assign(
        NUMBER=numbers.astype(float),
        PREDIR=[predir for predir, _, _ in parts],
        STREET=[name for _, name, _ in parts],
        SUFFIX=[suffix for _, _, suffix in parts],
        LINE=lines,
        CITY="SYNTHETIC",
        ZIP="00000",
    )


def synthetic_lots() -> gpd.GeoDataFrame:
    """A grid of 12 x 10 synthetic lots with streets between them, and a stack of two.

    Columns and rows are slightly skewed, so that a coordinate identifies a lot.
    """
    corners = [
        (-90.0 + i * 0.0004 + j * 1e-7, 35.1 + j * 0.0005 + i * 1e-7)
        for i in range(12)
        for j in range(10)
    ]
    lots = [shapely.box(x, y, x + 0.0003, y + 0.0004) for x, y in corners]
    ids = [f"{number:06d}  00001" for number in range(len(lots))]
    return gpd.GeoDataFrame({"APN": [*ids, "CONDO'1"]}, geometry=[*lots, lots[0]], crs="EPSG:4326")


def _read(file: Path) -> gpd.GeoDataFrame:
    if not file.exists():
        pytest.skip(f"real parcels are not here (../shared/data/real/parcels/{file.name})")
    return gpd.read_file(file)

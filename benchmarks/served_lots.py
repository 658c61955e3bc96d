"""A real FeatureServer (the tests' Koop, on loopback) with 20,000 lots, for the benchmarks."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas
import pandas as pd

from benchmarks.commands import ROOT
from parcels import County

sys.path.insert(0, str(ROOT / "tests"))
from servers.koop import feature_server, malibu_parcels

if TYPE_CHECKING:
    from servers.koop import FeatureServer

LOTS = 20_000
WHAT = (
    f"{LOTS:,} lots: Malibu's 8,626 real lots, and copies moved east by one and two degrees. "
    "The server is Koop on loopback, with 1,000 rows per response."
)
# The rate limit costs time by design; without it, only the work is measured.
POLITE, UNLIMITED = 4.0, 100.0


def lots() -> geopandas.GeoDataFrame:
    """Return the lots in EPSG:4326, with synthetic ids in the column APN."""
    real = malibu_parcels()
    moved = [real.assign(geometry=real.geometry.translate(xoff=degrees)) for degrees in range(3)]
    whole = pd.concat(moved, ignore_index=True).iloc[:LOTS]
    whole["APN"] = [f"synthetic-{number:05d}" for number in range(LOTS)]
    return geopandas.GeoDataFrame(whole, crs="EPSG:4326")


@contextmanager
def served() -> Iterator[FeatureServer]:
    """Serve the lots until the block ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        feature_server(lots(), Path(folder), last_edit_ms=1) as server,
    ):
        yield server


def county(server: FeatureServer, calls_per_second: float) -> County:
    """Return the registry entry of the server."""
    return County.model_validate(
        {
            "key": "synthetic",
            "url": server.url,
            "layer": 0,
            "fields": {"parcel_id": "APN"},
            "allow_private": True,
            "calls_per_second": calls_per_second,
        }
    )

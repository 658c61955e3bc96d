"""The lots of 5,000 points: requests to the county's server, and seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import shapely
from shapely import Point

from benchmarks import peers
from benchmarks.results import Result, save
from benchmarks.served_lots import POLITE, UNLIMITED, WHAT, county, served
from parcels import Boundary, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient
from parcels.cache import CachedSource, FolderCache, LayerKey
from parcels.parcel_source import ParcelSource

if TYPE_CHECKING:
    from servers.koop import FeatureServer

POINTS = 5_000
Ids = list[list[str]]
Find = Callable[["FeatureServer", list[Point]], tuple[Ids, float]]


def ours(calls_per_second: float, cache: FolderCache | None = None) -> Find:
    def find(server: FeatureServer, points: list[Point]) -> tuple[Ids, float]:
        entry = county(server, calls_per_second)

        def pause(wait_s: float) -> None:  # a separate `sleep`, so that no limit is shared
            time.sleep(wait_s)

        props = [Property(str(i), point.x, point.y) for i, point in enumerate(points)]
        started = time.perf_counter()
        layer = ArcGISSource(entry, ArcGISClient.for_county(entry, sleep=pause))
        source: ParcelSource = layer
        if cache is not None:
            source = CachedSource(layer, cache, LayerKey.of(entry))
        found = ParcelBoundaryService(entry, source).boundaries(props)
        elapsed_s = time.perf_counter() - started
        return [_ids(boundary) for boundary in found], elapsed_s

    return find


def _ids(found: object) -> list[str]:
    return list(found.parcel_ids) if isinstance(found, Boundary) else []


def peer(name: str) -> Find:
    def find(server: FeatureServer, points: list[Point]) -> tuple[Ids, float]:
        given = {
            "peer": name,
            "url": f"{server.url}/0",
            "points": [[point.x, point.y] for point in points],
        }
        response = peers.ask("peers_points.py", given, timeout_s=3_000)
        return response["ids"], response["seconds"]

    return find


def run() -> None:
    peers.interpreter()
    with tempfile.TemporaryDirectory() as folder, served() as server:
        points = list(server.parcels.geometry.representative_point()[:POINTS])
        true = [set(ids) for ids in _true_ids(server, points)]
        cache_of_points = FolderCache(Path(folder))
        tools: dict[str, Find] = {
            "Lotline, 4 requests/s": ours(POLITE),
            "Lotline, no rate limit": ours(UNLIMITED, cache_of_points),
            "Lotline, the same points from the cache": ours(POLITE, cache_of_points),
            f"one query per point, requests {peers.version('requests')}": peer("requests"),
            f"one query per point, pyogrio {peers.version('pyogrio')}": peer("pyogrio"),
        }
        rows = [_row(name, find, server, points, true) for name, find in tools.items()]
    save(
        Result(
            name="points",
            order=44,
            title="Looking up the lots of 5,000 points",
            command="python -m benchmarks points",
            columns=["tool", "requests", "s", "correct"],
            rows=rows,
            notes=[
                f"{WHAT} Requests are counted by the server. A point is correct if the "
                "result contains its lot, among others where lots overlap. Lotline chooses "
                "one lot and measures it; the others return rows. According to GEOS, "
                f"{true.count(set())} of the points are in no lot, because their rings are "
                "invalid. Lotline takes one more polygon for a street, by its shape and its "
                "neighbours. The cache is a folder that the previous run filled. esridump and "
                "restgdf fetch entire layers and are not included.",
            ],
        )
    )


def _true_ids(server: FeatureServer, points: list[Point]) -> Ids:
    lots = server.parcels
    tree = shapely.STRtree(lots.geometry.to_numpy())
    ids: Ids = [[] for _ in points]
    for point, lot in zip(*tree.query(points, predicate="intersects").tolist(), strict=True):
        ids[point].append(lots["APN"].iloc[lot])
    return ids


def _row(
    name: str, find: Find, server: FeatureServer, points: list[Point], true: list[set[str]]
) -> list[str]:
    server.mend()
    ids, elapsed_s = find(server, points)
    right = sum(bool(set(found) & of) for found, of in zip(ids, true, strict=True))
    return [name, f"{len(server.calls):,}", f"{elapsed_s:.1f}", f"{right:,}"]

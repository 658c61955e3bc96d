"""Clients of the review panel: `python -m benchmarks.review_load ADDRESS CLIENTS PACE_S KEY …`.

Each client does what a reviewer's browser does: it opens a property, loads the tiles around it, and
saves a decision about each detection; then it waits until `PACE_S` after it opened the property (0:
it goes on at once). Prints the milliseconds of every request as JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
import shapely
from shapely.geometry import shape

COUNTY = "synthetic"
IMAGERY_ZOOM, VECTOR_ZOOM = 19, 16

Milliseconds = dict[str, list[float]]


class PanelClient:
    """A browser's requests to the panel, and how long each took."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.taken_ms: Milliseconds = defaultdict(list)
        csrf = self.session.get(f"{address}/session", timeout=60).json()["csrf"]
        self.session.headers["X-CSRF-Token"] = csrf

    def timed(self, what: str, method: str, path: str, **more: object) -> requests.Response:
        """Send a request, and keep its milliseconds under `what`."""
        started = time.perf_counter()
        answer = self.session.request(method, self.address + path, timeout=60, **more)  # type: ignore[arg-type]
        self.taken_ms[what].append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
        return answer

    def review(self, key: int) -> None:
        """Open a property with its tiles, and decide about each object."""
        seen = self.timed("property", "GET", f"/v1/review/properties/{key}").json()
        boundary = shape(seen["boundary"])
        for column, row in _tiles(boundary, IMAGERY_ZOOM):
            path = f"/tiles/imagery/{COUNTY}/{IMAGERY_ZOOM}/{column}/{row}.webp"
            self.timed("imagery tile", "GET", path)
        for column, row in _tiles(boundary, VECTOR_ZOOM):
            path = f"/tiles/county/{COUNTY}/{VECTOR_ZOOM}/{column}/{row}.mvt"
            self.timed("vector tile", "GET", path)
        for number, detection in enumerate(seen["detections"]):
            self.timed(
                "save",
                "POST",
                f"/v1/review/detections/{detection['id']}/reviews",
                json=_decision(number, detection),
                headers={"Idempotency-Key": str(uuid.uuid4())},
            )
        self.timed("next property", "GET", f"/v1/review/next?county={COUNTY}&after={key}")


def _decision(number: int, detection: dict[str, Any]) -> dict[str, Any]:
    version = detection["version"]
    if number == 0:
        return {"action": "edit", "version": version, "geometry": detection["geometry"]}
    action = "reject" if number == 1 else "accept"
    return {"action": action, "version": version}


def _tiles(boundary: shapely.geometry.base.BaseGeometry, zoom: int) -> set[tuple[int, int]]:
    west, south, east, north = boundary.bounds
    (left, bottom), (right, top) = _tile(west, south, zoom), _tile(east, north, zoom)
    return {(x, y) for x in range(left, right + 1) for y in range(top, bottom + 1)}


def _tile(lon: float, lat: float, zoom: int) -> tuple[int, int]:
    """Column and row of a place: https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames."""
    size = 2**zoom
    x = (lon + 180) / 360 * size
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * size
    return int(x), int(y)


def _client(address: str, keys: list[int], pace_s: float, delay_s: float) -> Milliseconds:
    browser = PanelClient(address)
    time.sleep(delay_s)
    for key in keys:
        started = time.perf_counter()
        browser.review(key)
        time.sleep(max(0.0, pace_s - (time.perf_counter() - started)))
    return browser.taken_ms


def main() -> None:
    """Run the clients, and print what they measured."""
    address, clients, pace_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    keys = [int(key) for key in sys.argv[4:]]

    def client(number: int) -> Milliseconds:
        # People do not press their keys in step.
        return _client(address, keys[number::clients], pace_s, number * pace_s / clients)

    with ThreadPoolExecutor(clients) as pool:
        found = pool.map(client, range(clients))
        merged: Milliseconds = defaultdict(list)
        for each in found:
            for what, taken_ms in each.items():
                merged[what].extend(taken_ms)
    print(json.dumps(merged))


if __name__ == "__main__":
    main()

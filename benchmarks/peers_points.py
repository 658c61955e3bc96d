"""Run by the peers' Python: looks up the lots at points, one query per point.

Input: {"peer": name, "url": of the layer, "points": [[longitude, latitude], ...]}.
Output: {"ids": for each point its parcel ids, "seconds": …}.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from urllib.parse import urlencode

logging.disable()


def question(x: float, y: float) -> dict[str, str]:
    return {
        "where": "1=1",
        "geometry": f"{x!r},{y!r}",
        "geometryType": "esriGeometryPoint",
        "inSR": "4326",
        "spatialRel": "esriSpatialRelIntersects",
        "outFields": "APN",
        "outSR": "4326",
    }


def pyogrio(url: str, points: list[list[float]]) -> list[list[str]]:
    from pyogrio import read_dataframe

    def at(x: float, y: float) -> list[str]:
        return list(
            read_dataframe(f"ESRIJSON:{url}/query?{urlencode({**question(x, y), 'f': 'json'})}")[
                "APN"
            ]
        )

    return [at(x, y) for x, y in points]


def plain(url: str, points: list[list[float]]) -> list[list[str]]:
    import requests

    session = requests.Session()

    def at(x: float, y: float) -> list[str]:
        answer = session.get(f"{url}/query", params={**question(x, y), "f": "json"}).json()
        return [row["attributes"]["APN"] for row in answer["features"]]

    return [at(x, y) for x, y in points]


PEERS: dict[str, Callable[[str, list[list[float]]], list[list[str]]]] = {
    "pyogrio": pyogrio,
    "requests": plain,
}


def main() -> None:
    given = json.load(sys.stdin)
    find = PEERS[given["peer"]]
    started = time.perf_counter()
    ids = find(given["url"], given["points"])
    json.dump({"ids": ids, "seconds": time.perf_counter() - started}, sys.stdout)


main()

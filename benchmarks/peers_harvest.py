"""Run by the peers' Python: fetches a complete layer as a peer does.

Input: {"peer": name, "url": of the layer, "pause_s": esridump's pause at every fifth request}.
Output: {"ids": the parcel ids, "seconds": …, "error": text or null}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

logging.disable()


def esridump(url: str, pause_s: float) -> list[str]:
    from esridump.dumper import EsriDumper

    layer = EsriDumper(url, pause_seconds=pause_s)
    return [feature["properties"]["APN"] for feature in layer]


def restgdf(url: str, _pause_s: float) -> list[str]:
    import aiohttp
    from restgdf import FeatureLayer

    async def fetch() -> list[str]:
        async with aiohttp.ClientSession() as session:
            layer = await FeatureLayer.from_url(url, session=session)
            return list((await layer.get_gdf())["APN"])

    return asyncio.run(fetch())


def restgdf_split(url: str, _pause_s: float) -> list[str]:
    """Its streaming API, which can split a page that the server truncates."""
    import aiohttp
    from restgdf import FeatureLayer

    async def fetch() -> list[str]:
        async with aiohttp.ClientSession() as session:
            layer = await FeatureLayer.from_url(url, session=session)
            rows = layer.stream_rows(on_truncation="split", max_concurrent_pages=2)
            return [row["APN"] async for row in rows]

    return asyncio.run(fetch())


def pyogrio(url: str, _pause_s: float) -> list[str]:
    from pyogrio import read_dataframe

    query = "where=1%3D1&outFields=*&outSR=4326&orderByFields=OBJECTID&f=json"
    return list(read_dataframe(f"ESRIJSON:{url}/query?{query}")["APN"])


PEERS: dict[str, Callable[[str, float], list[str]]] = {
    "esridump": esridump,
    "restgdf": restgdf,
    "restgdf_split": restgdf_split,
    "pyogrio": pyogrio,
}


def main() -> None:
    given = json.load(sys.stdin)
    told: dict[str, Any] = {"ids": [], "error": None}
    started = time.perf_counter()
    try:
        told["ids"] = PEERS[given["peer"]](given["url"], given["pause_s"])
    except Exception as error:
        told["error"] = f"{type(error).__name__}: {error}"
    told["seconds"] = time.perf_counter() - started
    json.dump(told, sys.stdout)


main()

"""Run by the peers' Python: converts Esri geometries as each peer does, and times it.

Input: {"cases": [Esri geometry, ...], "answer": "the text of a response", "runs": how often}.
Output: for each peer its GeoJSON geometries (or an error's text), and seconds for the response.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from arcgis2geojson import arcgis2geojson
from esridump.esri2geojson import esri2geojson
from shapely.geometry import shape

logging.disable()


def esridump_geometry(geometry: Any) -> Any:  # noqa: ANN401 - JSON
    return esri2geojson({"geometry": geometry})["geometry"]


def arcgis2geojson_geometry(geometry: Any) -> Any:  # noqa: ANN401 - JSON
    return arcgis2geojson(geometry)


PEERS: dict[str, Callable[[Any], Any]] = {
    "arcgis2geojson": arcgis2geojson_geometry,
    "esridump": esridump_geometry,
}


def attempt(convert: Callable[[Any], Any], geometry: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        return {"geometry": convert(geometry)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def seconds(convert: Callable[[Any], Any], answer: str) -> float:
    """Time the conversion of a response's text to shapely polygons."""
    gc.collect()
    gc.freeze()  # as for Lotline
    started = time.perf_counter()
    lots = [shape(convert(feature["geometry"])) for feature in json.loads(answer)["features"]]
    took = time.perf_counter() - started
    assert all(lot.area > 0 for lot in lots)
    return took


def main() -> None:
    given = json.load(sys.stdin)
    told = {
        name: {
            "cases": [attempt(convert, geometry) for geometry in given["cases"]],
            "seconds": [seconds(convert, given["answer"]) for _ in range(given["runs"])],
        }
        for name, convert in PEERS.items()
    }
    json.dump(told, sys.stdout)


main()

"""Correctness on tricky Esri geometries and speed on 10,000 plain ones, against other tools."""

from __future__ import annotations

import gc
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyproj import CRS
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from benchmarks import peers
from benchmarks.results import Result, save
from benchmarks.tricky_cases import Case, U, cases
from parcels.crs import from_wgs84
from parcels.errors import GeometryError
from parcels.esri import polygons_from_esri

LOTS = 10_000
RUNS = 9
DEGREES = {"wkid": 4326}
FEET = {"wkid": 2274}
# Share of the area: chords within 1 mm lose a few hundred-thousandths of a circle.
CLOSE = 1e-4
RIGHT, AFTER_REPAIR, WRONG = "right", "repaired", "wrong"

Read = list[BaseGeometry | None]


def run() -> None:
    tricky = cases()
    lots = synthetic_lots()
    in_degrees = answer(lots, DEGREES)
    in_feet = answer(from_wgs84(lots, CRS.from_epsg(FEET["wkid"])), FEET)
    peer_output = peers.ask(
        "peers_convert.py",
        {"cases": [case.geometry for case in tricky], "answer": in_degrees, "runs": RUNS},
    )
    ours = "Lotline's `parcels.esri`"
    gdal = f"GDAL {pyogrio.__gdal_version_string__} with pyogrio"
    names = {name: f"{name} {peers.version(name)}" for name in peer_output}

    read: dict[str, Read] = {ours: by_us(tricky), gdal: by_gdal(tricky)}
    read |= {names[name]: by_peer(peer_output[name]["cases"]) for name in peer_output}
    _save_tricky(tricky, read)

    seconds = {ours: [timed(convert_ours, in_degrees) for _ in range(RUNS)]}
    seconds[f"{ours}, with projection from feet"] = [
        timed(convert_ours, in_feet) for _ in range(RUNS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.json"
        path.write_text(in_degrees, encoding="utf-8")
        seconds[gdal] = [timed(convert_gdal, path) for _ in range(RUNS)]
    seconds |= {names[name]: peer_output[name]["seconds"] for name in peer_output}
    _save_speed(seconds, ours)


def _save_tricky(tricky: list[Case], read: dict[str, Read]) -> None:
    verdicts = {
        tool: [verdict(case, got) for case, got in zip(tricky, found, strict=True)]
        for tool, found in read.items()
    }
    rows = [[case.kind, *(verdicts[tool][i] for tool in read)] for i, case in enumerate(tricky)]
    right = [verdicts[tool].count(RIGHT) for tool in read]
    repaired = [verdicts[tool].count(AFTER_REPAIR) for tool in read]
    rows.append([f"right, of {len(tricky)}", *map(str, right)])
    rows.append(
        ["right after `make_valid`", *(str(a + b) for a, b in zip(right, repaired, strict=True))]
    )
    save(
        Result(
            name="tricky_geometries",
            order=42,
            title="Tricky Esri geometries",
            command="python -m benchmarks tricky_geometries",
            columns=["input", *read],
            rows=rows,
            notes=[
                "Synthetic, with shapes known by construction. Right: valid, the area "
                f"within {CLOSE:.2%}, and every probe point on the correct side of the "
                "boundary. Repaired: right only after shapely's `make_valid`. The cases are "
                "ours, in `benchmarks/tricky_cases.py`.",
            ],
        )
    )


def _save_speed(seconds: dict[str, list[float]], ours: str) -> None:
    best = {tool: min(runs) for tool, runs in seconds.items()}
    save(
        Result(
            name="convert_polygons",
            order=43,
            title=f"Converting {LOTS:,} Esri polygons",
            command="python -m benchmarks tricky_geometries",
            columns=["tool", "s", "ratio to Lotline"],
            rows=[[tool, f"{took:.2f}", f"{took / best[ours]:.1f}"] for tool, took in best.items()],
            notes=[
                "From the text of a response in EPSG:4326 to shapely polygons, the best of "
                f"{RUNS} runs; synthetic lots of 4 to 20 corners, one in ten with a hole, "
                "one in fifty with two parts. Only Lotline's results are also validated and "
                "normalized; the other tools neither project nor repair.",
            ],
        )
    )


def verdict(case: Case, got: BaseGeometry | None) -> str:
    """Whether a tool's geometry has the true area and interior."""
    if got is None:
        return WRONG
    if got.is_valid:
        return RIGHT if is_same(case, got) else WRONG
    return AFTER_REPAIR if is_same(case, shapely.make_valid(got)) else WRONG


def is_same(case: Case, got: BaseGeometry) -> bool:
    if not math.isclose(got.area, case.truth.area, rel_tol=CLOSE):
        return False
    west, south, east, north = shapely.buffer(case.truth, 2 * U).bounds
    x, y = (axis.ravel() for axis in np.mgrid[west:east:57j, south:north:53j])
    clear = shapely.distance(case.truth.boundary, shapely.points(x, y)) > U / 50
    same = shapely.contains_xy(got, x, y) == shapely.contains_xy(case.truth, x, y)
    return bool(same[clear].all())


def by_us(tricky: list[Case]) -> Read:
    lots = polygons_from_esri([case.geometry for case in tricky], DEGREES)
    return [None if isinstance(lot, GeometryError) else lot for lot in lots]


def by_gdal(tricky: list[Case]) -> Read:
    """Each case in its own file, so that a failure does not affect others."""
    found: Read = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # GDAL warns when it closes a ring
        path = Path(folder) / "answer.json"
        for case in tricky:
            path.write_text(response_of([case.geometry], DEGREES), encoding="utf-8")
            try:
                [geometry] = pyogrio.read_dataframe(path, columns=[], on_invalid="fix").geometry
            except (pyogrio.errors.DataSourceError, ValueError, shapely.errors.ShapelyError):
                geometry = None
            found.append(geometry)
    return found


def by_peer(peer_output: list[dict[str, Any]]) -> Read:
    found: Read = []
    for each in peer_output:
        try:
            found.append(shape(each["geometry"]) if each.get("geometry") else None)
        except (ValueError, TypeError, KeyError, AttributeError, shapely.errors.ShapelyError):
            found.append(None)
    return found


def synthetic_lots() -> np.ndarray[Any, np.dtype[np.object_]]:
    """Star-shaped lots of about 30 m across, in EPSG:4326 near Memphis."""
    random = Random(2026)
    lots = np.empty(LOTS, dtype=object)
    for i in range(LOTS):
        x, y = -90.0 + i % 100 * 0.001, 35.0 + i // 100 * 0.001
        outline = _star(random, x, y, 0.0004, random.randint(4, 20))
        holes = [_star(random, x, y, 0.0001, 4)] if i % 10 == 0 else []
        lot: BaseGeometry = shapely.Polygon(outline, holes)
        if i % 50 == 1:
            far = shapely.Polygon(_star(random, x + 0.00075, y, 0.0001, 5))
            lot = shapely.MultiPolygon([lot, far])
        lots[i] = lot
    return lots


def _star(
    random: Random, x: float, y: float, radius: float, corners: int
) -> list[tuple[float, float]]:
    angles = [math.tau * corner / corners for corner in range(corners)]
    reach = [radius * random.uniform(0.8, 1.0) for _ in angles]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]


def answer(lots: np.ndarray[Any, np.dtype[np.object_]], reference: dict[str, int]) -> str:
    """The text of a layer's response: shells clockwise, then their holes, all closed."""
    turned = shapely.orient_polygons(lots, exterior_cw=True)
    return response_of(
        [
            {
                "rings": [
                    shapely.get_coordinates(ring).tolist()
                    for ring in shapely.get_rings(shapely.get_parts(lot))
                ]
            }
            for lot in turned
        ],
        reference,
    )


def response_of(geometries: list[dict[str, Any]], reference: dict[str, int]) -> str:
    return json.dumps(
        {
            "objectIdFieldName": "OBJECTID",
            "geometryType": "esriGeometryPolygon",
            "spatialReference": reference,
            "fields": [{"name": "OBJECTID", "type": "esriFieldTypeOID"}],
            "features": [
                {"attributes": {"OBJECTID": i}, "geometry": geometry}
                for i, geometry in enumerate(geometries)
            ],
        }
    )


def convert_ours(text: str) -> None:
    content = json.loads(text)
    lots = polygons_from_esri(
        [feature["geometry"] for feature in content["features"]], content["spatialReference"]
    )
    assert len(lots) == LOTS
    assert not any(lot is None or isinstance(lot, GeometryError) for lot in lots)


def convert_gdal(path: Path) -> None:
    assert (pyogrio.read_dataframe(path, columns=[]).geometry.area > 0).all()


def timed(convert: Callable[[Any], None], given: object) -> float:
    gc.collect()
    gc.freeze()  # objects of the benchmark are not the converter's garbage to search
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # geopandas warns about areas in degrees
        convert(given)
    return time.perf_counter() - started

"""Make parcels/data/us_counties.csv: the US counties with their FIPS codes and bounding boxes.

    npm pack us-atlas@3.0.1 && tar xzf us-atlas-3.0.1.tgz
    python scripts/us_counties.py package/counties-10m.json

us-atlas is the Census Bureau's cartographic county boundaries of 2017, which are in the public
domain, as quantised TopoJSON. Boxes are rounded outwards to a hundredth of a degree.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "parcels" / "data" / "us_counties.csv"


def main(atlas: Path) -> None:
    """Write the table."""
    topology = json.loads(atlas.read_text(encoding="utf-8"))
    arcs = [list(_lonlat(topology["transform"], arc)) for arc in topology["arcs"]]
    with OUT.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fips", "name", "west", "south", "east", "north"])
        for county in sorted(topology["objects"]["counties"]["geometries"], key=lambda g: g["id"]):
            points = [point for arc in _arcs(county["arcs"]) for point in arcs[arc]]
            xs, ys = zip(*points, strict=True)
            box = (_down(min(xs)), _down(min(ys)), _up(max(xs)), _up(max(ys)))
            writer.writerow([county["id"], county["properties"]["name"], *box])


def _lonlat(transform: dict[str, Any], arc: list[list[int]]) -> Iterator[tuple[float, float]]:
    """An arc's points; each is kept as the step from the one before it."""
    (scale_x, scale_y), (left, bottom) = transform["scale"], transform["translate"]
    for x, y in zip(*(accumulate(steps) for steps in zip(*arc, strict=True)), strict=True):
        yield x * scale_x + left, y * scale_y + bottom


def _arcs(nested: Any) -> Iterator[int]:  # noqa: ANN401  lists of lists of numbers
    if isinstance(nested, int):
        yield nested if nested >= 0 else ~nested
        return
    for part in nested:
        yield from _arcs(part)


def _down(degrees: float) -> float:
    return math.floor(degrees * 100) / 100


def _up(degrees: float) -> float:
    return math.ceil(degrees * 100) / 100


main(Path(sys.argv[1]))

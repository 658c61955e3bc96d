"""Draws a real neighbourhood: a tile with its lots, and what a segmenter finds inside the lots.

Usage: .venv/bin/python scripts/neighbourhood_picture.py IMAGE.tif LOTS OUT.jpg [SEGMENTER]

LOTS is a vector file with a CRS, or lots.json in pixels of the tiles (tests/data/traced).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from shapely.affinity import affine_transform
from shapely.plotting import patch_from_polygon

from detection.detector import Detector
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid
from detection.labels import choose_labels
from detection.results import LotResult
from detection.segmenters import build_segmenter
from parcels.boundary import Boundary
from parcels.measure import areas_m2, polygonal
from pipeline.report.palette import label_colour

LABELS = ("lawn", "tree", "driveway", "roof", "pool")
BANDS = ("red", "green", "blue")
CONTEXT_PX = 16


def lots_on(path: Path, image: Path, grid: PixelGrid, transform: Affine) -> list[Boundary]:
    """The lots that lie on the image, in EPSG:4326."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if "type" in content:
        with rasterio.open(image) as dataset:
            whole = grid.to_lonlat(shapely.box(*dataset.bounds))
        shapes = [g for g in gpd.read_file(path).to_crs(4326).geometry if g.within(whole)]
    else:
        pixels = [shapely.Polygon(ring) for ring in content.get(image.stem, [])]
        place = transform.to_shapely()
        shapes = [grid.to_lonlat(affine_transform(each, place)) for each in pixels]
    if not shapes:
        raise SystemExit(f"error: no lot of {path} lies on {image}")
    lots = [polygonal(each) for each in shapes]
    areas = areas_m2(np.array(lots, dtype=object))
    return [
        Boundary(lot, "lot", float(area), "parcel_id", str(number))
        for number, (lot, area) in enumerate(zip(lots, areas, strict=True))
    ]


def on_pixels(geometry: Any, grid: PixelGrid, transform: Affine) -> Any:  # noqa: ANN401
    """A geometry in EPSG:4326, in pixels of the image."""
    return affine_transform(grid.from_lonlat(geometry), (~transform).to_shapely())


def outline(axis: Axes, shape: Any, colour: str, fill: float, width: float) -> None:  # noqa: ANN401
    """Add the polygons of a shape to a panel."""
    for part in getattr(shape, "geoms", [shape]):
        face = to_rgba(colour, fill)
        axis.add_patch(patch_from_polygon(part, facecolor=face, edgecolor=colour, linewidth=width))


def draw(image: Path, lots: list[Boundary], results: list[LotResult], title: str) -> Figure:
    """Two panels: the lots, and what was found inside them."""
    with rasterio.open(image) as dataset:
        colours = np.moveaxis(dataset.read([1, 2, 3]), 0, -1)
        transform, crs = dataset.transform, dataset.crs.to_wkt()
    grid = PixelGrid(crs, 1.0)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shapes = [on_pixels(lot.geometry, grid, transform) for lot in lots]
    box = shapely.union_all(shapes).bounds
    for axis in (left, right):
        axis.imshow(colours, extent=(0, colours.shape[1], colours.shape[0], 0))
        axis.set_xlim(max(0, box[0] - CONTEXT_PX), min(colours.shape[1], box[2] + CONTEXT_PX))
        axis.set_ylim(min(colours.shape[0], box[3] + CONTEXT_PX), max(0, box[1] - CONTEXT_PX))
        axis.axis("off")
    for result in results:
        for each in result.detections:
            found = on_pixels(each.geometry, grid, transform)
            outline(right, found, label_colour(each.label), 0.45, 0.6)
    for axis in (left, right):
        for shape in shapes:
            outline(axis, shape, "white", 0.0, 1.4)
    entries = [Patch(color=label_colour(name), label=name) for name in LABELS]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("lots", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("segmenter", nargs="?", default="landcover")
    arguments = parser.parse_args()
    with rasterio.open(arguments.image) as dataset:
        grid, transform = PixelGrid(dataset.crs.to_wkt(), 1.0), dataset.transform
    lots = lots_on(arguments.lots, arguments.image, grid, transform)
    segmenter = build_segmenter(arguments.segmenter, None)
    labels = choose_labels(LABELS)
    segmenter.prepare(labels)
    source = GeoTiffMosaic(str(arguments.image), BANDS)
    results = Detector(segmenter).detect(lots, source, labels)
    title = f"{arguments.image.stem}: {len(lots)} lots, {segmenter.name}, colours only"
    figure = draw(arguments.image, lots, results, title)
    FigureCanvasAgg(figure)
    figure.savefig(arguments.out, dpi=110, format="jpg", pil_kwargs={"quality": 82})


if __name__ == "__main__":
    main()

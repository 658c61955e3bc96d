"""A PNG of what a batch found: lots, fallback circles and detections over the imagery."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import geopandas
import matplotlib as mpl
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.clip import LotLines
from detection.errors import DetectionError
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow

MAX_PLACES = 12
MAX_SIDE_PX = 2400
# Lots nearer than this to each other are one place on the map.
NEAR_M = 60.0
PAD_M = 8.0

COLOURS = {
    "lawn": "#d4ff2a",
    "tree": "#19c3e6",
    "vegetation": "#ff8ad8",
    "driveway": "#b58cff",
    "roof": "#ff5252",
    "pool": "#2f6bff",
}
OTHER_COLOURS = ("#ff7f0e", "#40e0b0", "#ffd166", "#c98f5a", "#ff3df2")
LOT, BUFFER, NO_IMAGE = "#ffffff", "#ffb000", "#d0d0d0"
# White lines are seen on white by what they have round them.
_CASING = withStroke(linewidth=3.5, foreground="#606060")


def map_png(
    path: Path,
    lots: geopandas.GeoDataFrame,
    detections: geopandas.GeoDataFrame,
    imagery: ImagerySource,
    title: str,
    footnote: str,
    lines: LotLines | None = None,
) -> str | None:
    """Draw places with most lots, a panel each, and say what is shown.

    Args:
        lots: EPSG:4326 boundaries with the column `source` ("lot" or "buffer_30m").
        detections: EPSG:4326 polygons with the column `label`.
        imagery: read again for the background.
        lines: how the lots lie on it; they are drawn where they were measured.

    Returns:
        A line that tells how much the map shows; None, and no file, where nothing is imaged.
    """
    every = _places(lots, imagery)
    if not every:
        return None
    places = every[:MAX_PLACES]
    columns = min(len(places), 1 if len(places) == 1 else 2 if len(places) <= 4 else 4)
    rows = -(-len(places) // columns)
    side = 11.0 if len(places) == 1 else 6.0 if columns == 2 else 4.2
    tallest = [_tallest(places[i : i + columns]) for i in range(0, len(places), columns)]
    figure = Figure(figsize=(side * columns, side * sum(tallest) + 1.2), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, height_ratios=tallest)
    axes = grid.ravel()
    for axis in axes:
        axis.set_axis_off()
    shown = 0
    for axis, (frame, window) in zip(axes, places, strict=False):
        shown += _draw_place(axis, frame, window, lots, detections, imagery, lines or LotLines())
    caption = f"{shown:,} of {len(lots):,} boundaries, in {len(places)} of {len(every)} places"
    figure.suptitle(title, fontsize=15, fontweight="bold")
    note = "\n".join(textwrap.wrap(f"{footnote} {caption}.".strip(), 30 * columns + 60))
    figure.legend(
        handles=_legend(detections["label"].unique()),
        loc="outside lower center",
        ncol=6,
        title=note,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return caption


def _places(
    lots: geopandas.GeoDataFrame, imagery: ImagerySource
) -> list[tuple[PixelGrid, PixelWindow]]:
    """Clusters of near lots, those with most lots first, each as a window that can be drawn."""
    by_frame: dict[PixelGrid, list[BaseGeometry]] = {}
    for geometry in lots.geometry:
        try:
            frame = imagery.grid_for(geometry)
        except DetectionError:
            continue
        by_frame.setdefault(frame, []).append(shapely.box(*frame.from_lonlat(geometry).bounds))
    places: list[tuple[int, PixelGrid, PixelWindow]] = []
    for frame, boxes in by_frame.items():
        unit = frame.pixel_size / frame.gsd_m
        clusters = shapely.union_all([box.buffer(NEAR_M / 2 * unit) for box in boxes])
        tree = shapely.STRtree(boxes)
        for cluster in getattr(clusters, "geoms", [clusters]):
            members = [boxes[i] for i in tree.query(cluster, predicate="intersects")]
            window = _window(members, frame, PAD_M * unit)
            places.append((len(members), frame, window))
    places.sort(key=lambda place: (-place[0], place[2]))
    return [(frame, window) for _, frame, window in places]


def _window(boxes: Sequence[BaseGeometry], frame: PixelGrid, pad: float) -> PixelWindow:
    """The window over the boxes, cut to what a picture can hold round their middle."""
    left, bottom, right, top = shapely.total_bounds(np.asarray(boxes, dtype=object))
    half = MAX_SIDE_PX * frame.pixel_size / 2
    if right - left > 2 * half or top - bottom > 2 * half:
        middle = np.median([(box.centroid.x, box.centroid.y) for box in boxes], axis=0)
        left, right = max(left, middle[0] - half), min(right, middle[0] + half)
        bottom, top = max(bottom, middle[1] - half), min(top, middle[1] + half)
    return frame.window_from_bounds((left - pad, bottom - pad, right + pad, top + pad))


def _tallest(row: Sequence[tuple[PixelGrid, PixelWindow]]) -> float:
    """How high a row of panels must be for its tallest, in widths of a panel."""
    return min(1.5, max(window.height / window.width for _, window in row))


def _draw_place(
    axis: Axes,
    frame: PixelGrid,
    window: PixelWindow,
    lots: geopandas.GeoDataFrame,
    detections: geopandas.GeoDataFrame,
    imagery: ImagerySource,
    lines: LotLines,
) -> int:
    transform = frame.transform(window)
    left, top = transform @ (0, 0)
    right, bottom = transform @ (window.width, window.height)
    corners = ([left, right, right, left], [bottom, bottom, top, top])
    axis.fill(*corners, color=NO_IMAGE, linewidth=0, zorder=-1)
    try:
        chip = imagery.read(frame, window)
        axis.imshow(picture(chip), extent=(left, right, bottom, top), interpolation="nearest")
    except DetectionError as error:
        axis.text(0.5, 0.5, str(error), transform=axis.transAxes, ha="center", wrap=True)
    area = frame.to_lonlat(shapely.box(left, bottom, right, top))
    seen = detections.iloc[detections.sindex.query(area, predicate="intersects")]
    for label in sorted(seen["label"].unique(), key=_draw_order):
        polygons = seen[seen["label"] == label].to_crs(frame.crs)
        fill = "none" if label == "vegetation" else _with_alpha(colour_of(label), 0.38)
        polygons.plot(ax=axis, facecolor=fill, edgecolor=colour_of(label), linewidth=0.7)
    here = lots.iloc[lots.sindex.query(area, predicate="intersects")]
    for source, style in (("lot", "-"), ("buffer_30m", "--")):
        outlines = here[here["source"] == source].to_crs(frame.crs)
        if len(outlines):
            colour = LOT if source == "lot" else BUFFER
            if source == "lot":
                placed = lines.shift(outlines.geometry.to_numpy(), frame.unit_m)
                outlines = outlines.set_geometry(placed, crs=frame.crs)
            outlines.boundary.plot(ax=axis, color="black", linewidth=2.0, alpha=0.5)
            outlines.boundary.plot(ax=axis, color=colour, linewidth=1.1, linestyle=style)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.set_axis_off()
    _scale_bar(axis, (left, right, bottom, top), frame.pixel_size / frame.gsd_m)
    return len(here)


def picture(chip: Chip) -> NDArray[np.uint8]:
    """(height, width, 4) uint8 in natural colours; what is not valid is transparent."""
    names = ("red", "green", "blue")
    bands = [band for name in names if (band := chip.band(name)) is not None]
    if len(bands) < 3:
        bands = [chip.pixels[0]] * 3
    rgb = np.stack(bands, axis=-1).astype(np.float32)
    if chip.pixels.dtype != np.uint8:
        low, high = np.percentile(rgb[chip.valid], (1, 99))
        rgb = (rgb - low) / max(float(high - low), 1e-6) * 255
    alpha = np.where(chip.valid, 255, 0)[..., None]
    return np.concatenate([np.clip(rgb, 0, 255), alpha], axis=-1).astype(np.uint8)


def colour_of(label: str) -> str:
    """A label's colour on every map: its own, or one picked by its name."""
    return COLOURS.get(label) or OTHER_COLOURS[sum(label.encode()) % len(OTHER_COLOURS)]


def _draw_order(label: str) -> tuple[bool, str]:
    return label != "vegetation", label  # the widest first, so that the others lie on top


def _with_alpha(colour: str, alpha: float) -> tuple[float, float, float, float]:
    red, green, blue = mpl.colors.to_rgb(colour)
    return red, green, blue, alpha


def _scale_bar(axis: Axes, extent: tuple[float, float, float, float], unit: float) -> None:
    left, right, bottom, top = extent
    width_m = (right - left) / unit
    length_m = max(
        size for size in (5, 10, 20, 50, 100, 200, 500) if size <= width_m / 4 or size == 5
    )
    x, y = left + 0.03 * (right - left), bottom + 0.03 * (top - bottom)
    end = x + length_m * unit
    axis.plot([x, end], [y, y], color="black", linewidth=4, solid_capstyle="butt")
    axis.plot([x, end], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    axis.annotate(
        f"{length_m} m",
        ((x + end) / 2, y),
        (0, 5),
        textcoords="offset points",
        ha="center",
        color="white",
        fontsize=8,
        bbox={"facecolor": "black", "alpha": 0.4, "pad": 1, "lw": 0},
    )


def _legend(labels: Sequence[str]) -> list[Patch | Line2D]:
    things: list[Patch | Line2D] = [
        Patch(facecolor=_with_alpha(colour_of(label), 0.5), edgecolor=colour_of(label), label=label)
        for label in sorted(labels)
    ]
    lines = [
        Line2D([], [], color=LOT, linewidth=1.5, label="lot", path_effects=[_CASING]),
        Line2D([], [], color=BUFFER, linewidth=1.5, linestyle="--", label="30 m buffer"),
    ]
    return things + lines

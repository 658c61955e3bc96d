"""The map of a run as PNG: lots, 30 m buffers and detections over the imagery."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import suppress
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
from shapely.geometry.base import BaseGeometry

from detection.clip import LotLines
from detection.errors import DetectionError
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from parcels.untrusted import sanitize_text
from pipeline.report.aerial_image import rgba_image
from pipeline.report.palette import BOUNDARY_COLOURS, NO_IMAGERY_COLOUR, label_colour

MAX_PANELS = 12
MAX_SIDE_PX = 2400
# Lots closer than this share a panel.
CLUSTER_DISTANCE_M = 60.0
PAD_M = 8.0

# Makes white lines visible on the white legend.
_CASING = withStroke(linewidth=3.5, foreground="#606060")

# The pixel grid and window of a panel.
_Panel = tuple[PixelGrid, PixelWindow]


@mpl.rc_context({"text.parse_math": False})  # names may have dollar signs
def map_png(
    path: Path,
    lots: geopandas.GeoDataFrame,
    detections: geopandas.GeoDataFrame,
    imagery: ImagerySource,
    title: str,
    footnote: str,
    lines: LotLines | None = None,
) -> str | None:
    """Draw the clusters with most lots, a panel each.

    Args:
        lots: EPSG:4326 boundaries with the column `source` ("lot" or "buffer_30m").
        detections: EPSG:4326 polygons with the column `label`.
        imagery: read again for the background.
        lines: the shift of lots onto the imagery; they are drawn where they were measured.

    Returns:
        A caption with the number of boundaries drawn; None, and no file, without imagery.
    """
    clusters = _clusters(lots, imagery)
    if not clusters:
        return None
    panels = clusters[:MAX_PANELS]
    columns = min(len(panels), 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 4)
    rows = -(-len(panels) // columns)
    side = 11.0 if len(panels) == 1 else 6.0 if columns == 2 else 4.2
    heights = [_row_height(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    figure = Figure(figsize=(side * columns, side * sum(heights) + 1.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
    for axis in axes:
        axis.set_axis_off()
    shown = 0
    for axis, (grid, window) in zip(axes, panels, strict=False):
        shown += _draw_panel(axis, grid, window, lots, detections, imagery, lines or LotLines())
    caption = f"{shown:,} of {len(lots):,} boundaries, in {len(panels)} of {len(clusters)} clusters"
    figure.suptitle(sanitize_text(title), fontsize=15, fontweight="bold")
    note = "\n".join(textwrap.wrap(f"{footnote} {caption}.".strip(), 30 * columns + 60))
    figure.legend(
        handles=_legend(detections["label"].unique()),
        loc="outside lower center",
        ncol=6,
        title=note,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # An incomplete picture must not replace one of an earlier run.
    part = path.with_name(f"{path.name}.part")
    try:
        figure.savefig(part, dpi=110, format="png")
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return caption


def _clusters(lots: geopandas.GeoDataFrame, imagery: ImagerySource) -> list[_Panel]:
    """Clusters of nearby lots, the largest first, each as the window to draw."""
    by_grid: dict[PixelGrid, list[BaseGeometry]] = {}
    for geometry in lots.geometry:
        try:
            grid = imagery.grid_for(geometry)
        except DetectionError:
            continue
        by_grid.setdefault(grid, []).append(shapely.box(*grid.from_lonlat(geometry).bounds))
    clusters: list[tuple[int, PixelGrid, PixelWindow]] = []
    for grid, boxes in by_grid.items():
        unit = grid.pixel_size / grid.gsd_m
        outlines = shapely.union_all([box.buffer(CLUSTER_DISTANCE_M / 2 * unit) for box in boxes])
        tree = shapely.STRtree(boxes)
        for outline in getattr(outlines, "geoms", [outlines]):
            members = [boxes[i] for i in tree.query(outline, predicate="intersects")]
            window = _window(members, grid, PAD_M * unit)
            clusters.append((len(members), grid, window))
    clusters.sort(key=lambda cluster: (-cluster[0], cluster[2]))
    return [(grid, window) for _, grid, window in clusters]


def _window(boxes: Sequence[BaseGeometry], grid: PixelGrid, pad: float) -> PixelWindow:
    """The window over the boxes, cropped around their median to what a picture can show."""
    left, bottom, right, top = shapely.total_bounds(np.asarray(boxes, dtype=object))
    half = MAX_SIDE_PX * grid.pixel_size / 2
    if right - left > 2 * half or top - bottom > 2 * half:
        middle = np.median([(box.centroid.x, box.centroid.y) for box in boxes], axis=0)
        left, right = max(left, middle[0] - half), min(right, middle[0] + half)
        bottom, top = max(bottom, middle[1] - half), min(top, middle[1] + half)
    return grid.window_from_bounds((left - pad, bottom - pad, right + pad, top + pad))


def _row_height(panels: Sequence[_Panel]) -> float:
    """The height of a row of panels, in panel widths: that of its tallest one."""
    return min(1.5, max(window.height / window.width for _, window in panels))


def _draw_panel(
    axis: Axes,
    grid: PixelGrid,
    window: PixelWindow,
    lots: geopandas.GeoDataFrame,
    detections: geopandas.GeoDataFrame,
    imagery: ImagerySource,
    lines: LotLines,
) -> int:
    """Draw imagery, detections and boundaries of a window; the number of boundaries."""
    transform = grid.transform(window)
    left, top = transform @ (0, 0)
    right, bottom = transform @ (window.width, window.height)
    corners = ([left, right, right, left], [bottom, bottom, top, top])
    axis.fill(*corners, color=NO_IMAGERY_COLOUR, linewidth=0, zorder=-1)
    try:
        chip = imagery.read(grid, window)
        axis.imshow(rgba_image(chip), extent=(left, right, bottom, top), interpolation="nearest")
    except DetectionError as error:
        axis.text(0.5, 0.5, str(error), transform=axis.transAxes, ha="center", wrap=True)
    area = grid.to_lonlat(shapely.box(left, bottom, right, top))
    here = detections.iloc[detections.sindex.query(area, predicate="intersects")]
    for label in sorted(here["label"].unique(), key=_draw_order):
        polygons = here[here["label"] == label].to_crs(grid.crs)
        fill = "none" if label == "vegetation" else _with_alpha(label_colour(label), 0.38)
        polygons.plot(ax=axis, facecolor=fill, edgecolor=label_colour(label), linewidth=0.7)
    boundaries = lots.iloc[lots.sindex.query(area, predicate="intersects")]
    for source, style in (("lot", "-"), ("buffer_30m", "--")):
        outlines = boundaries[boundaries["source"] == source].to_crs(grid.crs)
        if len(outlines):
            if source == "lot":
                shifted = lines.shift(outlines.geometry.to_numpy(), grid.unit_m)
                outlines = outlines.set_geometry(shifted, crs=grid.crs)
            colour = BOUNDARY_COLOURS[source]
            outlines.boundary.plot(ax=axis, color="black", linewidth=2.0, alpha=0.5)
            outlines.boundary.plot(ax=axis, color=colour, linewidth=1.1, linestyle=style)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.set_axis_off()
    _scale_bar(axis, (left, right, bottom, top), grid.pixel_size / grid.gsd_m)
    return len(boundaries)


def _draw_order(label: str) -> tuple[bool, str]:
    return label != "vegetation", label  # the widest first, below the others


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
    labelled: list[Patch | Line2D] = [
        Patch(
            facecolor=_with_alpha(label_colour(label), 0.5),
            edgecolor=label_colour(label),
            label=label,
        )
        for label in sorted(labels)
    ]
    lines = [
        Line2D(
            [],
            [],
            color=BOUNDARY_COLOURS["lot"],
            linewidth=1.5,
            label="lot",
            path_effects=[_CASING],
        ),
        Line2D(
            [],
            [],
            color=BOUNDARY_COLOURS["buffer_30m"],
            linewidth=1.5,
            linestyle="--",
            label="30 m buffer",
        ),
    ]
    return labelled + lines

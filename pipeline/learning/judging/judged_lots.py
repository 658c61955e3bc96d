"""A reviewed lot as it is judged: the chips that the segmenter saw, and what people say of it.

The pairs of a lot are put together on one canvas, so that ground that two chips show counts once.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import rasterio
import shapely
from pyproj import CRS
from shapely.geometry import shape

from detection.chip import Chip
from detection.chip_plan import CONTEXT_BUFFER_M, ChipKey, ChipPlan
from detection.clip import LotLines
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, union
from parcels.boundary import Boundary, BoundarySource
from parcels.measure import area_m2, polygonal
from pipeline.errors import ManifestError
from pipeline.learning.coco_file import CocoObject, mask_of_runs, objects_in
from pipeline.learning.corrections_manifest import CorrectionsManifest
from pipeline.learning.export_files import stored_bytes
from pipeline.learning.pair import Pair, StoredFile
from pipeline.learning.pair_images import BinaryMask, mask_of_png
from pipeline.learning.spatial_split import Split
from pipeline.store.objects.folder_or_bucket import ObjectStore


@dataclass(frozen=True, slots=True)
class LotPairs:
    """The pairs of one lot, and its objects by pair."""

    pairs: tuple[Pair, ...]
    objects: Mapping[str, Sequence[CocoObject]]

    @property
    def first(self) -> Pair:
        """What all pairs of the lot have in common is in each of them."""
        return self.pairs[0]

    @property
    def name(self) -> str:
        """County and property, for messages."""
        return f"{self.first.county} {self.first.property_id}"


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedLot:
    """A lot with its chips and its truth, on a canvas (h, w) of the chips' grid.

    Attributes:
        block: of ground; lots of one block look alike.
        lot: the pixels that people have judged.
        truths: for each label that was reviewed in full, its pixels inside the lot.
        objects: likewise, the pixels of each object.
    """

    name: str
    block: str
    boundary: Boundary
    lines: LotLines
    chips: Mapping[ChipKey, Chip]
    plan: ChipPlan
    window: PixelWindow
    lot: BinaryMask
    truths: Mapping[str, BinaryMask]
    objects: Mapping[str, Sequence[BinaryMask]]

    @property
    def pixel_m2(self) -> float:
        """The ground of a pixel of the canvas."""
        return self.plan.grid.gsd_m**2


def lots_of_split(
    objects: ObjectStore, manifest: CorrectionsManifest, split: Split
) -> list[LotPairs]:
    """The lots of a split, in the manifest's order.

    Raises:
        ManifestError: the file of their objects is missing or damaged.
        ObjectStoreError: it cannot be read.
    """
    by_lot: dict[tuple[str, str], list[Pair]] = {}
    for pair in manifest.of_split(split):
        by_lot.setdefault((pair.county, pair.property_id), []).append(pair)
    if not by_lot:
        return []
    if split not in manifest.coco:
        raise ManifestError(f"{objects.address} names no COCO file of {split}: export again")
    file = manifest.coco[split]
    try:
        outlines = objects_in(stored_bytes(objects, file))
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{objects.address}/{file.key} is not a COCO file of an export: export again into an "
            "empty folder"
        ) from error
    return [
        LotPairs(tuple(pairs), {pair.id: outlines.get(pair.id, ()) for pair in pairs})
        for pairs in by_lot.values()
    ]


def open_lot(objects: ObjectStore, lot: LotPairs) -> ReviewedLot:
    """Read the chips and the masks of a lot.

    Raises:
        ManifestError: a file is missing or damaged.
        ObjectStoreError: it cannot be read.
    """
    chips: dict[ChipKey, Chip] = {}
    windows: list[PixelWindow] = []
    for pair in lot.pairs:
        chip = _chip(objects, pair.chip, pair)
        grid, window = _position(chip)
        if pair.view is not None:
            chip = replace(chip, view=_chip(objects, pair.view, pair))
        chips[grid, window] = chip
        windows.append(window)
    grids = {grid for grid, _ in chips}
    if len(grids) > 1:
        raise ManifestError(f"the chips of {lot.name} have different grids: export again")
    [grid] = grids
    canvas = union(windows)
    judged = _on_canvas(objects, lot, windows, canvas)
    first = lot.first
    boundary, lines = _boundary(first), LotLines(first.lot_offset_m, first.line_tolerance_m)
    labels = [label for label, mask in first.labels.items() if mask.is_exhaustive]
    return ReviewedLot(
        lot.name, first.block, boundary, lines, chips,
        ChipPlan(grid, tuple(windows), (0,), _needed(boundary, lines, grid, canvas)),
        canvas, judged,
        {label: _on_canvas(objects, lot, windows, canvas, label) & judged for label in labels},
        {label: _objects(lot, windows, canvas, judged, label) for label in labels},
    )  # fmt: skip


def _chip(objects: ObjectStore, file: StoredFile, pair: Pair) -> Chip:
    with rasterio.open(io.BytesIO(stored_bytes(objects, file))) as dataset:
        return Chip(
            dataset.read(), np.asarray(dataset.dataset_mask() > 0, bool), dataset.transform,
            CRS.from_wkt(dataset.crs.to_wkt()), tuple(map(str, dataset.descriptions)),
            pair.captured_on, (file.key,),
        )  # fmt: skip


def _position(chip: Chip) -> tuple[PixelGrid, PixelWindow]:
    """The grid and the window of a chip; chips of one grid get the same one."""
    size = round(float(chip.transform.a), 9)
    left, top = float(chip.transform.c), float(chip.transform.f)
    # Rounded, so that chips whose origins differ by a billionth of a pixel have one grid.
    x_origin, y_origin = round(left % size, 6) % size, round(top % size, 6) % size
    column, row = round((left - x_origin) / size), round((y_origin - top) / size)
    grid = PixelGrid(chip.crs.to_wkt(), size, x_origin, y_origin)
    return grid, PixelWindow(column, row, chip.width, chip.height)


def _on_canvas(
    objects: ObjectStore,
    lot: LotPairs,
    windows: Sequence[PixelWindow],
    canvas: PixelWindow,
    label: str | None = None,
) -> BinaryMask:
    """The mask of a label, or of the lot, over all its chips."""
    whole: BinaryMask = np.zeros((canvas.height, canvas.width), bool)
    for pair, window in zip(lot.pairs, windows, strict=True):
        file = pair.lot if label is None else pair.labels[label].mask
        whole[window.slices_in(canvas)] |= mask_of_png(stored_bytes(objects, file))
    return whole


def _objects(
    lot: LotPairs,
    windows: Sequence[PixelWindow],
    canvas: PixelWindow,
    judged: BinaryMask,
    label: str,
) -> list[BinaryMask]:
    """The pixels of each object inside the lot, whichever chips show it."""
    whole: dict[int, BinaryMask] = {}
    for pair, window in zip(lot.pairs, windows, strict=True):
        for each in lot.objects[pair.id]:
            if each.label == label:
                mask = whole.setdefault(
                    each.detection, np.zeros((canvas.height, canvas.width), bool)
                )
                mask[window.slices_in(canvas)] |= mask_of_runs(
                    each.runs, pair.height_px, pair.width_px
                )
    inside = [mask & judged for mask in whole.values()]
    return [mask for mask in inside if mask.any()]


def _boundary(pair: Pair) -> Boundary:
    outline = polygonal(shape(pair.boundary))
    source: BoundarySource = "lot" if pair.boundary_source == "lot" else "buffer_30m"
    return Boundary(
        outline, source, area_m2(outline), "parcel_id", "a reviewed lot", pair.parcel_ids
    )


def _needed(
    boundary: Boundary, lines: LotLines, grid: PixelGrid, canvas: PixelWindow
) -> PixelWindow:
    """As the chip plan of a batch has it; a chip without imagery has no pair."""
    on_grid = grid.from_lonlat(np.array([boundary.geometry], dtype=object))
    [bounds] = shapely.bounds(lines.align_to_imagery([boundary], on_grid, grid.unit_m))
    wanted = grid.window_from_bounds(tuple(bounds)).pad(math.ceil(CONTEXT_BUFFER_M / grid.gsd_m))
    return wanted.intersection(canvas) or canvas

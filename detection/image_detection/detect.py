"""An image and labels -> polygons with scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.assemble import mosaic_with_masks
from detection.chip_batches import ChipBatch, SharedResults, chip_batches
from detection.chip_plan import ChipKey, ChipPlan, plan_area
from detection.errors import ImageryError, SegmenterError
from detection.image_detection.free_memory import return_freed_memory
from detection.image_detection.joining import BlockParts, clip_to_block, join_parts
from detection.image_detection.opened_image import OpenedImage
from detection.image_detection.option_remedies import for_options
from detection.image_detection.spilled import SpilledResult, SpillFolder
from detection.inference import ChipFailure, InferenceResult, read_chips, run_inference
from detection.labels import Label, check_labels
from detection.required_bands import check_bands
from detection.segmenters.interface import Segmenter
from detection.timing import StageTimer
from detection.vectorize import vectorize_masks
from parcels.measure import areas_m2 as measured_areas_m2

# Coarser imagery than this many pixels of the segmenter shows none of its objects.
_MAX_COARSENESS = 25.0
# Polygons that are transformed or measured at once, so that no second copy of all is in memory.
_POLYGONS_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class ImageDetections:
    """The objects of an image.

    Attributes:
        labels: what was asked for.
        polygons: (n,) valid, in the CRS of the image's `grid`.
        scores: (n,) in 0..1.
        label_of: (n,) the index of each one's label.
        areas_m2: (n,) equal-area; of a photograph they follow from its ground sample distance.
    """

    labels: tuple[Label, ...]
    polygons: NDArray[np.object_]
    scores: NDArray[np.float64]
    label_of: NDArray[np.intp]
    areas_m2: NDArray[np.float64]

    def of_label(self, label: int) -> NDArray[np.object_]:
        """The polygons of a label, by its index."""
        polygons: NDArray[np.object_] = self.polygons[self.label_of == label]
        return polygons


def detect_image(
    image: OpenedImage,
    segmenter: Segmenter,
    labels: Sequence[Label],
    on_chips: Callable[[int, int], None] | None = None,
) -> ImageDetections:
    """Detect labels on all of an image. Where it has no pixels, there are no polygons.

    Args:
        on_chips: called with (finished chips, all chips) after each batch.

    Raises:
        ImageryError: bands are missing, pixels are far too coarse, a part of the file cannot be
            read, or it has no usable pixel at all.
        LabelError: a label that the segmenter cannot detect.
        SegmenterError: it failed on a chip, or a prompt is invalid.
        OSError: there is no space for the results of chips in the temporary folder.
    """
    check_labels(segmenter.name, segmenter.labels, labels)
    _check_usable(image, segmenter)
    plans = plan_area(image.grid, image.area, segmenter.chip_px, segmenter.gsd_m)
    batches = chip_batches(plans, segmenter.chips_per_batch)
    total = sum(len(batch.chip_keys) for batch in batches)
    segmenter.prepare(labels)
    timer = StageTimer()
    parts: list[BlockParts] = []
    done = imaged = 0
    with SpillFolder() as folder:
        shared: SharedResults[SpilledResult] = SharedResults(batches)
        for batch in batches:
            results = _results(batch, image, segmenter, labels, timer)
            imaged += sum(isinstance(each, InferenceResult) for each in results.values())
            needed = shared.add(batch, {key: folder.put(each) for key, each in results.items()})
            for plan in batch.plans:
                of_plan = {key: needed[key].load() for key in plan.chip_keys}
                parts.append(_block_parts(plan, of_plan, labels, timer))
                del of_plan
                return_freed_memory()
            done += len(batch.chip_keys)
            if on_chips:
                on_chips(done, total)
    if not imaged:
        raise ImageryError(
            f"{image.path} has no usable pixel: all are nodata, transparent or masked. If that is "
            "wrong, save it without its nodata value or mask: gdal_translate -a_nodata none -mask "
            "none"
        )
    return _detections(join_parts(parts, _are_discrete(labels)), labels, image)


def _check_usable(image: OpenedImage, segmenter: Segmenter) -> None:
    """Refuse an image that every chip of would fail, or in which nothing can be recognised."""
    try:
        check_bands(segmenter.name, image.source)
    except ImageryError as error:
        raise ImageryError(f"{image.path}: {for_options(str(error))}") from error
    if segmenter.gsd_m and image.grid.gsd_m > _MAX_COARSENESS * segmenter.gsd_m:
        raise ImageryError(
            f"{image.path} has {image.grid.gsd_m:.3g} m a pixel, but {segmenter.name} works at "
            f"{segmenter.gsd_m:g} m: nothing can be recognised. Use finer imagery"
        )


def _results(
    batch: ChipBatch,
    image: OpenedImage,
    segmenter: Segmenter,
    labels: Sequence[Label],
    timer: StageTimer,
) -> dict[ChipKey, InferenceResult | ChipFailure]:
    """The results of a batch's chips; a failure is one without pixels.

    Raises:
        ImageryError, SegmenterError: any other failure, because a part of the image would look
            empty.
    """
    results = run_inference(read_chips(batch.chip_keys, image.source, timer), segmenter, labels)
    for result in results.values():
        if isinstance(result, InferenceResult):
            failed = ", ".join(result.mosaic.failed_sources)
        elif result.result.reason == "nodata":
            continue
        elif result.result.status == "failed":
            raise SegmenterError(result.result.detail)
        else:
            failed = str(image.path)
        if failed:
            raise ImageryError(
                f"a part of {failed} cannot be read: it is damaged or incomplete. Copy or "
                "download it again"
            )
    return results


def _block_parts(
    plan: ChipPlan,
    results: Mapping[ChipKey, InferenceResult | ChipFailure],
    labels: Sequence[Label],
    timer: StageTimer,
) -> BlockParts:
    processed = {k: r for k, r in results.items() if isinstance(r, InferenceResult)}
    if not processed:
        nothing = np.empty(0, object)
        return BlockParts(nothing, np.empty(0), np.empty(0, np.intp), nothing)
    mosaic, masks = mosaic_with_masks(plan, processed, [], labels, timer)
    position = {label.name: index for index, label in enumerate(labels)}
    # Small parts are dropped when objects are complete, not at the edge of a block.
    whole = [replace(mask, label=replace(mask.label, min_area_m2=0.0)) for mask in masks]
    found = vectorize_masks(whole, mosaic)
    of_mask = np.array([position[mask.label.name] for mask in masks], dtype=np.intp)
    grid, block = plan.grid, plan.needed
    # Not `grid.bounds`, whose right edge may differ from the next block's left one in a last bit.
    left, right = (
        grid.x_origin + column * grid.pixel_size
        for column in (block.column, block.column + block.width)
    )
    top, bottom = (
        grid.y_origin - row * grid.pixel_size for row in (block.row, block.row + block.height)
    )
    return clip_to_block(
        found.polygons, found.scores, of_mask[found.masks], (left, bottom, right, top)
    )


def _are_discrete(labels: Sequence[Label]) -> NDArray[np.bool_]:
    return np.array([label.kind == "discrete" for label in labels])


def _detections(parts: BlockParts, labels: Sequence[Label], image: OpenedImage) -> ImageDetections:
    """The objects that are large enough; as for lots, that is decided on the grid."""
    areas_m2 = shapely.area(parts.polygons) * image.grid.unit_m**2
    min_areas_m2 = np.array([label.min_area_m2 for label in labels])
    kept = areas_m2 >= min_areas_m2[parts.labels]
    polygons, areas_m2 = parts.polygons[kept], areas_m2[kept]
    if image.is_georeferenced:
        areas_m2 = np.concatenate(
            [np.empty(0)]
            + [
                measured_areas_m2(image.to_lonlat(polygons[at : at + _POLYGONS_AT_ONCE]))
                for at in range(0, len(polygons), _POLYGONS_AT_ONCE)
            ]
        )
    return ImageDetections(
        tuple(labels), polygons, parts.scores[kept], parts.labels[kept], areas_m2
    )

"""A segmenter as a rival: its chips are planned, read, segmented and stitched as in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from detection.assemble import mosaic_with_masks
from detection.chip import Chip
from detection.chip_plan import ChipKey, plan_chips
from detection.errors import SegmenterError
from detection.evaluation.answers import FoundObject, LabelAnswer, WindowAnswer
from detection.evaluation.field_sampling import label_answer
from detection.evaluation.tile_images import RGB, TileImages, TilePlace
from detection.evaluation.traced import CODES_OF, TracedTile
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelWindow
from detection.inference import ChipFailure, InferenceResult, read_chips, run_inference
from detection.labels import Label, choose_labels
from detection.mosaic import Mosaic
from detection.required_bands import check_bands
from detection.segmenters.interface import Mask, Segmenter
from detection.timing import StageTimer
from detection.vectorize import vectorize_masks


@dataclass(frozen=True, slots=True, eq=False)
class TileMasks:
    """The masks of a window's mosaic, and the place of the truth's pixels on it."""

    mosaic: Mosaic
    masks: Sequence[Mask]
    place: TilePlace
    window: PixelWindow


class SegmenterRival:
    """A segmenter on the tiles of `images`.

    Args:
        bands: that the segmenter may see.
        gsd_m: of the imagery; None for the tiles' own.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        images: TileImages,
        bands: Sequence[str] = RGB,
        gsd_m: float | None = None,
    ) -> None:
        self.segmenter = RepeatedChips(segmenter)
        self.bands, self.gsd_m = tuple(bands), gsd_m
        self._images = images
        supported = segmenter.labels
        self.chosen_labels = choose_labels(
            n for n in CODES_OF if supported is None or n in supported
        )
        segmenter.prepare(self.chosen_labels)

    @property
    def name(self) -> str:
        """The segmenter's name, with the bands and the ground sample distance that it saw."""
        bands = "RGB + NIR" if "nir" in self.bands else "RGB"
        distance = "" if self.gsd_m is None else f", {self.gsd_m:g} m"
        return f"{self.segmenter.name}, {bands}{distance}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The truth's labels that it can detect."""
        return tuple(label.name for label in self.chosen_labels)

    def answer(self, tile: TracedTile) -> list[WindowAnswer]:
        """Its masks on the pixels of each window.

        Raises:
            SegmenterError: it failed on a chip, or returned invalid masks.
            TruthError, ImageryError: the tile cannot be read.
        """
        return [self._window_answer(each) for each in self.masks(tile, self.chosen_labels)]

    def source(self, tile: TracedTile) -> GeoTiffMosaic:
        """The tile's imagery, as this rival sees it."""
        return self._images.open(tile, self.bands, self.gsd_m)

    def masks(self, tile: TracedTile, labels: Sequence[Label]) -> list[TileMasks]:
        """The masks of labels around each window, as a batch measures them; errors as `answer`."""
        source = self.source(tile)
        check_bands(self.segmenter.name, source)
        place = self._images.place_of(tile)
        boxes = [place.boundary(window) for window in tile.windows]
        segmenter, timer = self.segmenter, StageTimer()
        plans, failures = plan_chips(boxes, source, segmenter.chip_px, segmenter.gsd_m)
        for index, failure in failures.items():
            raise SegmenterError(f"{tile.name}, window {index}: {failure.detail}")
        results: dict[ChipKey, InferenceResult | ChipFailure] = {}
        for plan in plans:
            new = [key for key in plan.chip_keys if key not in results]
            results |= run_inference(read_chips(new, source, timer), segmenter, labels)
        found: dict[int, TileMasks] = {}
        for plan in plans:
            done, failed = _split({key: results[key] for key in plan.chip_keys}, tile.name)
            mosaic, masks = mosaic_with_masks(plan, done, failed, labels, timer)
            for index in plan.lots:
                found[index] = TileMasks(mosaic, masks, place, tile.windows[index])
        return [found[index] for index in range(len(tile.windows))]

    def _window_answer(self, found: TileMasks) -> WindowAnswer:
        answers: dict[str, LabelAnswer] = {}
        for label in self.chosen_labels:
            masks = [mask for mask in found.masks if mask.label == label]
            answer = label_answer(masks, found.mosaic, found.place.transform, found.window)
            objects = found_objects(masks, found) if label.kind == "discrete" else ()
            answers[label.name] = LabelAnswer(answer.inside, answer.confidence, objects)
        return WindowAnswer(answers)


class RepeatedChips:
    """A segmenter that keeps the masks of the last chips: windows, lots and prompts share them."""

    def __init__(self, segmenter: Segmenter, kept: int = 8) -> None:
        self._segmenter, self._kept = segmenter, kept
        self._masks: dict[tuple[str, tuple[Label, ...]], list[Mask]] = {}
        self.name, self.weights_sha256 = segmenter.name, segmenter.weights_sha256
        self.labels, self.chip_px, self.gsd_m = segmenter.labels, segmenter.chip_px, segmenter.gsd_m
        self.chips_per_batch, self.device = segmenter.chips_per_batch, segmenter.device

    def prepare(self, labels: Sequence[Label]) -> None:
        """As the segmenter's."""
        self._segmenter.prepare(labels)

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """As the segmenter's, which sees each chip once."""
        keys = [(chip.sha256, tuple(labels)) for chip in chips]
        new = [i for i, key in enumerate(keys) if key not in self._masks]
        if new:
            found = self._segmenter.segment([chips[i] for i in new], labels)
            self._masks |= {keys[i]: masks for i, masks in zip(new, found, strict=True)}
        results = [self._masks[key] for key in keys]
        for key in list(self._masks)[: -self._kept]:
            del self._masks[key]
        return results


def found_objects(masks: Sequence[Mask], found: TileMasks) -> tuple[FoundObject, ...]:
    """The objects that a user would get, their polygons rasterized at the pixels of a window."""
    if not masks:
        return ()
    outlines = vectorize_masks(masks, found.mosaic)
    window = found.window
    transform, box = found.place.window_transform(window), found.place.box(window)
    shape = (window.height, window.width)
    objects = []
    for polygon, score in zip(outlines.polygons, outlines.scores, strict=True):
        if not polygon.intersects(box):
            continue
        pixels: NDArray[np.uint8] = rasterize([polygon], shape, transform=transform, dtype="uint8")
        if pixels.any():
            objects.append(FoundObject(pixels.astype(bool), float(score)))
    return tuple(objects)


def _split(
    results: dict[ChipKey, InferenceResult | ChipFailure], tile: str
) -> tuple[dict[ChipKey, InferenceResult], list[ChipFailure]]:
    """Results and chips beside the imagery; any other failure is an error."""
    done = {key: each for key, each in results.items() if isinstance(each, InferenceResult)}
    failed = [each for each in results.values() if isinstance(each, ChipFailure)]
    for failure in failed:
        if failure.result.status != "no_imagery" or not done:
            raise SegmenterError(f"{tile}: {failure.result.detail or failure.result.reason}")
    return done, failed

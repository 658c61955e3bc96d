"""The segmenter landcover: a U-Net that knows six labels, without prompts.

Each pixel has one class: lawn, tree, roof, driveway, pool or other. Vegetation is a plane of its
own, since near infrared taught it, whichever class a pixel has. It sees colours; near infrared is
used where the imagery has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.memory_ladder import MemoryLadder
from detection.segmenters.interface import Mask
from detection.segmenters.known_labels import LANDCOVER_LABELS
from detection.segmenters.landcover.inference_network import InferenceNetwork
from detection.segmenters.landcover.network import CLASSES, VEGETATION_PLANE
from detection.segmenters.landcover.preprocess import input_pixels
from detection.segmenters.landcover.weights import LandcoverWeights, load_landcover

_EIGHT_CONNECTED = np.ones((3, 3), np.int8)
# Logits are clamped: larger ones carry no information, and would shift interpolated edges.
_MAX_LOGIT = 12.0


class Landcover:
    """The segmenter; results are deterministic.

    A pixel's confidence is its class's probability, calibrated by one temperature.
    """

    name = "landcover-1"
    labels: tuple[str, ...] | None = LANDCOVER_LABELS
    chip_px = 512
    chips_per_batch = 1

    def __init__(
        self, weights: LandcoverWeights | Path | None = None, device: str | None = None
    ) -> None:
        """Load the package's weights, or those of a folder.

        Args:
            device: a torch device; by default a GPU if there is one.
        """
        if not isinstance(weights, LandcoverWeights):
            weights = load_landcover(weights)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network = InferenceNetwork(weights.network, self._device)
        # One chip at a time: there is nothing to halve.
        self._ladder = MemoryLadder({}, self._device.type.upper())
        self._temperature = weights.config.temperature
        self._gsd_m = weights.config.gsd_m
        self.gsd_m: float | None = self._gsd_m
        self.weights_sha256: str | None = weights.sha256

    @property
    def device(self) -> str:
        """Its device and precision, as text for people."""
        return f"{self._device.type.upper()}, float32"

    def prepare(self, labels: Sequence[Label]) -> None:
        """Check the labels; nothing else needs preparation.

        Raises:
            SegmenterError: a label that it does not know.
        """
        for label in labels:
            if label.name not in LANDCOVER_LABELS:
                raise SegmenterError(
                    f"{self.name} cannot detect {label.name!r}, only "
                    f"{', '.join(LANDCOVER_LABELS)}. Choose one of these, or a segmenter with text "
                    "prompts (sam3-nano or sam3)"
                )

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order, in cells of two pixels.

        Raises:
            SegmenterError: a label that it does not know, a chip without red, green and blue of
                8 bits, or too little memory for one chip.
        """
        self.prepare(labels)
        found: list[list[Mask]] = []
        for chip in chips:
            masks = self._ladder.attempt(self._segment, chip, labels)
            if masks is None:
                raise SegmenterError(
                    f"{self._ladder.device} has too little memory for one chip "
                    f"({self._ladder.reason}). Stop other processes on it, or use a device with "
                    "more memory; `lotline doctor` says what this machine has"
                )
            found.append(masks)
        return found

    def _segment(self, chip: Chip, labels: Sequence[Label]) -> list[Mask]:
        planes, probabilities = self.planes(chip)
        masks: list[Mask] = []
        for label in labels:
            plane = VEGETATION_PLANE if label.name == "vegetation" else CLASSES.index(label.name)
            field, confidence = planes[plane], probabilities[plane]
            if label.kind == "continuous":
                masks.append(Mask(label, field, confidence, field.shape))
            else:
                masks += _objects(label, field, confidence)
        return masks

    @torch.inference_mode()
    def planes(self, chip: Chip) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fields and probabilities (7, rows, columns) of a chip's cells.

        A class's field is how far its logit is above the highest other one, so that fields are
        above 0 on disjoint cells.
        """
        pixels = input_pixels(chip, self._gsd_m, self._device)
        logits = self._network.logits(pixels)[0]
        if not bool(logits.isfinite().all()):
            raise SegmenterError(f"{self.name} returned NaN or infinite values on a chip")
        logits = logits / self._temperature
        classes = logits[: len(CLASSES)]
        best = classes.topk(2, 0).values
        others = torch.where(classes == best[:1], best[1:], best[:1])
        fields = torch.cat([classes - others, logits[VEGETATION_PLANE:]])
        probabilities = torch.cat([classes.softmax(0), logits[VEGETATION_PLANE:].sigmoid()])
        fields = fields.clamp(-_MAX_LOGIT, _MAX_LOGIT)
        return fields.cpu().numpy(), probabilities.cpu().numpy()


def _objects(
    label: Label, field: NDArray[np.float32], confidence: NDArray[np.float32]
) -> list[Mask]:
    """A mask for each connected part, cropped with one cell around it."""
    parts, _ = ndimage.label(field > 0, _EIGHT_CONNECTED)
    masks = []
    for number, (down, across) in enumerate(ndimage.find_objects(parts), 1):
        row, column = max(0, down.start - 1), max(0, across.start - 1)
        window = (slice(row, down.stop + 1), slice(column, across.stop + 1))
        # Cells of other parts stay outside, just.
        own = np.where(parts[window] == number, field[window], np.minimum(field[window], -1e-3))
        masks.append(
            Mask(label, own.astype(np.float32), confidence[window], field.shape, row, column)
        )
    return masks

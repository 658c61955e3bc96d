"""SAM3 behind the `Segmenter` protocol: chips in batches, prompts stacked, the encoder once."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import LABELS, Label
from detection.segmenters.protocol import Mask
from detection.segmenters.sam3.exemplars import Exemplar
from detection.segmenters.sam3.forward import (
    Output,
    Precision,
    Pyramid,
    encode,
    heads,
    pyramid,
    set_precision,
)
from detection.segmenters.sam3.postprocess import Layer, cover, layers, objects, on_grid, unclaimed
from detection.segmenters.sam3.preprocess import preprocess
from detection.segmenters.sam3.prompts import Phrases, Text, prompt_tokens
from detection.segmenters.sam3.weights import Weights

log = logging.getLogger(__name__)

# Past 8 chips a batch gains little on a large GPU; a CPU gains nothing at all.
_BATCH = {"cuda": 8, "mps": 2, "cpu": 1}
_ROWS = 8
# Chips whose tokens are kept, 10.6 MB each in full size: for other prompts on the same chip.
_KEPT_CHIPS = 16

Shown = Mapping[str, Sequence[Exemplar]]


class Sam3:
    """Finds what a label's prompt names.

    Continuous labels have one mask a chip. Discrete ones have as few as keep things apart that
    touch; in each, what is connected is one thing, with its own score as confidence.

    Attributes:
        encoder_calls: how many chips the image encoder has seen.
        text_calls: how many phrases the text encoder has seen.
    """

    def __init__(
        self,
        weights: Weights,
        name: str = "sam3",
        device: str | None = None,
        precision: Precision | None = None,
        batch: int | None = None,
    ) -> None:
        """On a torch `device`, by default the best there is.

        Args:
            precision: of the parts that bear it; by default bfloat16 on CUDA, else float32.
            batch: chips at once; it is halved where they do not fit into memory.
        """
        self.name = f"{name}-1"
        self.weights_sha256: str | None = weights.sha256
        self.device = device or _best_device()
        self.precision: Precision = precision or _best_precision(self.device)
        self.batch = batch or _BATCH.get(torch.device(self.device).type, 1)
        self.encoder_calls = 0
        self._model = set_precision(weights.model, self.precision)
        nn.Module.to(self._model, self.device)
        self._side_px = int(self._model.vision_encoder.config.image_size)
        self._phrases = Phrases(self._model)
        # Rows of chips times prompts that the heads take at once.
        self._rows = max(self.batch, _ROWS)
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._announced = False

    @property
    def labels(self) -> tuple[str, ...]:
        """All that are known: it is asked in words."""
        return tuple(LABELS)

    @property
    def text_calls(self) -> int:
        """How many phrases the text encoder has seen."""
        return self._phrases.calls

    def segment(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        shown: Sequence[Shown] | None = None,
    ) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        Args:
            shown: for each chip, by the label's name, examples of what is meant.

        Raises:
            SegmenterError: a prompt or a chip that SAM3 cannot read, or one too large for the
                memory even alone.
        """
        found = list(self.segment_each(chips, labels, shown))
        for answer in found:
            if isinstance(answer, SegmenterError):
                raise answer
        return [answer for answer in found if not isinstance(answer, SegmenterError)]

    def segment_each(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        shown: Sequence[Shown] | None = None,
    ) -> Iterator[list[Mask] | SegmenterError]:
        """`segment`, chip by chip in their order; a chip that fails is its error, and no other's.

        Raises:
            SegmenterError: a prompt that SAM3 cannot read.
        """
        text = self._phrases.encode([label.prompt for label in labels])
        done = 0
        while done < len(chips):
            group = slice(done, min(done + self.batch, len(chips)))
            started = time.perf_counter()
            answers = self._answers(chips[group], labels, text, shown[group] if shown else None)
            self._announce(len(answers), len(labels), time.perf_counter() - started)
            yield from answers
            done = group.stop

    def _answers(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        text: Text,
        shown: Sequence[Shown] | None,
    ) -> list[list[Mask] | SegmenterError]:
        """The answers of chips at once; where that fails, of halves, until it is one's own."""
        failure: SegmenterError | None = None
        try:
            return list(self._masks(chips, labels, text, shown))
        except SegmenterError as error:
            failure = error
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(chips) > 1:
                self.batch = min(self.batch, (len(chips) + 1) // 2)
            elif self._rows > 1:
                self._rows //= 2
            else:
                failure = SegmenterError(
                    f"{self.device} has no memory left for one chip and one prompt: use a device "
                    "with more, or close what else runs on it"
                )
        # Only here is what the failed attempt held free to go.
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()
        if len(chips) == 1:
            return [failure] if failure else self._answers(chips, labels, text, shown)
        half = (len(chips) + 1) // 2
        parts = (slice(0, half), slice(half, None))
        return [
            answer
            for part in parts
            for answer in self._answers(chips[part], labels, text, shown[part] if shown else None)
        ]

    @torch.inference_mode()
    def _masks(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        text: Text,
        shown: Sequence[Shown] | None,
    ) -> list[list[Mask]]:
        seen = pyramid(self._model, self._tokens(chips))
        found: list[list[Mask]] = [[] for _ in chips]
        at_once = max(1, self._rows // len(chips))
        for start in range(0, len(labels), at_once):
            some = slice(start, start + at_once)
            output = self._heads(seen, text.of(some), chips, labels[some], shown)
            for number, chip in enumerate(chips):
                for column, label in enumerate(labels[some]):
                    row = number * len(labels[some]) + column
                    found[number] += _drawn(output, row, label, chip)
        return found

    def _tokens(self, chips: Sequence[Chip]) -> Tensor:
        """The ViT's tokens (n, s x s, channels); a chip that was just seen is not encoded again."""
        new = {chip.sha256: chip for chip in chips if chip.sha256 not in self._kept}
        if new:
            pixels = preprocess(list(new.values()), self._side_px, self.device)
            made = encode(self._model, pixels)
            self.encoder_calls += len(new)
            self._kept.update(zip(new, made, strict=True))
        tokens = torch.stack([self._kept[chip.sha256] for chip in chips])
        for chip in chips:
            self._kept.move_to_end(chip.sha256)
        while len(self._kept) > _KEPT_CHIPS:
            self._kept.popitem(last=False)
        return tokens

    def _heads(
        self,
        seen: Pyramid,
        text: Text,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        shown: Sequence[Shown] | None,
    ) -> Output:
        """What SAM3 says of these chips and labels: chips x labels rows, chip by chip."""
        exemplars = None
        if shown is not None:
            exemplars = [
                [example.in_units(chip.width, chip.height) for example in shows.get(label.name, ())]
                for chip, shows in zip(chips, shown, strict=True)
                for label in labels
            ]
        prompt = prompt_tokens(self._model, text, seen.levels[-1], seen.position, exemplars)
        return heads(self._model, seen.of_rows(len(labels)), *prompt)

    def _announce(self, chips: int, prompts: int, took_s: float) -> None:
        """Once, after the first batch, so that nobody waits long in the belief of a GPU."""
        if not self._announced:
            log.info(
                "%s on %s in %s, %d at once: %.2f chips a second with %d prompts",
                self.name, _device_name(self.device), self.precision, self.batch,
                chips / took_s, prompts,
            )  # fmt: skip
            self._announced = True


def _drawn(output: Output, row: int, label: Label, chip: Chip) -> list[Mask]:
    """The masks of one label on a chip, on the chip's grid."""
    found = objects(output, row)
    if label.kind == "continuous":
        return [_mask(cover(output, row, found), label, chip)]
    rest = unclaimed(output, row, found)
    drawn = [*layers(found), *([rest] if rest else [])]
    return [_mask(layer, label, chip) for layer in drawn]


def _mask(layer: Layer, label: Label, chip: Chip) -> Mask:
    fine = on_grid(layer, chip.height, chip.width)
    pixels = (fine.logits > 0).cpu().numpy() & np.asarray(chip.valid)
    return Mask(label, pixels, fine.confidence.cpu().numpy())


def _out_of_memory(error: Exception) -> bool:
    """Only CUDA has an error of its own for it; the others say it in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(some in str(error).lower() for some in words)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _best_precision(device: str) -> Precision:
    half = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if half else "float32"


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device == "cpu" else device

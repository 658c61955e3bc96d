"""SAM3 as a `Segmenter`: chips in batches, prompts stacked, the image encoder once per chip."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.memory_ladder import MemoryLadder
from detection.segmenters.interface import BoxPrompt, ClickPrompt, Mask
from detection.segmenters.sam3.clicks import exemplar_of, mask_at
from detection.segmenters.sam3.exemplars import Exemplar, has_points
from detection.segmenters.sam3.fast.linear import Precision
from detection.segmenters.sam3.forward import Sam3Output
from detection.segmenters.sam3.network import build_network
from detection.segmenters.sam3.postprocess import masks_from_output
from detection.segmenters.sam3.preprocess import preprocess
from detection.segmenters.sam3.prompts import PhraseCache, TextTokens
from detection.segmenters.sam3.weights import Weights

# A chip is 302 m wide, whatever the network's input size, unless the network was trained on others.
CHIP_PX, _GSD_M = 1008, 0.3
# Chips per batch that keep each kind of device busy. A CPU gains nothing from more than one.
_BATCH_SIZE = {"cuda": 16, "mps": 2, "cpu": 1}
# Prompts per pass of the heads: the masks of one prompt and chip take 33 MB at full size.
_PROMPTS_PER_PASS = 4
# The steps of its memory ladder.
_CHIPS, _PROMPTS = "chips per batch", "prompts per pass"
# LRU cache of chips' tokens (10.6 MB each at full size), for other prompts on the same chip.
_CACHED_CHIPS = 16

ExemplarsByLabel = Mapping[str, Sequence[Exemplar]]


class Sam3:
    """Detects what a label's prompt names.

    Attributes:
        chip_px: the side of a chip in pixels of `gsd_m`.
        encoder_calls: number of chips that the image encoder has processed.
        text_calls: number of phrases that the text encoder has processed.
    """

    labels: tuple[str, ...] | None = None
    gsd_m: float | None = _GSD_M

    def __init__(
        self,
        weights: Weights,
        name: str = "sam3",
        device: str | None = None,
        precision: Precision | None = None,
        batch: int | None = None,
        fast: bool | None = None,
        chip_px: int = CHIP_PX,
    ) -> None:
        """Use this torch `device`; by default CUDA, then MPS, then the CPU.

        Args:
            precision: of the robust parts; by default bf16 on CUDA, else float32. fp8 is faster
                but less accurate, and must be chosen explicitly.
            batch: chips per batch; halved when they do not fit into memory.
            fast: whether to use the fast forward pass; by default on CUDA, compiled.
            chip_px: the side of the chips that it was trained on, in pixels of 0.3 m.

        Raises:
            SegmenterError: a precision that these weights do not allow.
        """
        self.name = f"{name}-1"
        self.chip_px = chip_px
        self.weights_sha256: str | None = weights.sha256
        self._device = torch.device(device or _default_device())
        kind = self._device.type
        self.precision: Precision = precision or _default_precision(self._device)
        self._ladder = MemoryLadder(
            {_CHIPS: batch or _BATCH_SIZE.get(kind, 1), _PROMPTS: _PROMPTS_PER_PASS},
            _device_name(self._device),
        )
        self.encoder_calls = 0
        model = weights.model
        nn.Module.to(model, self._device)
        self._model = model
        self._side_px = int(model.vision_encoder.config.image_size)
        self._phrase_cache = PhraseCache(model)
        self._network = build_network(model, self.precision, fast=fast, compiled=kind == "cuda")
        # (chips, prompts) for which the network is compiled, and known to fit into memory.
        self._warmed_up: set[tuple[int, int]] = set()
        self._token_cache: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def batch(self) -> int:
        """Chips per batch, as far as memory allows."""
        return self._ladder[_CHIPS]

    @batch.setter
    def batch(self, chips: int) -> None:
        self._ladder[_CHIPS] = chips

    @property
    def chips_per_batch(self) -> int:
        """The best number of chips for one call of `segment`."""
        return self.batch

    @property
    def device(self) -> str:
        """Its device and precision, as text for people."""
        chips = "1 chip" if self.batch == 1 else f"{self.batch} chips"
        return f"{_device_name(self._device)} in {self.precision}, {chips} at once"

    @property
    def text_calls(self) -> int:
        """Number of phrases that the text encoder has processed."""
        return self._phrase_cache.calls

    def prepare(self, labels: Sequence[Label]) -> None:
        """Encode the prompts, and compile the network for their number if it is compiled.

        Raises:
            SegmenterError: an invalid prompt, or a device without memory for one chip.
        """
        if not labels:
            return
        text = self._phrase_cache.encode([label.prompt for label in labels])
        if not self._network.fixed_shapes:
            return
        with warnings.catch_warnings():
            # A warning about the compiler's internals.
            warnings.filterwarnings("ignore", "(?s).*[Oo]nline softmax is disabled", UserWarning)
            while (self.batch, len(labels)) not in self._warmed_up:
                if self._ladder.attempt(self._warm_up, labels, text) is None:
                    self._reduce_batch(self.batch)

    def segment(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        exemplars: Sequence[ExemplarsByLabel] | None = None,
    ) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        A continuous label has one mask for the full chip; a discrete one has a mask for each
        object, cropped to it.

        Args:
            exemplars: of each chip, by the label's name.

        Raises:
            SegmenterError: an invalid prompt or chip, or too little memory for a single chip.
        """
        if not labels:
            return [[] for _ in chips]
        text = self._phrase_cache.encode([label.prompt for label in labels])
        found: list[list[Mask]] = []
        while len(found) < len(chips):
            batch = chips[len(found) : len(found) + self.batch]
            batch_exemplars = exemplars[len(found) : len(found) + self.batch] if exemplars else None
            normalized = _normalized_exemplars(batch, labels, batch_exemplars)
            masks = self._ladder.attempt(self._segment_batch, batch, labels, text, normalized)
            if masks is None:
                self._reduce_batch(self.batch if self._network.fixed_shapes else len(batch))
            else:
                found += masks
        return found

    def mask_at(self, chip: Chip, label: Label, prompt: ClickPrompt | BoxPrompt) -> Mask | None:
        """The mask of the object of a label at a click, or in a box; None if there is none.

        The image encoder runs once per chip, whatever the label and the prompt.

        Raises:
            SegmenterError: an invalid prompt or chip, or too little memory.
        """
        text = self._phrase_cache.encode([label.prompt])
        shown = exemplar_of(prompt, chip, points=has_points(self._model))
        output = self._ladder.attempt(self._predict_one, chip, text, shown)
        if output is None:
            raise self._no_memory()
        return mask_at(output, label, prompt, chip)

    @torch.inference_mode()
    def _predict_one(self, chip: Chip, text: TextTokens, shown: Exemplar) -> Sam3Output:
        pyramid = self._network.feature_pyramid(self._tokens([chip]))
        return self._network.predict(pyramid, text, [[shown]])

    def _reduce_batch(self, chips: int) -> None:
        """After `chips` did not fit into memory: halve the batch, then the prompts per pass.

        Raises:
            SegmenterError: one chip and one prompt did not fit.
        """
        self._token_cache.clear()
        if not self._ladder.halve({_CHIPS: chips}):
            raise self._no_memory()

    def _no_memory(self) -> SegmenterError:
        return SegmenterError(
            f"{self._ladder.device} has too little memory for one chip and one prompt "
            f"({self._ladder.reason}). Use a device with more memory, or stop other processes on "
            "it; `lotline doctor` says which segmenters fit"
        )

    def _segment_batch(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        text: TextTokens,
        exemplars: Sequence[Sequence[Sequence[Exemplar]]] | None,
    ) -> list[list[Mask]]:
        return self._segment_tokens(self._tokens(chips), labels, text, exemplars)

    @torch.inference_mode()
    def _segment_tokens(
        self,
        tokens: Tensor,
        labels: Sequence[Label],
        text: TextTokens,
        exemplars: Sequence[Sequence[Sequence[Exemplar]]] | None = None,
    ) -> list[list[Mask]]:
        """The masks of n chips, from their tokens; exemplars are by chip and label."""
        chips = len(tokens)
        tokens = self._pad_to_batch(tokens)
        pyramid = self._network.feature_pyramid(tokens)
        found: list[list[Mask]] = [[] for _ in range(chips)]
        # Groups of equal size, or nearly: each size needs a compilation.
        groups = math.ceil(len(labels) / self._ladder[_PROMPTS])
        size = math.ceil(len(labels) / groups)
        for start in range(0, len(labels), size):
            group = labels[start : start + size]
            of_group = slice(start, start + len(group))
            rows_exemplars = None
            if exemplars is not None:
                rows_exemplars = [e for of_chip in exemplars for e in of_chip[of_group]]
                rows_exemplars += [()] * ((len(tokens) - chips) * len(group))
            output = self._network.predict(pyramid, text.select(of_group), rows_exemplars)
            rows = masks_from_output(output.first_rows(chips * len(group)), [*group] * chips)
            for row, masks in enumerate(rows):
                found[row // len(group)] += masks
        return found

    @torch.inference_mode()
    def _tokens(self, chips: Sequence[Chip]) -> Tensor:
        """The ViT's tokens (n, s x s, channels), from the LRU cache or newly encoded."""
        new = {chip.sha256: chip for chip in chips if chip.sha256 not in self._token_cache}
        if new:
            pixels = preprocess(list(new.values()), self._side_px, self._device)
            encoded = self._network.tokens(self._pad_to_batch(pixels))
            self.encoder_calls += len(new)
            # Cloned, so that a cached chip does not keep its full batch alive.
            self._token_cache.update(zip(new, map(Tensor.clone, encoded), strict=False))
        tokens = torch.stack([self._token_cache[chip.sha256] for chip in chips])
        for chip in chips:
            self._token_cache.move_to_end(chip.sha256)
        while len(self._token_cache) > max(_CACHED_CHIPS, self.batch):
            self._token_cache.popitem(last=False)
        return tokens

    @torch.inference_mode()
    def _warm_up(self, labels: Sequence[Label], text: TextTokens) -> bool:
        """Process an empty batch, which compiles the network for these shapes."""
        side = self._side_px
        pixels = torch.zeros(self.batch, 3, side, side, device=self._device)
        self._segment_tokens(self._network.tokens(pixels), labels, text)
        self._warmed_up.add((self.batch, len(labels)))
        return True

    def _pad_to_batch(self, rows: Tensor) -> Tensor:
        """Rows (n, ...), padded to a batch by repetition if the network has fixed shapes."""
        missing = self.batch - len(rows) if self._network.fixed_shapes else 0
        return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows


def _normalized_exemplars(
    chips: Sequence[Chip], labels: Sequence[Label], exemplars: Sequence[ExemplarsByLabel] | None
) -> list[list[list[Exemplar]]] | None:
    """Exemplars by chip and label, in 0..1 of the chip; None if there are none."""
    if exemplars is None or not any(any(of_chip.values()) for of_chip in exemplars):
        return None
    return [
        [
            [each.normalized(chip.width, chip.height) for each in of_chip.get(label.name, ())]
            for label in labels
        ]
        for chip, of_chip in zip(chips, exemplars, strict=True)
    ]


def _default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _default_precision(device: torch.device) -> Precision:
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU ({threads} threads)" if device.type == "cpu" else "Apple GPU"

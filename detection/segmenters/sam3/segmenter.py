"""SAM3 behind the `Segmenter` protocol: chips in batches, prompts stacked, the encoder once."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.segmenters.sam3.exemplars import Exemplar
from detection.segmenters.sam3.fast.linear import Precision
from detection.segmenters.sam3.network import build_network
from detection.segmenters.sam3.postprocess import masks_from_output
from detection.segmenters.sam3.preprocess import preprocess
from detection.segmenters.sam3.prompts import PhraseCache, TextTokens
from detection.segmenters.sam3.weights import Weights

# A chip of 302 m a side, whatever side the network squeezes it to.
_CHIP_PX, _GSD_M = 1008, 0.3
# Chips at once: what keeps each kind of device busy. A CPU gains nothing by more than one.
_BATCH = {"cuda": 16, "mps": 2, "cpu": 1}
# Prompts that the heads take at once: the masks of each and a chip are 33 MB in full size.
_PROMPTS = 4
# Chips whose tokens are kept, 10.6 MB each in full size: for other prompts on the same chip.
_KEPT_CHIPS = 16

ExemplarsByLabel = Mapping[str, Sequence[Exemplar]]
P = ParamSpec("P")
T = TypeVar("T")


class Sam3:
    """Finds what a label's prompt names.

    Attributes:
        encoder_calls: how many chips the image encoder has seen.
        text_calls: how many phrases the text encoder has seen.
    """

    labels: tuple[str, ...] | None = None
    chip_px = _CHIP_PX
    gsd_m: float | None = _GSD_M

    def __init__(
        self,
        weights: Weights,
        name: str = "sam3",
        device: str | None = None,
        precision: Precision | None = None,
        batch: int | None = None,
        fast: bool | None = None,
    ) -> None:
        """On a torch `device`, by default the best there is.

        Args:
            precision: of the parts that bear it; by default bf16 on CUDA, else float32. fp8 is
                quicker still, and must be asked for: it costs accuracy.
            batch: chips at once; it is halved where they do not fit into memory.
            fast: whether to use the fast forward pass; by default on CUDA, compiled.

        Raises:
            SegmenterError: a precision that these weights do not allow.
        """
        self.name = f"{name}-1"
        self.weights_sha256: str | None = weights.sha256
        self._device = torch.device(device or _best_device())
        kind = self._device.type
        self.precision: Precision = precision or _best_precision(self._device)
        self.batch = batch or _BATCH.get(kind, 1)
        self.encoder_calls = 0
        model = weights.model
        nn.Module.to(model, self._device)
        self._side_px = int(model.vision_encoder.config.image_size)
        self._phrases = PhraseCache(model)
        self._network = build_network(model, self.precision, fast=fast, compiled=kind == "cuda")
        self._prompts = _PROMPTS
        # Of chips and prompts at once, what went through already.
        self._tried: set[tuple[int, int]] = set()
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    @property
    def chips_per_batch(self) -> int:
        """How many chips it is best given together."""
        return self.batch

    @property
    def device(self) -> str:
        """What it runs on and how, in words for people."""
        chips = "1 chip" if self.batch == 1 else f"{self.batch} chips"
        return f"{_device_name(self._device)} in {self.precision}, {chips} at once"

    @property
    def text_calls(self) -> int:
        """How many phrases the text encoder has seen."""
        return self._phrases.calls

    def prepare(self, labels: Sequence[Label]) -> None:
        """Encode the prompts; where the network is compiled, compile it for so many of them.

        Raises:
            SegmenterError: a prompt that cannot be read, or a device without memory for a chip.
        """
        if not labels:
            return
        text = self._phrases.encode([label.prompt for label in labels])
        if not self._network.fixed_shapes:
            return
        with warnings.catch_warnings():
            # The compiler's advice to its own authors.
            warnings.filterwarnings("ignore", "(?s).*[Oo]nline softmax is disabled", UserWarning)
            while (self.batch, len(labels)) not in self._tried:
                if self._attempt(self._try_out, labels, text) is None:
                    self._make_room(self.batch)

    def segment(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        shown: Sequence[ExemplarsByLabel] | None = None,
    ) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        A continuous label has one mask a chip, over all of it; a discrete one has a mask for
        each object, as small as the object.

        Args:
            shown: for each chip, by the label's name, examples of what is meant.

        Raises:
            SegmenterError: a prompt or a chip that SAM3 cannot read, or a chip too large for the
                memory even alone.
        """
        if not labels:
            return [[] for _ in chips]
        text = self._phrases.encode([label.prompt for label in labels])
        found: list[list[Mask]] = []
        while len(found) < len(chips):
            some = chips[len(found) : len(found) + self.batch]
            shows = shown[len(found) : len(found) + self.batch] if shown else None
            examples = _in_units(some, labels, shows)
            masks = self._attempt(self._segmented, some, labels, text, examples)
            if masks is None:
                self._make_room(len(some))
            else:
                found += masks
        return found

    def _attempt(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T | None:
        """What the work gives, or None where the device has too little memory for it."""
        try:
            return work(*given, **named)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        return None

    def _make_room(self, chips: int) -> None:
        """After so many chips did not fit: fewer of them, and at one chip fewer prompts.

        Raises:
            SegmenterError: it was one chip and one prompt.
        """
        self._kept.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if chips > 1:
            self.batch = min(self.batch, (chips + 1) // 2)
        elif self._prompts > 1:
            self._prompts //= 2
        else:
            raise SegmenterError(
                f"{_device_name(self._device)} has no memory left for one chip and one prompt: "
                "use a device with more, or close what else runs on it"
            )

    def _segmented(
        self,
        chips: Sequence[Chip],
        labels: Sequence[Label],
        text: TextTokens,
        examples: Sequence[Sequence[Sequence[Exemplar]]] | None,
    ) -> list[list[Mask]]:
        return self._answers(self._tokens(chips), labels, text, examples)

    @torch.inference_mode()
    def _answers(
        self,
        tokens: Tensor,
        labels: Sequence[Label],
        text: TextTokens,
        examples: Sequence[Sequence[Sequence[Exemplar]]] | None = None,
    ) -> list[list[Mask]]:
        """The masks of n chips whose tokens are these; examples are by chip and label."""
        chips = len(tokens)
        tokens = self._filled_up(tokens)
        seen = self._network.feature_pyramid(tokens)
        found: list[list[Mask]] = [[] for _ in range(chips)]
        # Groups of one size, or nearly: a compiled network has to be so for each size.
        groups = math.ceil(len(labels) / self._prompts)
        size = math.ceil(len(labels) / groups)
        for start in range(0, len(labels), size):
            some = slice(start, min(start + size, len(labels)))
            shown = None
            if examples is not None:
                shown = [e for each in examples for e in each[some]]
                shown += [()] * ((len(tokens) - chips) * len(labels[some]))
            output = self._network.answer(seen, text.of(some), shown)
            rows = masks_from_output(
                output.first(chips * len(labels[some])), [*labels[some]] * chips
            )
            for number, masks in enumerate(rows):
                found[number // len(labels[some])] += masks
        return found

    @torch.inference_mode()
    def _tokens(self, chips: Sequence[Chip]) -> Tensor:
        """The ViT's tokens (n, s x s, channels); a chip that was just seen is not encoded again."""
        new = {chip.sha256: chip for chip in chips if chip.sha256 not in self._kept}
        if new:
            pixels = preprocess(list(new.values()), self._side_px, self._device)
            made = self._network.tokens(self._filled_up(pixels))
            self.encoder_calls += len(new)
            # Each by itself, so that none keeps its whole batch alive.
            self._kept.update(zip(new, map(Tensor.clone, made), strict=False))
        tokens = torch.stack([self._kept[chip.sha256] for chip in chips])
        for chip in chips:
            self._kept.move_to_end(chip.sha256)
        while len(self._kept) > max(_KEPT_CHIPS, self.batch):
            self._kept.popitem(last=False)
        return tokens

    @torch.inference_mode()
    def _try_out(self, labels: Sequence[Label], text: TextTokens) -> bool:
        """Let a batch of nothing through, which compiles what is compiled for so many."""
        side = self._side_px
        pixels = torch.zeros(self.batch, 3, side, side, device=self._device)
        self._answers(self._network.tokens(pixels), labels, text)
        self._tried.add((self.batch, len(labels)))
        return True

    def _filled_up(self, rows: Tensor) -> Tensor:
        """Rows (n, ...), repeated up to a batch where the network takes no other number."""
        lacking = self.batch - len(rows) if self._network.fixed_shapes else 0
        return torch.cat([rows, rows[-1:].expand(lacking, *rows.shape[1:])]) if lacking else rows


def _in_units(
    chips: Sequence[Chip], labels: Sequence[Label], shown: Sequence[ExemplarsByLabel] | None
) -> list[list[list[Exemplar]]] | None:
    """Examples by chip and label, in 0..1 of the chip; None where there are none."""
    if shown is None or not any(any(shows.values()) for shows in shown):
        return None
    return [
        [
            [example.normalized(chip.width, chip.height) for example in shows.get(label.name, ())]
            for label in labels
        ]
        for chip, shows in zip(chips, shown, strict=True)
    ]


def _out_of_memory(error: Exception) -> bool:
    """Only CUDA has an error of its own for it; the others say it in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(some in str(error).lower() for some in words)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _best_precision(device: torch.device) -> Precision:
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU ({threads} threads)" if device.type == "cpu" else "Apple GPU"

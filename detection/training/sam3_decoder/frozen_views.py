"""What the frozen parts of a network make of views, kept on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import Sam3Model

from detection.errors import TrainingError
from detection.memory_ladder import MemoryLadder
from detection.segmenters.sam3.forward import Pyramid, encode_image, feature_pyramid
from detection.segmenters.sam3.prompts import PhraseCache, TextTokens
from detection.training.sam3.matcher import MatchedObjects
from detection.training.sam3_decoder.batches import batch_targets, object_places
from detection.training.sam3_decoder.chip_views import ChipView, ViewRules
from detection.training.sam3_decoder.kept_views import KeptViews, tensors_sha256, text_sha256
from detection.training.sam3_decoder.step import BeforeMasks, before_masks
from detection.training.step_memory import device_text, no_memory_text

# Views that the encoder gets at once; a CPU gains nothing from more.
_AT_ONCE = {"cuda": 8, "cpu": 1}
_VIEWS = "views at once"
# Beside the tensors whose sizes are known: names, and the queries of objects.
_HEADER_BYTES = 1 << 16


class FrozenViews:
    """Tokens of views, and all before the mask decoder, from the disk or computed once."""

    def __init__(
        self, model: Sam3Model, rules: ViewRules, kept: KeptViews, start_sha256: str
    ) -> None:
        """Use a network on its device.

        Args:
            start_sha256: identifies all its weights.
        """
        self._model, self._rules, self._kept, self._start = model, rules, kept, start_sha256
        self._device = model.text_projection.weight.device
        self._encoder = tensors_sha256(model.vision_encoder.backbone)
        self._phrases = PhraseCache(model)

    def text(self, views: Sequence[ChipView]) -> TextTokens:
        """The tokens of each view's prompts, view by view."""
        return self._phrases.encode([phrase for view in views for phrase in view.truth.phrases])

    def keep_tokens(self, views: Sequence[ChipView], on_message: Callable[[str], None]) -> None:
        """Compute the ViT's tokens of the views that have none yet.

        Raises:
            TrainingError: they do not fit on the disk.
        """
        missing = self._kept.reserve({self._tokens_name(v): self._token_bytes for v in views})
        self._write_tokens([v for v in views if self._tokens_name(v) in missing], on_message)

    def tokens(self, views: Sequence[ChipView]) -> Tensor:
        """(v, s x s, channels) float32 of kept views."""
        parts = [self._kept.read(self._tokens_name(view))["tokens"] for view in views]
        return torch.stack(parts).to(self._device).float()

    def keep_before(
        self, views: Sequence[ChipView], pyramid: bool, on_message: Callable[[str], None]
    ) -> None:
        """Compute all that the mask decoder reads of the views that have none yet.

        Args:
            pyramid: whether to keep the pyramid instead of the tokens.

        Raises:
            TrainingError: they do not fit on the disk.
        """
        sizes = {self._before_name(v, pyramid): self._before_bytes(v, pyramid) for v in views}
        if not pyramid:
            sizes |= {self._tokens_name(view): self._token_bytes for view in views}
        missing = self._kept.reserve(sizes, "keep_pyramid=false, " if pyramid else "")
        self._write_tokens([v for v in views if self._tokens_name(v) in missing], on_message)
        new = [view for view in views if self._before_name(view, pyramid) in missing]
        if new:
            on_message(f"running all before the mask decoder on {len(new):,} views, once")
        parts = self._encoded(new) if pyramid else ((v, self.tokens([v])) for v in new)
        for view, tokens in parts:
            tensors = self._before_tensors(view, tokens, pyramid)
            self._kept.write(self._before_name(view, pyramid), tensors)

    def before(self, views: Sequence[ChipView], pyramid: bool) -> BeforeMasks:
        """What the mask decoder reads of kept views."""
        parts = [self._kept.read(self._before_name(view, pyramid)) for view in views]

        def together(name: str) -> Tensor:
            return torch.cat([part[name] for part in parts]).to(self._device)

        if pyramid:
            levels = tuple(together(f"level{number}").float() for number in range(3))
            features = Pyramid(levels, levels[-1].new_zeros(0))
        else:
            with torch.no_grad():
                features = feature_pyramid(self._model, self.tokens(views))
        queries, matched = _in_rows(together("queries").float(), views)
        return BeforeMasks(
            features, together("memory").float(), together("prompt").float(), together("valid"),
            queries, matched,
        )  # fmt: skip

    def _write_tokens(self, views: Sequence[ChipView], on_message: Callable[[str], None]) -> None:
        if views:
            on_message(f"encoding {len(views):,} views, once, into {self._kept.folder}")
        for view, tokens in self._encoded(views):
            self._kept.write(self._tokens_name(view), {"tokens": tokens[0]})

    def _encoded(self, views: Sequence[ChipView]) -> Iterator[tuple[ChipView, Tensor]]:
        """Each view with its tokens (1, s x s, channels).

        Raises:
            TrainingError: not even one view fits into memory.
        """
        at_once = _AT_ONCE.get(self._device.type, 1)
        ladder = MemoryLadder({_VIEWS: at_once}, device_text(self._device))
        start = 0
        while start < len(views):
            part = views[start : start + ladder[_VIEWS]]
            tokens = ladder.attempt(self._encode, part)
            if tokens is None:
                if not ladder.halve({_VIEWS: len(part)}):
                    raise TrainingError(no_memory_text("the encoder of one view", ladder))
                continue
            start += len(part)
            yield from ((view, tokens[row : row + 1]) for row, view in enumerate(part))

    @torch.no_grad()
    def _encode(self, views: Sequence[ChipView]) -> Tensor:
        pixels = torch.stack([view.pixels(self._rules) for view in views]).to(self._device)
        kind = self._device.type
        with torch.autocast(kind, torch.bfloat16, kind == "cuda"):
            return encode_image(self._model, pixels)

    def _before_tensors(self, view: ChipView, tokens: Tensor, pyramid: bool) -> dict[str, Tensor]:
        truth = batch_targets([view.truth], self._device)
        with torch.no_grad():
            before, _ = before_masks(self._model, tokens.float(), self.text([view]), truth)
        found = [
            before.queries[row, before.matched.queries[-1, row, slot]]
            for row, slot in object_places([view.truth])[0]
        ]
        width = before.queries.shape[-1]
        tensors = {
            "memory": before.memory, "prompt": before.prompt, "valid": before.valid,
            "queries": torch.stack(found) if found else before.memory.new_zeros(0, width),
        }  # fmt: skip
        if pyramid:
            tensors |= {f"level{n}": each for n, each in enumerate(before.features.levels)}
        return tensors

    @property
    def _tokens_per_side(self) -> int:
        return self._rules.side_px // int(self._model.vision_encoder.backbone.config.patch_size)

    @property
    def _token_bytes(self) -> int:
        channels = int(self._model.vision_encoder.backbone.config.hidden_size)
        return 2 * self._tokens_per_side**2 * channels + _HEADER_BYTES

    def _before_bytes(self, view: ChipView, pyramid: bool) -> int:
        width = int(self._model.text_projection.weight.shape[0])
        # The pyramid has cells of 1, 1/4 and 1/16 of a token.
        planes = len(view.truth.phrases) + (1 + 4 + 16 if pyramid else 0)
        return 2 * planes * self._tokens_per_side**2 * width + _HEADER_BYTES

    def _tokens_name(self, view: ChipView) -> str:
        return f"tokens-{text_sha256(self._encoder, view.key)}"

    def _before_name(self, view: ChipView, pyramid: bool) -> str:
        return f"before-{text_sha256(self._start, view.key, view.truth_sha256, pyramid)}"


def _in_rows(found: Tensor, views: Sequence[ChipView]) -> tuple[Tensor, MatchedObjects]:
    """(queries (r, k, channels) of the rows with objects, the object of each), of k found ones."""
    places, rows = object_places([view.truth for view in views])
    most = 1 + max((slot for _, slot in places), default=0)
    queries = found.new_zeros(len(rows), most, found.shape[-1])
    row, slot = (
        torch.tensor([place[axis] for place in places], dtype=torch.long, device=found.device)
        for axis in (0, 1)
    )
    queries[row, slot] = found
    order = torch.arange(most, device=found.device).expand(1, len(rows), most)
    # In the order of `PendingMatch.finish`: by row, then by slot.
    by_row = torch.argsort(row * most + slot)
    return queries, MatchedObjects(order, row[by_row], slot[by_row], most)

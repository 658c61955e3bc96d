"""The loss terms of a batch of views, from tokens or from what is kept before the mask decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam3Model

from detection.segmenters.sam3.exemplars import geometry_tokens
from detection.segmenters.sam3.forward import (
    DecoderOutput,
    Pyramid,
    decode_queries,
    feature_pyramid,
    fuse_prompt,
)
from detection.segmenters.sam3.prompts import TextTokens
from detection.training.sam3 import matcher
from detection.training.sam3.losses import Divisors, LossWeights, mask_losses, sam3_losses
from detection.training.sam3.mask_heads import embed_pixels, object_masks, semantic_map
from detection.training.sam3.matcher import MatchedObjects
from detection.training.sam3.targets import RowTargets


@dataclass(frozen=True, slots=True, eq=False)
class BeforeMasks:
    """What the mask decoder reads of v views with P prompts each: n = v x P rows.

    Attributes:
        features: of the views.
        memory: (n, s x s, channels), the DETR encoder's output.
        prompt, valid: (n, t, channels) and (n, t).
        queries: (r, q, channels) of the rows with objects, after the last layer.
        matched: which query answers for which object.
    """

    features: Pyramid
    memory: Tensor
    prompt: Tensor
    valid: Tensor
    queries: Tensor
    matched: MatchedObjects


def before_masks(
    model: Sam3Model, tokens: Tensor, text: TextTokens, truth: RowTargets
) -> tuple[BeforeMasks, DecoderOutput]:
    """All up to the mask decoder, and the decoder's output.

    Args:
        tokens: (v, s x s, channels) of the ViT.
        text: of each of the n rows.
    """
    kind = tokens.device.type
    features = feature_pyramid(model, tokens)
    prompts = len(text.tokens) // len(tokens)
    with torch.autocast(kind, enabled=False):
        coarse = features.levels[-1].float()
        # Without it the network is not Meta's: the CLS token is part of every prompt.
        shown, shown_valid = geometry_tokens(model, coarse, features.position)
        prompt = torch.cat([text.tokens, shown.repeat_interleave(prompts, 0)], 1)
        valid = torch.cat([text.valid, shown_valid.repeat_interleave(prompts, 0)], 1)
    rows = Pyramid((features.levels[-1],), features.position).repeat_rows(prompts)
    memory = fuse_prompt(model, rows, prompt, valid)
    with torch.autocast(kind, enabled=False):
        decoded = decode_queries(model, memory.float(), features.position, prompt, valid)
    of_objects = truth.object_rows
    boxes = decoded.boxes[:, of_objects]
    if truth.known is not None:
        boxes = truth.known.clip(boxes, of_objects)
    pending = matcher.start(decoded.logits[:, of_objects], boxes, truth.boxes, truth.counts)
    queries = decoded.queries[-1].index_select(0, of_objects)
    before = BeforeMasks(features, memory, prompt, valid, queries, pending.finish())
    return before, decoded


def masks_of(model: Sam3Model, before: BeforeMasks, truth: RowTargets) -> tuple[Tensor, Tensor]:
    """(objects' masks, semantic maps) as logits, by the mask decoder."""
    embedded = embed_pixels(model, before.features, before.memory, before.prompt, before.valid)
    semantic = semantic_map(model, embedded)
    of_objects = embedded.index_select(0, truth.object_rows)
    return object_masks(model, of_objects, before.queries, before.matched), semantic


def token_losses(
    model: Sam3Model,
    tokens: Tensor,
    text: TextTokens,
    truth: RowTargets,
    weights: LossWeights,
    by: Divisors | None = None,
) -> dict[str, Tensor]:
    """All terms, from the ViT's tokens; `by` as of `sam3_losses`."""
    before, decoded = before_masks(model, tokens, text, truth)
    masks, semantic = masks_of(model, before, truth)
    with torch.autocast(tokens.device.type, enabled=False):
        return sam3_losses(decoded, masks, semantic, before.matched, truth, weights, by)


def mask_decoder_losses(
    model: Sam3Model,
    before: BeforeMasks,
    truth: RowTargets,
    weights: LossWeights,
    by: Divisors | None = None,
) -> dict[str, Tensor]:
    """The terms of the masks: the mask decoder alone runs."""
    masks, semantic = masks_of(model, before, truth)
    with torch.autocast(before.memory.device.type, enabled=False):
        return mask_losses(masks, semantic, before.matched, truth, weights, by)

"""SAM3's masks as training needs them: only those of queries that are matched with an object.

The same arithmetic as `forward.predict_masks`, which draws a mask of every query of every prompt,
and repeats the image's features for each prompt. Here the pyramid is added to all prompts of a view
at once, and the instance projection is applied to the queries instead of to every cell.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model

from detection.segmenters.sam3.forward import Pyramid, prompt_mask
from detection.training.sam3.matcher import MatchedObjects


def embed_pixels(
    model: Sam3Model, features: Pyramid, memory: Tensor, prompt: Tensor, valid: Tensor
) -> Tensor:
    """(n, channels, 4s, 4s): each cell's embedding for each of n rows.

    Args:
        features: of the views, not repeated for their prompts.
        memory, prompt, valid: of the rows, view by view.
    """
    decoder: Any = model.mask_decoder  # transformers' parts are untyped
    normed = decoder.prompt_cross_attn_norm(memory)
    attended, _ = decoder.prompt_cross_attn(
        query=normed, key=prompt, value=prompt, attention_mask=prompt_mask(valid)
    )
    size = features.levels[-1].shape[-2:]
    cells: Tensor = (memory + attended).transpose(1, 2).reshape(len(memory), -1, *size)
    pixels = decoder.pixel_decoder
    finer = reversed(features.levels[:-1])
    # At full size there is a third convolution, which no level is for.
    for level, conv, norm in zip(finer, pixels.conv_layers, pixels.norms, strict=False):
        cells = functional.interpolate(cells, level.shape[-2:], mode="nearest")
        cells = (cells.view(len(level), -1, *cells.shape[1:]) + level[:, None]).flatten(0, 1)
        cells = functional.relu(norm(conv(cells)), inplace=True)
    return cells


def semantic_map(model: Sam3Model, pixels: Tensor) -> Tensor:
    """(n, 4s, 4s) logits of the rows' embedded pixels."""
    logits: Tensor = model.mask_decoder.semantic_projection(pixels)[:, 0]
    return logits


def object_masks(
    model: Sam3Model, pixels: Tensor, queries: Tensor, matched: MatchedObjects
) -> Tensor:
    """(t, 4s, 4s) mask logits of t objects, in the order of `matched.rows`.

    Args:
        pixels: (r, channels, 4s, 4s), embedded, of the rows that may have objects.
        queries: (r, queries, channels) of the last layer.
    """
    decoder: Any = model.mask_decoder
    most = max(1, matched.most)  # without objects too, so that every weight has a gradient
    chosen = matched.queries[-1, :, :most, None].expand(-1, -1, queries.shape[-1])
    wanted = decoder.mask_embedder(queries.gather(1, chosen))
    projection = decoder.instance_projection
    weighed = wanted @ projection.weight[:, :, 0, 0].to(wanted.dtype)
    shift = wanted @ projection.bias.to(wanted.dtype)
    logits = weighed @ pixels.flatten(2).to(weighed.dtype) + shift[..., None]
    flat: Tensor = logits.flatten(0, 1).index_select(0, matched.rows * most + matched.slots)
    return flat.view(-1, *pixels.shape[-2:])

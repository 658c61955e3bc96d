"""SAM3's forward pass: pixels and prompts -> scores, boxes, masks and the semantic map.

The modules are transformers'. They are connected here, because transformers' `forward` omits the
CLS token, synchronizes with the device twice per decoder layer (which also breaks a compiled
graph), and computes a pyramid level that is never used.

Rows are chips x prompts, chip by chip; the image encoder runs once per chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Sam3Model
from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

from detection.segmenters.sam3.fast.linear import Precision, dtype_of


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """The image features of n chips, from the encoder's neck.

    Attributes:
        levels: (n, channels, 4s, 4s), (n, channels, 2s, 2s) and (n, channels, s, s).
        position: (1, channels, s, s) float32, the position encoding of the coarsest.
    """

    levels: tuple[Tensor, ...]
    position: Tensor

    def repeat_rows(self, prompts: int) -> Pyramid:
        """Repeat each chip for its prompts."""
        levels = tuple(level.repeat_interleave(prompts, 0) for level in self.levels)
        return Pyramid(levels, self.position)


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """The queries of n rows after each decoder layer, all float32.

    Attributes:
        queries: (layers, n, q, channels)
        boxes: (layers, n, q, 4) as centre x, centre y, width, height in 0..1 of the chip.
        logits: (layers, n, q), how well each query matches the prompt.
        presence: (layers, n), the logit that the prompt occurs in the chip.
    """

    queries: Tensor
    boxes: Tensor
    logits: Tensor
    presence: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Sam3Output:
    """SAM3's output for n rows.

    Attributes:
        scores: (n, q) in 0..1: match with the prompt x presence.
        presence: (n,) in 0..1.
        boxes: (n, q, 4) left, top, right, bottom in 0..1 of the chip.
        masks: (n, q, 4s, 4s) logits.
        semantic: (n, 4s, 4s) logits.
    """

    scores: Tensor
    presence: Tensor
    boxes: Tensor
    masks: Tensor
    semantic: Tensor

    def first_rows(self, rows: int) -> Sam3Output:
        """The output of the first `rows` rows."""
        parts = (self.scores, self.presence, self.boxes, self.masks, self.semantic)
        return Sam3Output(*(part[:rows] for part in parts))


class _StaticShape:
    """Replaces the decoder's tensor of spatial shapes with Python integers, to avoid a sync."""

    shape = (1, 2)

    def __init__(self, height: int, width: int) -> None:
        self._size = (height, width)

    def __getitem__(self, index: tuple[int, int]) -> int:
        return self._size[index[1]]


def set_precision(model: Sam3Model, precision: Precision) -> Sam3Model:
    """Convert the robust parts to bf16; text, prompts, decoder and boxes stay float32.

    Only parameters are converted: in bfloat16, the rotary buffers would lose the positions.
    """
    dtype = dtype_of(precision)
    parts: tuple[nn.Module, ...] = (model.vision_encoder, model.detr_encoder, model.mask_decoder)
    for part in parts:
        for parameter in part.parameters():
            parameter.data = parameter.data.to(dtype)
    return model


def encode_image(model: Sam3Model, pixels: Tensor) -> Tensor:
    """Pixels (n, 3, side, side) -> the ViT's tokens (n, s x s, channels), which are cached."""
    tokens: Tensor = model.vision_encoder.backbone(pixels).last_hidden_state
    return tokens


def feature_pyramid(model: Sam3Model, tokens: Tensor) -> Pyramid:
    """The neck: tokens (n, s x s, channels) -> the three pyramid levels that the heads use."""
    neck = model.vision_encoder.neck
    side = math.isqrt(tokens.shape[1])
    grid = tokens.view(-1, side, side, tokens.shape[2]).permute(0, 3, 1, 2)
    levels = tuple(layer(grid) for layer in neck.fpn_layers[:3])
    shape = torch.Size((1, *levels[-1].shape[1:]))
    return Pyramid(levels, neck.position_encoding(shape, tokens.device, torch.float32))


def prompt_mask(valid: Tensor) -> Tensor:
    """(n, 1, 1, t): what may be attended to, of valid (n, t).

    From two dimensions transformers would make the same, but first read on the host whether all are
    valid, which waits for the device.
    """
    return valid[:, None, None]


def fuse_prompt(model: Sam3Model, features: Pyramid, prompt: Tensor, valid: Tensor) -> Tensor:
    """The DETR encoder: image features attend to the prompt -> memory (n, s x s, channels).

    Args:
        features: of n rows, not of chips.
        prompt: (n, t, channels) float32.
        valid: (n, t) bool, False for padding of the prompt.
    """
    coarse = features.levels[-1]
    memory: Tensor = model.detr_encoder(
        vision_features=[coarse],
        text_features=prompt.to(coarse.dtype),
        vision_pos_embeds=[features.position.expand(len(coarse), -1, -1, -1).to(coarse.dtype)],
        text_mask=prompt_mask(valid),
    ).last_hidden_state
    return memory


def decode_queries(
    model: Sam3Model, memory: Tensor, position: Tensor, prompt: Tensor, valid: Tensor
) -> DecoderOutput:
    """The DETR decoder: the queries of n rows, in float32.

    Args:
        memory: from `fuse_prompt`.
        position: (1, channels, s, s), as in `Pyramid`.
    """
    decoder = model.detr_decoder
    decoded = decoder(
        vision_features=memory.float(),
        text_features=prompt,
        vision_pos_encoding=position.flatten(2).transpose(1, 2).expand(len(memory), -1, -1),
        text_mask=prompt_mask(valid),
        spatial_shapes=_StaticShape(*position.shape[-2:]),
    )
    queries = decoded.intermediate_hidden_states
    offsets = decoder.box_head(queries) + inverse_sigmoid(decoded.reference_boxes)
    logits = model.dot_product_scoring(
        decoder_hidden_states=queries, text_features=prompt, text_mask=valid
    )
    return DecoderOutput(
        queries, offsets.sigmoid(), logits.squeeze(-1), decoded.presence_logits.squeeze(-1)
    )


def predict_masks(
    model: Sam3Model,
    features: Pyramid,
    queries: Tensor,
    memory: Tensor,
    prompt: Tensor,
    valid: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mask logits (n, q, 4s, 4s) of queries (n, q, channels), and of the semantic map."""
    dtype = features.levels[-1].dtype
    output = model.mask_decoder(
        decoder_queries=queries.to(dtype),
        backbone_features=list(features.levels),
        encoder_hidden_states=memory,
        prompt_features=prompt.to(dtype),
        prompt_mask=prompt_mask(valid),
    )
    return output.pred_masks, output.semantic_seg[:, 0]


def box_corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) given by centre and size, as left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def run_heads(model: Sam3Model, features: Pyramid, prompt: Tensor, valid: Tensor) -> Sam3Output:
    """The output of n rows: `fuse_prompt`, `decode_queries`, `predict_masks` of the last layer."""
    memory = fuse_prompt(model, features, prompt, valid)
    decoded = decode_queries(model, memory, features.position, prompt, valid)
    masks, semantic = predict_masks(model, features, decoded.queries[-1], memory, prompt, valid)
    presence = decoded.presence[-1].sigmoid()
    return Sam3Output(
        scores=decoded.logits[-1].sigmoid() * presence[:, None],
        presence=presence,
        boxes=box_corners(decoded.boxes[-1]),
        masks=masks,
        semantic=semantic,
    )

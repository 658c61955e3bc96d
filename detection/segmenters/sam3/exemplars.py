"""Positive and negative exemplars (boxes and points on a chip) -> prompt tokens.

The arithmetic is Meta's geometry encoder (facebookresearch/sam3, `geometry_encoders.py`);
transformers has all of it except points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3.host_copy import copy_to

_POINT_LAYERS = ("points_direct_project", "points_pool_project", "points_pos_enc_project")


@dataclass(frozen=True, slots=True)
class BoxExemplar:
    """A box around one example, in pixels of the chip; a negative one excludes such objects."""

    left: float
    top: float
    right: float
    bottom: float
    positive: bool = True

    def normalized(self, width: float, height: float) -> BoxExemplar:
        """In 0..1 of a chip of that size."""
        return BoxExemplar(
            self.left / width, self.top / height, self.right / width, self.bottom / height,
            self.positive,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PointExemplar:
    """A point on an example, in pixels from the chip's upper left corner."""

    x: float
    y: float
    positive: bool = True

    def normalized(self, width: float, height: float) -> PointExemplar:
        """In 0..1 of a chip of that size."""
        return PointExemplar(self.x / width, self.y / height, self.positive)


Exemplar = BoxExemplar | PointExemplar


def add_points(model: Sam3Model) -> None:
    """Add the three layers that encode points to a transformers network, without weights."""
    width = model.geometry_encoder.hidden_size
    for name, inputs in zip(_POINT_LAYERS, (2, width, width), strict=True):
        setattr(model.geometry_encoder, name, nn.Linear(inputs, width))


def has_points(model: Sam3Model) -> bool:
    """Whether the network can encode points."""
    return hasattr(model.geometry_encoder, _POINT_LAYERS[0])


def geometry_tokens(
    model: Sam3Model,
    features: Tensor,
    position: Tensor,
    exemplars: Sequence[Sequence[Exemplar]] | None = None,
) -> tuple[Tensor, Tensor]:
    """The CLS token and the exemplars' tokens, and which of them are valid.

    A prompt without exemplars still has the CLS token, as in Meta's training; transformers omits
    it.

    Args:
        features: (n, channels, h, w), the coarsest level of the pyramid.
        position: (1, channels, h, w), its position encoding.
        exemplars: of each of the n rows, in 0..1 of the chip; None for none at all.

    Returns:
        tokens (n, 1 + k, channels) and valid (n, 1 + k) bool; k is the maximum per row.

    Raises:
        SegmenterError: points, but the weights have no encoder for them.
    """
    encoder = model.geometry_encoder
    rows = features.shape[0]
    cls = encoder.cls_embed.weight.expand(rows, 1, -1)
    valid = torch.ones(rows, 1, dtype=torch.bool, device=features.device)
    tokens, attend = cls, None
    if exemplars is not None and any(exemplars):
        shown, shown_valid = _exemplar_tokens(model, features, exemplars)
        tokens, valid = torch.cat([cls, shown], 1), torch.cat([valid, shown_valid], 1)
        attend = valid[:, None, None].expand(-1, 1, valid.shape[1], -1)
    tokens = encoder.prompt_layer_norm(encoder.final_proj(tokens))
    flat = features.flatten(2).transpose(1, 2)
    flat_position = position.flatten(2).transpose(1, 2).expand(rows, -1, -1)
    for layer in encoder.layers:
        tokens = layer(
            prompt_feats=tokens,
            vision_feats=flat,
            vision_pos_encoding=flat_position,
            prompt_mask=attend,
        )
    return encoder.output_layer_norm(tokens), valid


def roi_align(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """RoIAlign: the mean of features (channels, h, w) in size x size bins of each of k boxes.

    He et al. (2017), Mask R-CNN; equals torchvision's `roi_align` with `aligned=False` and one
    sample per cell. The mean of bilinear samples on a grid is separable: one matrix for rows, one
    for columns. These are made on the host, for all boxes at once.

    Args:
        features: or (k, channels, h, w), of each box.
        boxes: (k, 4) left, top, right, bottom in cells of the features.

    Returns:
        (k, channels, size, size)
    """
    height, width = features.shape[-2:]
    left, top, right, bottom = boxes.cpu().double().unbind(1)
    down, across = (
        copy_to(_bin_weights(start, end, cells, size).to(features.dtype), features.device)
        for start, end, cells in ((top, bottom, height), (left, right, width))
    )
    each = features if features.ndim == 4 else features.expand(len(boxes), -1, -1, -1)
    return torch.einsum("kih,kchw,kjw->kcij", down, each, across)


def _bin_weights(start: Tensor, end: Tensor, cells: int, bins: int) -> Tensor:
    """(k, bins, cells): the weight of each cell in the mean of each bin of k extents."""
    step = (end - start).clamp(min=1.0)[:, None] / bins
    samples = step.ceil()
    number = torch.arange(int(samples.max()), dtype=torch.float64)
    within = ((number + 0.5) / samples)[:, None]
    at = start[:, None, None] + (torch.arange(bins)[:, None] + within) * step[..., None]
    inside = ((at >= -1) & (at <= cells) & (number < samples)[:, None]) / samples[..., None]
    at = at.clamp(0, cells - 1)
    low = at.floor().long()
    share = at - low
    weights = torch.zeros(len(start), bins, cells, dtype=torch.float64)
    weights.scatter_add_(2, low, (1 - share) * inside)
    return weights.scatter_add_(2, (low + 1).clamp(max=cells - 1), share * inside)


def _exemplar_tokens(
    model: Sam3Model, features: Tensor, exemplars: Sequence[Sequence[Exemplar]]
) -> tuple[Tensor, Tensor]:
    """Tokens (n, k, channels) of the exemplars, zero-padded to k per row; and valid (n, k)."""
    encoder, device = model.geometry_encoder, features.device
    normed = encoder.vision_layer_norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    tokens = features.new_zeros(len(exemplars), max(map(len, exemplars)), features.shape[1])
    valid = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    placed = [
        (row, column, exemplar)
        for row, shown in enumerate(exemplars)
        for column, exemplar in enumerate(shown)
    ]
    boxes = [each for each in placed if isinstance(each[2], BoxExemplar)]
    points = [each for each in placed if isinstance(each[2], PointExemplar)]
    for encode, chosen in ((_box_tokens, boxes), (_point_tokens, points)):
        if not chosen:
            continue
        rows, columns, shown = zip(*chosen, strict=True)
        at_rows, at_columns, positive = (
            copy_to(torch.tensor(numbers), device)
            for numbers in (rows, columns, [int(each.positive) for each in shown])
        )
        found = encode(model, normed[at_rows], shown) + encoder.label_embed.weight[positive]
        tokens = tokens.index_put((at_rows, at_columns), found)
        valid[list(rows), list(columns)] = True
    return tokens, copy_to(valid, device)


def _box_tokens(model: Sam3Model, features: Tensor, boxes: Sequence[BoxExemplar]) -> Tensor:
    """(k, channels) of boxes, on features (k, channels, h, w)."""
    encoder = model.geometry_encoder
    height, width = features.shape[-2:]
    on_host = torch.tensor([[box.left, box.top, box.right, box.bottom] for box in boxes])
    pooled = roi_align(features, on_host * torch.tensor([width, height] * 2), encoder.roi_size)
    corners = copy_to(on_host, features.device).to(features.dtype)
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    extent = corners[:, 2:] - corners[:, :2]
    place = encoder._encode_box_coordinates(*middle.unbind(1), *extent.unbind(1))
    token = encoder.boxes_direct_project(torch.cat([middle, extent], 1))
    token = token + encoder.boxes_pool_project(pooled).flatten(1)
    total: Tensor = token + encoder.boxes_pos_enc_project(place)
    return total


def _point_tokens(model: Sam3Model, features: Tensor, points: Sequence[PointExemplar]) -> Tensor:
    """(k, channels) of points, on features (k, channels, h, w)."""
    if not has_points(model):
        raise SegmenterError(
            "these weights cannot encode points: transformers' layout of SAM3 omits that encoder. "
            "Use a box around the example, or load Meta's sam3.pt"
        )
    encoder = model.geometry_encoder
    on_host = torch.tensor([[point.x, point.y] for point in points])
    at = copy_to(on_host, features.device).to(features.dtype)
    pooled = functional.grid_sample(
        features, (2 * at - 1)[:, None, None], align_corners=False
    ).flatten(1)
    place = torch.cat(encoder.position_encoding.encode_1d_positions(*at.unbind(1)), 1)
    # In the order of `_POINT_LAYERS`.
    parts = zip(_POINT_LAYERS, (at, pooled, place), strict=True)
    total: Tensor = sum(encoder.get_submodule(name)(part) for name, part in parts)
    return total

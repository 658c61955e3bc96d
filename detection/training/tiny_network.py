"""The architecture of sam3-tiny and an initialisation from which it learns quickly.

It has every part of SAM3, only narrower. With a random initialisation it would need far more images
than twenty minutes on a CPU allow, so the initial weights encode what takes longest to learn: a
patch is an image of 4 x 4 cells, positions are known, queries are on a grid, and each query attends
to its box.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam3Config, Sam3Model

SIDE_PX = (
    672  # a chip of 1008 px resized: 0.45 m per pixel of the sample county, 1.6 m per mask pixel
)
TOKENS = SIDE_PX // 14
MASK_PX = 4 * TOKENS
_WIDTH = 32
_VIT_WIDTH = 96
_HEADS = 4
_QUERIES_PER_SIDE = 14
_CELLS = 4  # per side of a patch, one for each pixel of the mask


def tiny_config() -> Sam3Config:
    """The smallest configuration that finds roofs: 0.4 % of SAM3's width times depth."""
    sides = [[TOKENS * 4] * 2, [TOKENS * 2] * 2, [TOKENS] * 2]
    narrow = {"hidden_size": _WIDTH, "num_attention_heads": _HEADS}
    return Sam3Config(
        vision_config={
            "fpn_hidden_size": _WIDTH,
            "backbone_feature_sizes": sides,
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": _VIT_WIDTH,
                "intermediate_size": 2 * _VIT_WIDTH,
                "num_hidden_layers": 3,
                "num_attention_heads": _HEADS,
                "image_size": SIDE_PX,
                "pretrain_image_size": SIDE_PX,
                "window_size": 12,
                "global_attn_indexes": [2],
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": 49408,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
        },
        geometry_encoder_config=narrow
        | {"num_layers": 1, "intermediate_size": 2 * _WIDTH, "roi_size": 3, "dropout": 0.0},
        detr_encoder_config=narrow
        | {"num_layers": 1, "intermediate_size": 2 * _WIDTH, "dropout": 0.0},
        detr_decoder_config=narrow
        | {
            "num_layers": 2,
            "num_queries": _QUERIES_PER_SIDE**2,
            "intermediate_size": 2 * _WIDTH,
            "dropout": 0.0,
        },
        mask_decoder_config=narrow | {"num_upsampling_stages": 2},
    )


@torch.no_grad()
def tiny_network(seed: int) -> Sam3Model:
    """An initialised network, ready for training."""
    torch.manual_seed(seed)
    model = Sam3Model(tiny_config())
    for module in model.modules():
        # The default of transformers (standard deviation 0.02) suits networks forty times as wide.
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
    _scale_down_residuals(model)
    model.text_encoder.text_model.embeddings.token_embedding.weight.normal_(0, 1)
    _encode_patches_as_pixels(model)
    _encode_positions(model)
    _place_queries_on_a_grid(model)
    return model


def _scale_down_residuals(model: Any) -> None:  # noqa: ANN401  parts of a network are untyped
    """Keep the initial features: residual branches start small, except those of the prompt."""
    for name, parameter in model.named_parameters():
        uses_prompt = "text_cross" in name or "prompt_cross" in name or "detr_encoder" in name
        if name.endswith(("o_proj.weight", "mlp.fc2.weight")) and not uses_prompt:
            parameter.mul_(0.3)
    for level in model.vision_encoder.neck.fpn_layers:
        level.proj2.weight.mul_(0.3)
        level.proj2.weight[:, :, 1, 1] += torch.eye(_WIDTH)


def _encode_patches_as_pixels(model: Any) -> None:  # noqa: ANN401  parts of a network are untyped
    """Channels 0..47 of a token are the colours of its 4 x 4 cells; the neck upsamples them."""
    edges = torch.arange(15) * _CELLS / 14
    share = torch.zeros(_CELLS, 14)
    for cell in range(_CELLS):
        share[cell] = (edges[1:].clamp(max=cell + 1) - edges[:-1].clamp(min=cell)).clamp(min=0)
    share /= share.sum(1, keepdim=True)
    means = torch.einsum("ip,jq->ijpq", share, share)
    patch = model.vision_encoder.backbone.embeddings.patch_embeddings.projection.weight
    for index in range(_CELLS**2):
        for colour in range(3):
            patch[3 * index + colour] = 0
            patch[3 * index + colour, colour] = 3 * means[index // _CELLS, index % _CELLS]
    fine, middle = model.vision_encoder.neck.fpn_layers[:2]
    for layer in (fine.scale_layers[0], middle.scale_layers[0]):
        for row in range(2):
            for column in range(2):
                for inner in range(4):
                    index = (2 * row + inner // 2) * _CELLS + 2 * column + inner % 2
                    for colour in range(3):
                        layer.weight[:, 3 * inner + colour, row, column] = 0
                        layer.weight[3 * index + colour, 3 * inner + colour, row, column] = 1
    fine.scale_layers[0].bias[:12] = 2.0  # in the linear range of the following GELU
    finest = fine.scale_layers[2]
    for inner in range(4):
        for colour in range(3):
            finest.weight[:, colour, inner // 2, inner % 2] = 0
            finest.weight[3 * inner + colour, colour, inner // 2, inner % 2] = 1
    finest.bias[:3] = -2.0


def _encode_positions(model: Any) -> None:  # noqa: ANN401  parts of a network are untyped
    """Channels 48..95 of a position embedding are sines and cosines of several wavelengths."""
    rows, columns = torch.meshgrid(torch.arange(TOKENS), torch.arange(TOKENS), indexing="ij")
    waves: list[Tensor] = []
    for step in range(12):
        turns = 0.5 * 2 ** (step * math.log2(16) / 11)
        for axis in (rows, columns):
            angle = 2 * math.pi * turns * axis / TOKENS
            waves += [angle.sin(), angle.cos()]
    place = model.vision_encoder.backbone.embeddings.position_embeddings
    place.zero_()
    place[0, :, 48:] = torch.stack(waves, -1).flatten(0, 1)


def _place_queries_on_a_grid(model: Any) -> None:  # noqa: ANN401  parts of a network are untyped
    """A query starts with a box of 5 % of the chip on a grid, and attends mostly to it."""
    decoder = model.detr_decoder
    middle = (torch.arange(_QUERIES_PER_SIDE) + 0.5) / _QUERIES_PER_SIDE
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    size = torch.full_like(x, 0.05)
    decoder.reference_points.weight.copy_(torch.stack([x, y, size, size], -1).flatten(0, 1).logit())
    decoder.query_embed.weight.normal_(0, 0.1)
    decoder.box_head.layer3.weight.mul_(0.1)
    decoder.box_head.layer3.bias.zero_()
    steepness = torch.tensor([10.0, 20.0, 40.0, 80.0])
    for bias in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
        # The two inputs are the distances of a position from the start and from the end of the box.
        bias.layer1.weight[:2] = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        bias.layer1.bias[:2] = 0
        bias.layer2.weight[:, :2] = -steepness[:, None]
        bias.layer2.weight[:, 2:] *= 0.1
        bias.layer2.bias.zero_()

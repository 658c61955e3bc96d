"""The architecture of sam3-nano, and an initialisation from which it learns quickly.

It has every part of SAM3. A chip of 336 px at 0.3 m covers 100.8 m; a mask cell is 1.05 m, about
the resolution of the teacher. The cost on a CPU is mostly that of the mask decoder, which runs for
each prompt, so the heads are narrow and the encoder, which runs once per chip, is not.

With a random initialisation a token would first have to learn to carry its 14 x 14 pixels to the
finest pyramid level. Instead a part of its channels starts as the colours of its 4 x 4 mask cells,
which the neck unpacks, and another part as its position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam3Config, Sam3Model

from detection.segmenters.sam3.config import VOCABULARY_SIZE
from detection.segmenters.sam3.tokens import CONTEXT_LENGTH

GSD_M = 0.3
PATCH_PX = 14
_HEADS = 4
_TEXT_WIDTH = 64
_CELLS = 4  # mask cells per side of a patch
_COLOUR_CHANNELS = 3 * _CELLS**2
_POSITION_CHANNELS = 48
_BOX_M = 15.0  # side of a query's first box: a house with its eaves


@dataclass(frozen=True, slots=True)
class NanoSize:
    """The sizes of a network; the defaults are those of sam3-nano.

    Attributes:
        chip_px: the side of a chip, a multiple of 28.
        width: channels of the pyramid and the heads, a multiple of 8.
        vit_width: channels of a token, at least 96 and a multiple of 16.
        vit_layers: half of them, and the last, see the whole chip; an even number.
        queries_per_side: the queries start on a grid.
    """

    chip_px: int = 336
    width: int = 96
    vit_width: int = 288
    vit_layers: int = 8
    queries_per_side: int = 7

    @property
    def tokens(self) -> int:
        """Tokens per side."""
        return self.chip_px // PATCH_PX

    @property
    def cells(self) -> int:
        """Mask cells per side."""
        return _CELLS * self.tokens


NANO = NanoSize()


def nano_config(size: NanoSize = NANO) -> Sam3Config:
    """The configuration: 10 million parameters without the token table."""
    sides = [[size.tokens * scale] * 2 for scale in (4, 2, 1)]
    width = size.width
    heads = {"hidden_size": width, "num_attention_heads": _HEADS}
    return Sam3Config(
        vision_config={
            "fpn_hidden_size": width,
            "backbone_feature_sizes": sides,
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": size.vit_width,
                "intermediate_size": 4 * size.vit_width,
                "num_hidden_layers": size.vit_layers,
                "num_attention_heads": _HEADS,
                "image_size": size.chip_px,
                "pretrain_image_size": size.chip_px,
                "window_size": size.tokens // 2,
                "global_attn_indexes": [size.vit_layers // 2 - 1, size.vit_layers - 1],
            },
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": _TEXT_WIDTH,
            "intermediate_size": 2 * _TEXT_WIDTH,
            "projection_dim": _TEXT_WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": CONTEXT_LENGTH,
            "hidden_act": "gelu",
        },
        geometry_encoder_config=heads
        | {"num_layers": 1, "intermediate_size": 2 * width, "roi_size": 3, "dropout": 0.0},
        detr_encoder_config=heads
        | {"num_layers": 2, "intermediate_size": 4 * width, "dropout": 0.0},
        detr_decoder_config=heads
        | {
            "num_layers": 3,
            "num_queries": size.queries_per_side**2,
            "intermediate_size": 4 * width,
            "dropout": 0.0,
        },
        mask_decoder_config=heads | {"num_upsampling_stages": 2},
    )


@torch.no_grad()
def nano_network(seed: int, size: NanoSize = NANO) -> Sam3Model:
    """An initialised network on the CPU, in float32; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam3Model(nano_config(size))
        for module in model.modules():
            # transformers' 0.02 suits networks that are several times as wide.
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.reset_parameters()
        model.text_encoder.text_model.embeddings.token_embedding.weight.normal_(0, 1)
        _shrink_residual_branches(model, size.vit_layers)
        _encode_patches_as_pixels(model.vision_encoder)
        _encode_positions(model.vision_encoder.backbone, size.tokens)
        _place_queries_on_a_grid(model.detr_decoder, size)
        _start_masks_near_zero(model.mask_decoder)
    return model


def _start_masks_near_zero(decoder: Any) -> None:  # noqa: ANN401  parts are untyped
    """A mask is a sum over all channels, which would start far from 0."""
    last = decoder.mask_embedder.layers[-1]
    last.weight.mul_(0.1)
    last.bias.zero_()


def _shrink_residual_branches(model: nn.Module, layers: int) -> None:
    """Scale the last layer of the ViT's residual branches by depth, as in GPT-2."""
    scale = 1 / math.sqrt(2 * layers)
    for name, parameter in model.named_parameters():
        if ".backbone.layers." in name and name.endswith(("o_proj.weight", "mlp.fc2.weight")):
            parameter.mul_(scale)


def _encode_patches_as_pixels(vision: Any) -> None:  # noqa: ANN401  parts of a network are untyped
    """Channels 0..47 of a token are its cells' mean colours; the neck unpacks two by two."""
    patches = vision.backbone.embeddings.patch_embeddings.projection.weight
    share = _overlap_shares(_CELLS, patches.shape[-1])
    patches[:_COLOUR_CHANNELS] = 0
    for channel in range(_COLOUR_CHANNELS):
        row, column, colour = _cell_of(channel)
        patches[channel, colour] = 2 * share[row][:, None] * share[column][None, :]
    level = vision.neck.fpn_layers[0]
    coarse, fine = level.scale_layers[0], level.scale_layers[2]
    quarter = _COLOUR_CHANNELS // 4
    coarse.weight[:, :quarter] = 0
    for channel in range(_COLOUR_CHANNELS):
        row, column, colour = _cell_of(channel)
        inner = 2 * (row % 2) + column % 2
        coarse.weight[channel, 3 * inner + colour, row // 2, column // 2] = 1
    coarse.bias[:quarter] = 2.0  # the linear range of the GELU that follows
    fine.weight[:, :3] = 0
    for inner in range(4):
        for colour in range(3):
            fine.weight[3 * inner + colour, colour, inner // 2, inner % 2] = 1
    fine.bias[:3] = -2.0


def _cell_of(channel: int) -> tuple[int, int, int]:
    """(row, column, colour) of a colour channel of a token."""
    cell, colour = divmod(channel, 3)
    return cell // _CELLS, cell % _CELLS, colour


def _overlap_shares(cells: int, pixels: int) -> Tensor:
    """(cells, pixels): the weight of each pixel in the mean of a cell; each row sums to 1."""
    edges = torch.arange(pixels + 1) * cells / pixels
    cell = torch.arange(cells)[:, None]
    overlap = (edges[1:].minimum(cell + 1) - edges[:-1].maximum(cell)).clamp(min=0)
    return overlap / overlap.sum(1, keepdim=True)


def _encode_positions(backbone: Any, tokens: int) -> None:  # noqa: ANN401  parts are untyped
    """Some channels of the position embedding are sines and cosines of several wavelengths."""
    rows, columns = torch.meshgrid(torch.arange(tokens), torch.arange(tokens), indexing="ij")
    waves: list[Tensor] = []
    octaves = _POSITION_CHANNELS // 4
    for step in range(octaves):
        turns = 0.5 * 2 ** (step * math.log2(tokens / 2) / (octaves - 1))
        for axis in (rows, columns):
            angle = 2 * math.pi * turns * axis / tokens
            waves += [angle.sin(), angle.cos()]
    place = backbone.embeddings.position_embeddings
    place.mul_(0.02)
    end = _COLOUR_CHANNELS + _POSITION_CHANNELS
    place[0, :, :_COLOUR_CHANNELS] = 0
    place[0, :, _COLOUR_CHANNELS:end] = torch.stack(waves, -1).flatten(0, 1)


def _place_queries_on_a_grid(decoder: Any, size: NanoSize) -> None:  # noqa: ANN401  as above
    """A query starts with a box on a grid, and attends mostly to it."""
    per_side = size.queries_per_side
    middle = (torch.arange(per_side) + 0.5) / per_side
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    extent = torch.full_like(x, _BOX_M / (GSD_M * size.chip_px))
    boxes = torch.stack([x, y, extent, extent], -1).flatten(0, 1)
    decoder.reference_points.weight.copy_(boxes.logit())
    decoder.query_embed.weight.normal_(0, 0.1)
    decoder.box_head.layer3.weight.mul_(0.1)
    decoder.box_head.layer3.bias.zero_()
    steepness = torch.tensor([5.0, 10.0, 20.0, 40.0])  # one for each attention head
    for bias in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
        # The two inputs are the distances of a position from the start and from the end of the box.
        bias.layer1.weight[:2] = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        bias.layer1.bias[:2] = 0
        bias.layer2.weight[:, :2] = -steepness[:, None]
        bias.layer2.weight[:, 2:] *= 0.1
        bias.layer2.bias.zero_()

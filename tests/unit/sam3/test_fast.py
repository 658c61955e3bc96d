"""The fast forward pass compared with transformers', on a tiny random network."""

from __future__ import annotations

import math

import pytest
import torch
from sam3nets import tiny_config
from torch import Tensor
from torch.library import opcheck
from transformers import Sam3Config, Sam3Model
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import (
    Sam3ImageSegmentationOutput,
    Sam3VisionEncoderOutput,
)

from detection.segmenters.sam3.fast import FastEncoder, FastHeads, HeadsOutput, ops
from detection.segmenters.sam3.fast.linear import FP8_MAX, quantise
from detection.segmenters.sam3.fast.vit import Norm, rotated_bound, window_order

CHIPS, PROMPTS, WORDS = 2, 3, 8
EXACT = 1e-5


@pytest.fixture(scope="module")
def pixels(config: Sam3Config) -> Tensor:
    size = config.image_size
    return torch.randn(CHIPS, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vision(model: Sam3Model, pixels: Tensor) -> Sam3VisionEncoderOutput:
    with torch.inference_mode():
        return model.vision_encoder(pixels)


@pytest.fixture(scope="module")
def prompts(config: Sam3Config) -> tuple[Tensor, Tensor]:
    width = config.detr_encoder_config.hidden_size
    text = torch.randn(PROMPTS, WORDS, width, generator=torch.Generator().manual_seed(2))
    return text, torch.arange(WORDS) < torch.tensor([3, 5, WORDS])[:, None]


def off(ours: Tensor, theirs: Tensor) -> float:
    """The maximum difference, relative to the maximum value."""
    assert ours.shape == theirs.shape
    return float((ours.float() - theirs).abs().max() / theirs.abs().max())


def with_geometry_token(
    model: Sam3Model, vision: Sam3VisionEncoderOutput, chip: int, text: Tensor, valid: Tensor
) -> Sam3ImageSegmentationOutput:
    """transformers' forward for one chip and prompt, with the CLS token that it omits."""
    one = Sam3VisionEncoderOutput(
        last_hidden_state=vision.last_hidden_state[chip : chip + 1],
        fpn_hidden_states=tuple(m[chip : chip + 1] for m in vision.fpn_hidden_states),
        fpn_position_encoding=tuple(m[chip : chip + 1] for m in vision.fpn_position_encoding),
    )
    geometry = model.geometry_encoder
    token = geometry.prompt_layer_norm(geometry.final_proj(geometry.cls_embed.weight[None]))
    image = one.fpn_hidden_states[2].flatten(2).transpose(1, 2)
    position = one.fpn_position_encoding[2].flatten(2).transpose(1, 2)
    for layer in geometry.layers:
        token = layer(token, image, position, None)
    prompt = torch.cat([text[None], geometry.output_layer_norm(token)], 1)
    mask = torch.cat([valid[None], torch.ones(1, 1, dtype=torch.bool)], 1)
    embedded = BaseModelOutputWithPooling(pooler_output=prompt)
    return model(vision_embeds=one, text_embeds=embedded, attention_mask=mask.long())


def test_encoder_equals_transformers(
    model: Sam3Model, pixels: Tensor, vision: Sam3VisionEncoderOutput
) -> None:
    ours = FastEncoder(model, "float32")(pixels)
    assert off(ours.last_hidden_state, vision.last_hidden_state) < EXACT
    for name in ("fpn_hidden_states", "fpn_position_encoding"):
        assert len(ours[name]) == len(vision[name]) == 4
        for level, theirs in zip(ours[name], vision[name], strict=True):
            assert off(level, theirs) < EXACT


def test_pyramid_has_the_levels_of_the_heads(
    model: Sam3Model, pixels: Tensor, vision: Sam3VisionEncoderOutput
) -> None:
    maps = FastEncoder(model, "float32").pyramid(pixels)
    assert len(maps) == 3
    for level, theirs in zip(maps, vision.fpn_hidden_states, strict=False):
        assert off(level, theirs) < EXACT


@pytest.mark.parametrize(("precision", "limit"), [("bf16", 0.02), ("fp8", 0.12)])
def test_low_precision_is_close(
    precision: str,
    limit: float,
    model: Sam3Model,
    pixels: Tensor,
    vision: Sam3VisionEncoderOutput,
) -> None:
    for level, theirs in zip(
        FastEncoder(model, precision).pyramid(pixels), vision.fpn_hidden_states, strict=False
    ):
        error = float((level.float() - theirs).norm() / theirs.norm())
        assert 1e-4 < error < limit  # it really has low precision


def test_heads_equal_transformers_with_its_missing_token(
    model: Sam3Model, vision: Sam3VisionEncoderOutput, prompts: tuple[Tensor, Tensor]
) -> None:
    ours = FastHeads(model, "float32")(vision.fpn_hidden_states, *prompts)
    assert len(ours.boxes) == CHIPS * PROMPTS
    for chip in range(CHIPS):
        for number in range(PROMPTS):
            with torch.inference_mode():
                theirs = with_geometry_token(
                    model, vision, chip, prompts[0][number], prompts[1][number]
                )
            at = slice(chip * PROMPTS + number, chip * PROMPTS + number + 1)
            assert off(ours.masks[at], theirs.pred_masks) < EXACT
            assert off(ours.semantic[at], theirs.semantic_seg) < EXACT
            assert off(ours.boxes[at], theirs.pred_boxes) < EXACT
            assert off(ours.logits[at], theirs.pred_logits) < EXACT
            assert off(ours.presence[at], theirs.presence_logits) < EXACT


def test_top_gives_the_best_queries(
    model: Sam3Model, vision: Sam3VisionEncoderOutput, prompts: tuple[Tensor, Tensor]
) -> None:
    heads = FastHeads(model, "float32")
    every, best = (heads(vision.fpn_hidden_states, *prompts, top=top) for top in (None, 4))
    order = every.logits.argsort(descending=True)[:, :4]
    assert off(best.logits, every.logits.take_along_dim(order, 1)) < EXACT
    assert off(best.boxes, every.boxes.take_along_dim(order[..., None], 1)) < EXACT
    assert off(best.masks, every.masks.take_along_dim(order[..., None, None], 1)) < EXACT
    assert off(best.semantic, every.semantic) < EXACT


def test_windows_must_cover_the_grid() -> None:
    assert window_order(4, 2).tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    with pytest.raises(ValueError, match="multiple of 24 patches"):
        window_order(73, 24)


def test_quantising_scales_each_row() -> None:
    x = torch.tensor([[1.0, -0.5, 0.25], [1e4, 10.0, -2e3], [0.0, 0.0, 0.0]])
    values, scale = quantise(x)
    assert float((values.float() * scale - x).abs().div(x.abs().clamp(min=1e-9)).max()) < 2**-4
    assert float(values.float().abs().max()) == FP8_MAX


def test_operations_pass_opcheck() -> None:
    """Their declared shapes and mutations are correct."""
    made = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made)

    q, k, v = random(2, 16, 3, 2, 8).unbind(2)
    edges, weights = torch.rand(2, 5, 4, generator=made), (random(2, 6, 2), random(2, 6))
    weights = (*weights, random(2, 4, 6), random(2, 4))
    rows, columns = ops.box_bias(edges, *weights, 3)
    kept = ("test_schema", "test_faketensor")
    for operation, arguments in (
        (ops.attention, (q, k, v)),
        (ops.apply_rope, (random(2, 16, 48), random(8, 4), random(8, 4), 2)),
        (ops.rope_attention, (random(2, 16, 48), random(8, 4), random(8, 4), random(2), 2)),
        (ops.add_norm_quantise, (random(2, 3, 8), random(2, 3, 8), random(8), random(8), 1e-6)),
        (ops.gelu_quantise, (random(2, 3, 8),)),
        (ops.linear_gelu, (random(2, 3, 8), random(5, 8), random(5))),
        (ops.linear_relu, (random(2, 3, 8), random(5, 8), random(5))),
        (ops.prompt_softmax, (random(2, 7, 12), random(2, 4, 3))),
        (ops.box_bias, (edges, *weights, 3)),
        (ops.biased_attention, (random(2, 6, 4, 8), *random(2, 2, 9, 4, 8), rows, columns)),
        (ops.group_sums, (random(2, 9, 8), 4)),
    ):
        opcheck(operation, arguments, test_utils=kept)


def test_fp8_queries_and_keys_fit_with_any_rotation() -> None:
    """The longest possible token, with any rotation, stays within its bound and reaches it."""
    channels, heads = 16, 2
    made = torch.Generator().manual_seed(4)
    weight, bias = torch.randn(channels, channels, generator=made), torch.zeros(channels)
    norm = Norm(torch.rand(channels, generator=made), torch.zeros(channels), 1e-6)
    limit = rotated_bound(weight, bias, norm, heads)
    tokens = torch.randn(4096, channels, generator=made)
    tokens = torch.cat([tokens, weight * norm.weight])
    tokens *= channels**0.5 / tokens.norm(dim=1, keepdim=True)
    a, b = (tokens * norm.weight @ weight.T).view(-1, heads, 2, channels // heads // 2).unbind(2)
    longest = (a.square() + b.square()).sqrt().amax((0, 2))
    assert (longest <= limit).all()
    assert (longest > 0.7 * limit).all()


def test_box_bias_of_the_presence_token_is_zero() -> None:
    edges = torch.tensor([[[0.25, 0.5, 0.75, 1.0]]])
    w1, w2 = torch.ones(2, 1, 2), torch.ones(2, 1, 1)
    rows, columns = ops.box_bias(edges, w1, torch.zeros(2, 1), w2, torch.zeros(2, 1), 4)
    assert rows[0, 0, 0].tolist() == columns[0, 0, 0].tolist() == [0, 0, 0, 0]
    far = math.log2(8 * 0.5 + 1) / 3  # the last column is 0.5 and 0 from left and right
    assert columns[0, 0, 1, 3] == pytest.approx(far)
    assert columns[0, 0, 1, 0] == 0  # left of both edges


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.filterwarnings("ignore")  # torch's own, in its compiler
def test_compiled_equals_eager(pixels: Tensor) -> None:
    torch.manual_seed(0)
    width = 64  # tensor cores need at least 16 channels per head
    on_gpu = Sam3Model(tiny_config(width=width, vit_width=width)).eval().cuda()
    text = torch.randn(PROMPTS, WORDS, width, device="cuda")
    valid = torch.arange(WORDS, device="cuda") < torch.tensor([3, 5, WORDS], device="cuda")[:, None]

    def predict(*, compiled: bool) -> HeadsOutput:
        encoder = FastEncoder(on_gpu, "bf16", compiled=compiled)
        heads = FastHeads(on_gpu, "bf16", compiled=compiled)
        return heads(encoder.pyramid(pixels.cuda()), text, valid)

    eager, compiled = predict(compiled=False), predict(compiled=True)
    assert off(compiled.masks.float(), eager.masks.float()) < 0.05
    assert off(compiled.boxes, eager.boxes) < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("tokens", [64, 576, 600])  # one tile, a window, a part of a tile
@pytest.mark.parametrize("sharp", [1, 3])
def test_fp8_attention_equals_its_definition(tokens: int, sharp: int) -> None:
    made = torch.Generator().manual_seed(5)
    heads, head = 2, 64
    qkv = torch.randn(3, tokens, 3, heads * head, generator=made)
    qkv[:, :, :2] *= sharp
    qkv[:, :, 2] += 1  # so that a wrong sum of weights shows
    qkv = qkv.flatten(2).bfloat16()
    angle = torch.rand(tokens, head // 2, generator=made)
    scale = torch.tensor([0.125, 0.1])
    given = (qkv, angle.cos(), angle.sin(), scale)
    there = ops.rope_attention(*(x.cuda() for x in given), heads).float().cpu()
    here = ops.rope_attention(*given, heads).float()
    assert float((there - here).norm() / here.norm()) < 0.06
    assert abs(float((there * here).sum() / here.square().sum()) - 1) < 0.01

"""The arithmetic compared with transformers', and with Meta's where the two differ."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sam3nets import meta_layout, tiny_config
from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model
from transformers.models.sam3 import modeling_sam3

from detection.segmenters.sam3.exemplars import BoxExemplar, geometry_tokens, roi_align
from detection.segmenters.sam3.forward import (
    Pyramid,
    encode_image,
    feature_pyramid,
    run_heads,
    set_precision,
)
from detection.segmenters.sam3.prompts import PhraseCache, TextTokens, prompt_tokens
from detection.segmenters.sam3.tokens import tokenize

PHRASES = ["mowed grass lawn", "backyard swimming pool"]
REFERENCE = Path(__file__).resolve().parents[2] / "data" / "sam3_reference.npz"
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.fixture(scope="module")
def seen(model: Sam3Model, pixels: Tensor) -> Pyramid:
    with torch.no_grad():
        return feature_pyramid(model, encode_image(model, pixels))


@pytest.fixture(scope="module")
def text(model: Sam3Model) -> TextTokens:
    return PhraseCache(model).encode(PHRASES)


def _theirs(model: Sam3Model, pixels: Tensor, phrase: str, **more: Any) -> Any:
    ids, mask = tokenize([phrase])
    rows = len(pixels)
    return model(pixel_values=pixels, input_ids=ids.expand(rows, -1),
                 attention_mask=mask.long().expand(rows, -1), **more)  # fmt: skip


@torch.no_grad()
def test_without_the_cls_token_it_equals_transformers(
    model: Sam3Model, pixels: Tensor, seen: Pyramid, text: TextTokens
) -> None:
    for row, phrase in enumerate(PHRASES):
        theirs = _theirs(model, pixels, phrase)
        ours = run_heads(model, seen, text.tokens[[row, row]], text.valid[[row, row]])
        scores = theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()
        torch.testing.assert_close(ours.scores, scores, **TOLERANCE)
        torch.testing.assert_close(ours.boxes, theirs.pred_boxes, **TOLERANCE)
        torch.testing.assert_close(ours.masks, theirs.pred_masks, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.semantic, theirs.semantic_seg[:, 0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_cls_token_changes_the_output(
    model: Sam3Model, seen: Pyramid, text: TextTokens
) -> None:
    prompt, valid = prompt_tokens(model, text, seen.levels[-1], seen.position)
    rows = seen.repeat_rows(2)
    with_cls = run_heads(model, rows, prompt, valid)
    without = run_heads(model, rows, prompt[:, :-1], valid[:, :-1])
    assert prompt.shape[1] == 33
    assert bool(valid[:, -1].all())
    assert (with_cls.masks - without.masks).abs().max() > 0.01
    assert (with_cls.scores - without.scores).abs().max() > 1e-3


@torch.no_grad()
def test_the_prompt_path_equals_metas(model: Sam3Model, seen: Pyramid, text: TextTokens) -> None:
    """CLS token, fusion and scoring reimplemented with Meta's arithmetic and layout."""
    weights = meta_layout(model.state_dict())
    prompt, valid = prompt_tokens(model, text, seen.levels[-1], seen.position)
    cls = _meta_cls(weights, seen)
    for row in range(4):
        chip, phrase = divmod(row, 2)
        expected = torch.cat([text.tokens[phrase], cls[chip]])
        torch.testing.assert_close(prompt[row], expected, **TOLERANCE)
    rows = seen.repeat_rows(2)
    memory = _meta_fusion(weights, rows, prompt, ~valid)
    ours = model.detr_encoder(
        vision_features=[rows.levels[-1]], text_features=prompt,
        vision_pos_embeds=[rows.position.expand(4, -1, -1, -1)], text_mask=valid,
    ).last_hidden_state  # fmt: skip
    torch.testing.assert_close(ours, memory, **TOLERANCE)


class _Meta:
    """Meta's layers in functional form: `nn.MultiheadAttention` with packed projections."""

    def __init__(self, weights: dict[str, Tensor], prefix: str, heads: int = 4) -> None:
        self.weights, self.prefix, self.heads = weights, prefix, heads

    def get(self, name: str) -> Tensor:
        return self.weights[f"{self.prefix}.{name}"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.get(f"{name}.weight"), self.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, x.shape[-1:], self.get(f"{name}.weight"), self.get(f"{name}.bias")
        )

    def attention(self, name: str, q: Tensor, k: Tensor, v: Tensor, pad: Tensor | None) -> Tensor:
        """Batch first in and out; `pad` is True where a key is padding, as in PyTorch."""
        answer, _ = functional.multi_head_attention_forward(
            q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), q.shape[-1], self.heads,
            self.get(f"{name}.in_proj_weight"), self.get(f"{name}.in_proj_bias"), None, None, False,
            0.0, self.get(f"{name}.out_proj.weight"), self.get(f"{name}.out_proj.bias"),
            training=False, key_padding_mask=pad, need_weights=False,
        )  # fmt: skip
        return answer.transpose(0, 1)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear("linear2", self.linear("linear1", x).relu())


def _meta_cls(weights: dict[str, Tensor], seen: Pyramid) -> Tensor:
    encoder = _Meta(weights, "geometry_encoder")
    image = seen.levels[-1].flatten(2).transpose(1, 2)
    position = seen.position.flatten(2).transpose(1, 2)
    token = encoder.get("cls_embed.weight").expand(len(image), 1, -1)
    token = encoder.norm("norm", encoder.linear("final_proj", token))
    for number in range(2):
        layer = _Meta(weights, f"geometry_encoder.encode.{number}")
        normed = layer.norm("norm1", token)
        token = token + layer.attention("self_attn", normed, normed, normed, None)
        normed = layer.norm("norm2", token)
        token = token + layer.attention("cross_attn_image", normed, image + position, image, None)
        token = token + layer.feed_forward(layer.norm("norm3", token))
    return encoder.norm("encode_norm", token)


def _meta_fusion(weights: dict[str, Tensor], seen: Pyramid, prompt: Tensor, pad: Tensor) -> Tensor:
    image = seen.levels[-1].flatten(2).transpose(1, 2)
    position = seen.position.flatten(2).transpose(1, 2)
    for number in range(2):
        layer = _Meta(weights, f"transformer.encoder.layers.{number}")
        normed = layer.norm("norm1", image)
        placed = normed + position
        image = image + layer.attention("self_attn", placed, placed, normed, None)
        normed = layer.norm("norm2", image)
        image = image + layer.attention("cross_attn_image", normed, prompt, prompt, pad)
        image = image + layer.feed_forward(layer.norm("norm3", image))
    return image


@torch.no_grad()
def test_boxes_are_encoded_as_transformers_does(
    model: Sam3Model,
    pixels: Tensor,
    seen: Pyramid,
    text: TextTokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pool(features: Tensor, boxes: list[Tensor], size: int) -> Tensor:
        each = [roi_align(f, b, size) for f, b in zip(features, boxes, strict=True)]
        return torch.cat(each)

    shim = SimpleNamespace(ops=SimpleNamespace(roi_align=pool))
    monkeypatch.setattr(modeling_sam3, "torchvision", shim, raising=False)
    boxes = torch.tensor([[[0.5, 0.4, 0.3, 0.2], [0.2, 0.7, 0.1, 0.3]], [[0.6, 0.6, 0.5, 0.7]] * 2])
    labels = torch.tensor([[1, 0], [1, -10]])
    theirs = _theirs(model, pixels, PHRASES[0], input_boxes=boxes, input_boxes_labels=labels)
    shown = [
        [_box(boxes[0, 0], True), _box(boxes[0, 1], False)],
        [_box(boxes[1, 0], True)],
    ]
    one = TextTokens(text.tokens[:1], text.valid[:1])
    prompt, valid = prompt_tokens(model, one, seen.levels[-1], seen.position, shown)
    ours = run_heads(model, seen, prompt, valid)
    assert valid.sum(1).tolist() == [6 + 3, 6 + 2]
    scores = theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()
    torch.testing.assert_close(ours.scores, scores, **TOLERANCE)
    torch.testing.assert_close(ours.masks, theirs.pred_masks, rtol=1e-4, atol=1e-4)


def _box(cxcywh: Tensor, positive: bool) -> BoxExemplar:
    x, y, w, h = cxcywh.tolist()
    corners = ((x - w / 2) * 448, (y - h / 2) * 224, (x + w / 2) * 448, (y + h / 2) * 224)
    return BoxExemplar(*corners, positive).normalized(448, 224)


@torch.no_grad()
def test_rows_with_and_without_exemplars_share_a_batch(
    model: Sam3Model, seen: Pyramid, text: TextTokens
) -> None:
    features, position = seen.levels[-1], seen.position
    box = BoxExemplar(10, 10, 60, 50).normalized(112, 112)
    mixed, valid = geometry_tokens(model, features, position, [[box], []])
    plain, _ = geometry_tokens(model, features, position)
    assert valid.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(mixed[1, 0], plain[1, 0], **TOLERANCE)
    assert (mixed[0, 0] - plain[0, 0]).abs().max() > 1e-3


def test_roi_align_equals_torchvisions() -> None:
    kept = np.load(REFERENCE)  # made by torchvision 0.28
    boxes = torch.from_numpy(kept["boxes"])
    features = torch.from_numpy(kept["features"])
    pooled = torch.cat([roi_align(features[0], boxes, 7), roi_align(features[1], boxes.flip(0), 7)])
    torch.testing.assert_close(pooled, torch.from_numpy(kept["pooled"]), **TOLERANCE)


def test_roi_align_ignores_cells_outside_the_chip() -> None:
    ones = torch.ones(1, 6, 6)
    half_out = roi_align(ones, torch.tensor([[-8.0, 0.0, 6.0, 6.0]]), 7)[0, 0]
    assert half_out[:, :3].max() == 0
    assert half_out[:, 4:].min() == 1


@torch.no_grad()
def test_a_batch_equals_its_chips_one_by_one(
    model: Sam3Model, pixels: Tensor, seen: Pyramid, text: TextTokens
) -> None:
    together = run_heads(
        model, seen.repeat_rows(2), *prompt_tokens(model, text, seen.levels[-1], seen.position)
    )
    for chip in range(2):
        alone = feature_pyramid(model, encode_image(model, pixels[chip : chip + 1]))
        for phrase in range(2):
            one = TextTokens(text.tokens[[phrase]], text.valid[[phrase]])
            prompt, valid = prompt_tokens(model, one, alone.levels[-1], alone.position)
            single = run_heads(model, alone, prompt, valid)
            row = 2 * chip + phrase
            for name in ("scores", "presence", "boxes", "masks", "semantic"):
                found, expected = getattr(together, name)[row], getattr(single, name)[0]
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=name)


def _forward(model: Sam3Model, pixels: Tensor, text: TextTokens) -> tuple[Tensor, ...]:
    seen = feature_pyramid(model, encode_image(model, pixels))
    prompt, valid = prompt_tokens(model, text, seen.levels[-1], seen.position)
    found = run_heads(model, seen.repeat_rows(text.tokens.shape[0]), prompt, valid)
    return found.scores, found.boxes, found.masks, found.semantic


@torch.no_grad()
def test_it_compiles_to_one_graph(model: Sam3Model, pixels: Tensor, text: TextTokens) -> None:
    eager = _forward(model, pixels, text)
    traced = torch.compile(_forward, fullgraph=True, dynamic=False, backend="eager")
    for found, expected in zip(traced(model, pixels, text), eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.long  # a minute of compiling
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, in inductor
@torch.no_grad()
def test_compiled_equals_eager_transformers(pixels: Tensor) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on this machine")
    torch.manual_seed(1)
    model = Sam3Model(tiny_config(depth=1)).eval()
    text = PhraseCache(model).encode(PHRASES)
    eager = _forward(model, pixels, text)
    compiled = torch.compile(_forward, fullgraph=True, dynamic=False)
    for found, expected in zip(compiled(model, pixels, text), eager, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_half_precision_keeps_decoder_and_rope_in_float32(
    config: Any, model: Sam3Model, pixels: Tensor, text: TextTokens
) -> None:
    expected = _forward(model, pixels, text)
    half = Sam3Model(config).eval()
    half.load_state_dict(model.state_dict())
    rotations = {n: b.clone() for n, b in half.named_buffers() if "inv_freq" in n}
    set_precision(half, "bf16")
    assert all(torch.equal(b, rotations[n]) for n, b in half.named_buffers() if n in rotations)
    dtypes = {n: p.dtype for n, p in half.named_parameters()}
    assert dtypes["vision_encoder.neck.fpn_layers.0.proj1.weight"] == torch.bfloat16
    assert dtypes["detr_decoder.box_head.layer1.weight"] == torch.float32
    scores, boxes, masks, _ = _forward(half, pixels.bfloat16(), text)
    assert boxes.dtype == scores.dtype == torch.float32
    assert masks.dtype == torch.bfloat16
    assert (boxes - expected[1]).abs().mean() < 0.02
    agree = ((masks > 0) == (expected[2] > 0)).float().mean()
    assert agree > 0.95

"""The segmenter: caches, batches, exemplars, out-of-memory recovery, errors."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from pyproj import CRS
from sam3nets import tiny_config
from transformers import Sam3Config, Sam3Model

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import LABELS, Label
from detection.segmenters.interface import Mask, Segmenter
from detection.segmenters.sam3 import network, segmenter
from detection.segmenters.sam3.exemplars import BoxExemplar, PointExemplar, add_points
from detection.segmenters.sam3.fast import FastEncoder
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import Weights

SIDE = (32, 32)  # four cells a token, eight tokens
LAWN, TREE = LABELS["lawn"], LABELS["tree"]
POOL = Label("pool", "swimming pool", "discrete", 4.0)
BANDS = ("red", "green", "blue", "nir")


def _chip(seed: int, height: int = 100, width: int = 100, **more: Any) -> Chip:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, height, width), dtype=np.uint8)
    return Chip(**{
        "pixels": pixels, "valid": np.ones((height, width), bool), "bands": BANDS,
        "transform": Affine(0.3, 0, 5e5, 0, -0.3, 4e6), "crs": CRS.from_epsg(26916),
    } | more)  # fmt: skip


@pytest.fixture(scope="module")
def model(config: Sam3Config) -> Sam3Model:
    """Random weights with high presence; otherwise nothing would be detected."""
    torch.manual_seed(2)
    made = Sam3Model(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        made.detr_decoder.presence_head.layer3.bias.fill_(20.0)
        made.dot_product_scoring.query_proj.weight.mul_(20.0)
    return made


@pytest.fixture
def sam3(model: Sam3Model) -> Sam3:
    return Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=2)


def _equal(a: list[Mask], b: list[Mask]) -> bool:
    return len(a) == len(b) and all(
        (x.label, x.cells, x.row, x.column) == (y.label, y.cells, y.row, y.column)
        and np.allclose(x.field, y.field, atol=1e-3)
        and np.allclose(x.confidence, y.confidence, atol=1e-3)
        for x, y in zip(a, b, strict=True)
    )


def test_sam3_implements_the_protocol(sam3: Sam3) -> None:
    as_protocol: Segmenter = sam3
    assert as_protocol.name == "sam3-1"
    assert as_protocol.weights_sha256 == "5a"
    assert as_protocol.labels is None  # it takes text prompts
    assert (as_protocol.chip_px, as_protocol.gsd_m) == (1008, 0.3)
    assert as_protocol.chips_per_batch == 2
    assert as_protocol.device == "CPU (1 threads) in float32, 2 chips at once"


def test_chips_and_phrases_are_encoded_once(sam3: Sam3) -> None:
    chips = [_chip(seed) for seed in range(5)]
    found = sam3.segment(chips, [LAWN, TREE, POOL])
    assert all(any((m.field > 0).any() for m in masks if m.label is POOL) for masks in found)
    assert sam3.encoder_calls == 5
    assert sam3.text_calls == 3
    assert [len([m for m in masks if m.label is LAWN]) for masks in found] == [1] * 5
    sam3.segment(chips, [POOL, LAWN])
    assert sam3.encoder_calls == 5  # tokens are cached
    assert sam3.text_calls == 3


def test_masks_are_on_the_networks_grid(sam3: Sam3) -> None:
    for masks in sam3.segment([_chip(1, 70, 140), _chip(2, 300, 200)], [LAWN, POOL]):
        lawn, *pools = masks
        assert lawn.label is LAWN
        assert lawn.field.shape == lawn.cells == SIDE
        assert pools
        assert all(pool.cells == SIDE and pool.label is POOL for pool in pools)
        for mask in masks:
            assert mask.field.dtype == mask.confidence.dtype == np.float32
            assert mask.field.shape == mask.confidence.shape
            assert 0 <= mask.confidence.min() <= mask.confidence.max() <= 1
            assert mask.row + mask.field.shape[0] <= SIDE[0]
            assert mask.column + mask.field.shape[1] <= SIDE[1]


def test_a_chip_in_a_batch_equals_the_chip_alone(sam3: Sam3, model: Sam3Model) -> None:
    chips = [_chip(seed) for seed in range(4)]
    together = sam3.segment(chips, [LAWN, POOL])
    alone = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=1)
    for chip, expected in zip(chips, together, strict=True):
        assert _equal(alone.segment([chip], [LAWN, POOL])[0], expected)
        each = [alone.segment([chip], [label])[0] for label in (LAWN, POOL)]
        assert _equal(each[0] + each[1], expected)


def test_cached_tokens_equal_fresh_ones(sam3: Sam3, model: Sam3Model) -> None:
    chip = _chip(1)
    sam3.segment([chip], [TREE])
    [kept] = sam3.segment([chip], [LAWN, POOL])
    fresh_sam3 = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu")
    [fresh] = fresh_sam3.segment([chip], [LAWN, POOL])
    assert sam3.encoder_calls == 1
    assert _equal(kept, fresh)


def test_the_token_cache_is_bounded(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "_CACHED_CHIPS", 2)
    for seed in (0, 1, 2, 2, 1, 0):
        sam3.segment([_chip(seed)], [LAWN])
    assert sam3.encoder_calls == 4


def test_the_score_threshold_is_the_labels(sam3: Sam3) -> None:
    never = replace(POOL, score_threshold=1.0)
    [masks] = sam3.segment([_chip(1)], [never, POOL])
    assert {mask.label for mask in masks} == {POOL}
    [least] = {float(mask.confidence.min()) for mask in masks[:1]}
    [surer] = sam3.segment([_chip(1)], [replace(POOL, score_threshold=least + 1e-4)])
    assert all(mask.confidence.max() > least for mask in surer)


@pytest.mark.parametrize(
    ("chip", "message"),
    [
        (_chip(1, bands=("nir", "red", "green", "band4")), "bands red, green and blue"),
        (_chip(1, pixels=np.zeros((4, 100, 100), np.uint16)), "8 bit imagery, but this is uint16"),
    ],
)
def test_an_invalid_chip_is_an_error(sam3: Sam3, chip: Chip, message: str) -> None:
    with pytest.raises(SegmenterError, match=message):
        sam3.segment([_chip(1), chip], [LAWN])
    assert len(sam3.segment([_chip(1)], [LAWN])) == 1


def test_prepare_encodes_the_prompts_once(sam3: Sam3) -> None:
    sam3.prepare([LAWN, POOL])
    assert (sam3.text_calls, sam3.encoder_calls) == (2, 0)
    sam3.segment([_chip(1)], [LAWN, POOL])
    assert sam3.text_calls == 2
    with pytest.raises(SegmenterError, match="is empty"):
        sam3.prepare([replace(POOL, prompt="")])


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, name: str) -> list[int]:
    """Let a step run out of memory above `most` rows; returns the tried numbers of rows."""
    real, tried = getattr(network, name), []

    def step(model: Sam3Model, first: Any, *rest: Any) -> Any:
        rows = len(first) if isinstance(first, torch.Tensor) else len(first.levels[0])
        tried.append(rows)
        if rows > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, first, *rest)

    monkeypatch.setattr(network, name, step)
    return tried


def test_the_batch_is_halved_when_out_of_memory(
    model: Sam3Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chips = [_chip(seed) for seed in range(8)]
    roomy = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=8)
    expected = roomy.segment(chips, [LAWN])
    sam3 = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=8)
    tried = _short_of_memory(monkeypatch, 3, "encode_image")
    found = sam3.segment(chips, [LAWN])
    assert tried == [8, 4, 2, 2, 2, 2]
    assert sam3.batch == 2  # learnt for the chips that follow
    assert [text.partition(" does")[0] for text in caplog.messages] == [
        "chips per batch 8", "chips per batch 4",
    ]  # fmt: skip
    assert sam3.encoder_calls == 8
    assert all(_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_prompts_per_pass_are_halved_when_out_of_memory(
    sam3: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [LAWN, TREE, POOL, Label("boat", "boat", "discrete", 1.0)]
    [expected] = sam3.segment([_chip(1)], labels)
    tried = _short_of_memory(monkeypatch, 1, "run_heads")
    assert _equal(sam3.segment([_chip(1)], labels)[0], expected)
    assert tried == [4, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_recognized_on_every_device(
    sam3: Sam3, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(network, "encode_image", fails)
    with pytest.raises(SegmenterError, match="too little memory"):
        sam3.segment([_chip(1)], [LAWN])


def test_other_errors_are_not_out_of_memory(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(network, "encode_image", fails)
    with pytest.raises(RuntimeError, match="shapes"):
        sam3.segment([_chip(1)], [LAWN])


def test_one_chip_out_of_memory_is_an_error(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = _short_of_memory(monkeypatch, 0, "run_heads")
    with pytest.raises(SegmenterError, match=r"CPU .* too little memory for one chip"):
        sam3.segment([_chip(1), _chip(2)], [LAWN, POOL])
    assert tried == [4, 2, 2, 1]


def test_exemplars_change_only_their_chip(sam3: Sam3) -> None:
    chips = [_chip(1), _chip(2)]
    plain = sam3.segment(chips, [LAWN])
    shown = sam3.segment(chips, [LAWN], [{"lawn": [BoxExemplar(10, 10, 60, 50)]}, {}])
    assert not np.allclose(plain[0][0].confidence, shown[0][0].confidence, atol=1e-3)
    assert _equal(plain[1], shown[1])


def test_points_need_weights_with_their_encoder(sam3: Sam3, model: Sam3Model) -> None:
    point = [{"lawn": [PointExemplar(30, 40), PointExemplar(80, 20, positive=False)]}]
    with pytest.raises(SegmenterError, match="cannot encode points"):
        sam3.segment([_chip(1)], [LAWN], point)
    torch.manual_seed(0)
    able = copy.deepcopy(model)
    add_points(able)
    reader = Sam3(Weights(able, "5a"), device="cpu")
    plain, shown = reader.segment([_chip(1)], [LAWN]), reader.segment([_chip(1)], [LAWN], point)
    assert not np.allclose(plain[0][0].confidence, shown[0][0].confidence, atol=1e-3)


def test_the_fast_forward_pass_equals_the_plain_one(sam3: Sam3, model: Sam3Model) -> None:
    chips = [_chip(seed) for seed in range(3)]
    fast = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=2, fast=True)
    fast.prepare([LAWN, POOL])
    shown = [
        {"lawn": [BoxExemplar(10, 10, 60, 50)]},
        {},
        {"pool": [BoxExemplar(20, 5, 40, 90, positive=False)]},
    ]
    for given in (None, shown):
        plain = sam3.segment(chips, [LAWN, POOL], given)
        found = fast.segment(chips, [LAWN, POOL], given)
        assert all(_equal(a, b) for a, b in zip(found, plain, strict=True))
    assert fast.encoder_calls == 3


def test_a_compiled_network_gets_fixed_shapes(
    sam3: Sam3, model: Sam3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = [_chip(seed) for seed in range(5)]
    shown = [{"pool": [BoxExemplar(20, 5, 40, 90)]}, *[{}] * 4]
    fixed = Sam3(Weights(copy.deepcopy(model), "5a"), device="cpu", batch=4, fast=True)
    monkeypatch.setattr(fixed._network, "fixed_shapes", True)
    met: list[int] = []
    real = FastEncoder.tokens
    monkeypatch.setattr(
        FastEncoder, "tokens", lambda self, pixels: (met.append(len(pixels)), real(self, pixels))[1]
    )
    fixed.prepare([LAWN])
    fixed.prepare([LAWN])  # each chunk of a batch calls it
    for given in (None, shown):
        found = fixed.segment(chips, [LAWN, POOL], given)
        plain = sam3.segment(chips, [LAWN, POOL], given)
        assert all(_equal(a, b) for a, b in zip(found, plain, strict=True))
    assert met == [4, 4, 4]  # a blank batch to compile for, four chips, and the fifth
    assert fixed.encoder_calls == 5


def test_fp8_needs_full_windows() -> None:
    odd = Sam3Model(tiny_config(side_px=126))
    with pytest.raises(SegmenterError, match="fp8 needs an image side"):
        Sam3(Weights(odd, "5a"), device="cpu", precision="fp8")
    plain = Sam3(Weights(odd, "5a"), device="cpu", fast=True)
    assert len(plain.segment([_chip(1)], [LAWN])[0]) == 1


def test_no_labels_and_no_chips(sam3: Sam3) -> None:
    sam3.prepare([])
    assert sam3.segment([_chip(1), _chip(2)], []) == [[], []]
    assert sam3.segment([], [LAWN]) == []

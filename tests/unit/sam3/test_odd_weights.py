"""Invalid weights, configurations and paths give a clear error and cost no memory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3 import weights as loading
from detection.segmenters.sam3.keymap import map_hub_names, map_meta_names
from detection.segmenters.sam3.weights import BASE_KEY, TOKEN_IDS_KEY, file_sha256, load_weights

TINY = Path(loading.__file__).parent / "tiny"
NAME = "vision_encoder.backbone.layers.0.attention.k_proj.weight"
TABLE = TOKEN_IDS_KEY.replace(".ids", ".weight")
VIT = ("vision_config", "backbone_config")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped tiny network, to be damaged."""
    return Path(shutil.copytree(TINY, tmp_path / "sam3"))


def _rewrite(folder: Path, **changed: Tensor) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | changed, path)


def _configure(folder: Path, place: tuple[str, ...], value: object) -> None:
    path = folder / "config.json"
    content: Any = json.loads(path.read_text())
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("tensors", [{}, {"tracker_model.x": torch.ones(1)}, None])
def test_a_delta_that_changes_nothing_is_refused(
    tmp_path: Path, tensors: dict[str, Tensor] | None
) -> None:
    base = TINY / "model.safetensors"
    if tensors is None:
        tensors = {NAME: load_file(base)[NAME]}
    delta = tmp_path / "delta.safetensors"
    save_file(tensors, delta, {BASE_KEY: file_sha256(base)})
    with pytest.raises(SegmenterError, match="changes nothing"):
        load_weights(f"{TINY}{os.pathsep}{delta}")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e5m2])
def test_weights_of_another_dtype_are_named(folder: Path, dtype: torch.dtype) -> None:
    _rewrite(folder, **{NAME: torch.ones(96, 96).to(dtype)})
    with pytest.raises(SegmenterError, match=rf"{NAME} as {str(dtype)[6:]}.*Convert"):
        load_weights(str(folder))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_of_any_float_dtype_are_accepted(folder: Path, dtype: torch.dtype) -> None:
    _rewrite(folder, **{NAME: torch.full((96, 96), 0.5, dtype=dtype)})
    loaded = load_weights(str(folder)).model.state_dict()[NAME]
    assert loaded.dtype == torch.float32
    assert bool((loaded == 0.5).all())


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (float("nan"), torch.float16),
        (float("nan"), torch.bfloat16),
        (float("inf"), torch.float32),
        (-1e300, torch.float64),
    ],
)
def test_weights_that_are_not_finite_are_named(
    folder: Path, tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    damaged = torch.zeros(96, 96, dtype=dtype)
    damaged[5, 7] = value
    delta = tmp_path / "delta.safetensors"
    save_file({NAME: damaged}, delta, {BASE_KEY: file_sha256(folder / "model.safetensors")})
    with pytest.raises(SegmenterError, match=rf"delta\.safetensors has NaN .* in {NAME}"):
        load_weights(f"{folder}{os.pathsep}{delta}")
    _rewrite(folder, **{NAME: damaged})
    with pytest.raises(SegmenterError, match=rf"NaN or infinite values in {NAME}"):
        load_weights(str(folder))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda ids: ids + 10**6, "different numbers in 0..49407"),
        (lambda ids: -ids - 1, "different numbers"),
        (lambda ids: torch.full_like(ids, 5), "different numbers"),
        (lambda ids: ids.float(), "as float32"),
        (lambda ids: ids[:3], "one id for each row of"),
        (lambda ids: ids[:, None], "one id for each row of"),
    ],
)
def test_token_ids_are_unique(
    folder: Path, damage: Callable[[Tensor], Tensor], message: str
) -> None:
    ids = load_file(folder / "model.safetensors")[TOKEN_IDS_KEY]
    _rewrite(folder, **{TOKEN_IDS_KEY: damage(ids).contiguous()})
    with pytest.raises(SegmenterError, match=message):
        load_weights(str(folder))


@pytest.mark.parametrize("table", [None, torch.ones(()), torch.ones(18, 3), torch.ones(18, 10**6)])
def test_a_token_table_has_a_row_for_each_id(folder: Path, table: Tensor | None) -> None:
    path = folder / "model.safetensors"
    state = {name: tensor for name, tensor in load_file(path).items() if name != TABLE}
    save_file(state if table is None else state | {TABLE: table}, path)
    with pytest.raises(SegmenterError, match="Save both together"):
        load_weights(str(folder))


@pytest.mark.parametrize("source", [
    "", ":", "  ", "x/-y", "a--b/c", "fácebook/sam3", "~nobody_x/x", "a" * 5000, "/" + "a" * 5000,
    "nul\0x", "facebook/..",
])  # fmt: skip
def test_a_source_that_does_not_exist(source: str) -> None:
    with pytest.raises(SegmenterError, match="facebook/sam3"):
        load_weights(source)


def test_a_delta_that_does_not_exist() -> None:
    for delta in ("~nobody_x/x", "a" * 5000, "/nowhere.safetensors"):
        with pytest.raises(SegmenterError, match=r"not a valid path|the delta .* does not exist"):
            load_weights(f"{TINY}{os.pathsep}{delta}")


@pytest.mark.parametrize("text", ["{", "{}", "[]", "null", "3", "\xff", "[" * 100_000,
                                  '{"weight_map": null}', '{"weight_map": {}}',
                                  '{"weight_map": {"a": 3}}', '{"weight_map": {"a": [1]}}',
                                  '{"weight_map": {"a": "../b.safetensors"}}',
                                  '{"weight_map": {"a": "."}}'])  # fmt: skip
def test_an_invalid_index_of_files(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    with pytest.raises(SegmenterError, match=r"index\.json .*Download it again"):
        load_weights(str(folder))


@pytest.mark.parametrize("text", ["[{}]", "null", "3", '"sam3"', "{", "\xff", "[" * 100_000,
                                  '{"detector_config": "abc"}'])  # fmt: skip
def test_an_invalid_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(SegmenterError, match=r"config\.json is not a SAM3 configuration"):
        load_weights(str(folder))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("vision_config",), "x", "not a SAM3 configuration"),
        (("text_config",), [], "not a SAM3 configuration"),
        (("text_config",), {"model_type": "bert"}, "is a bert"),
        ((*VIT, "hidden_size"), "x", "not a SAM3 configuration"),
        ((*VIT, "hidden_size"), None, "not a SAM3 configuration"),
        ((*VIT, "image_size"), [112], "image_size is .112., but must be an integer"),
        ((*VIT, "image_size"), 0, "image_size is 0, but must be an integer of at least 1"),
        ((*VIT, "image_size"), 113, "113 is not a multiple of patch_size 14"),
        ((*VIT, "image_size"), 10**9, "image_size is 1000000000, but at most 4096"),
        ((*VIT, "patch_size"), -1, "patch_size is -1"),
        ((*VIT, "window_size"), 0, "window_size is 0"),
        ((*VIT, "window_size"), 10**5, "wider than a chip"),
        ((*VIT, "num_attention_heads"), 10**5, "not divisible by 100000"),
        ((*VIT, "num_hidden_layers"), 10**9, "the weights have only .* tensors"),
        (("detr_decoder_config", "num_layers"), 0, "num_layers is 0"),
        (("text_config", "vocab_size"), 100, "vocab_size is 100"),
        (("text_config", "max_position_embeddings"), 8, "prompts have 32 tokens"),
        ((*VIT, "hidden_act"), "shout", "describes no valid network"),
        (("vision_config", "scale_factors"), [3.0], "describes no valid network"),
        ((*VIT, "head_dim"), 10**12, "buffer values, more than weights"),
        ((*VIT, "hidden_size"), 100_000, "of another shape"),
        ((*VIT, "patch_size"), 10**9, "patch_size"),
        ((*VIT, "intermediate_size"), 10**12, "of another shape"),
        ((*VIT, "pretrain_image_size"), 14 * 10**6, "of another shape"),
        (("detr_decoder_config", "num_queries"), 10**10, "of another shape"),
    ],
)
def test_an_impossible_configuration_allocates_no_memory(
    folder: Path,
    place: tuple[str, ...],
    value: object,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _configure(folder, place, value)
    made = loading._empty

    def weightless(config: Any, points: bool, device: str) -> Any:
        assert device == "meta"
        return made(config, points, device)

    monkeypatch.setattr(loading, "_empty", weightless)
    with pytest.raises(SegmenterError, match=message):
        load_weights(str(folder))


def test_a_loaded_network_has_correct_buffers() -> None:
    loaded = load_weights(str(TINY)).model
    made = Sam3Model(loaded.config)
    computed = dict(made.named_buffers())
    assert len(computed) > 3
    assert {name for name, _ in loaded.named_buffers()} == set(computed)
    for name, table in loaded.named_buffers():
        assert torch.equal(table, computed[name]), name


def test_two_tensors_with_one_target() -> None:
    with pytest.raises(SegmenterError, match="two tensors for a"):
        map_hub_names({"detector_model.a": torch.ones(1), "a": torch.ones(1)})


@pytest.mark.parametrize("packed", [torch.ones(()), torch.ones(4, 2), torch.ones(2)])
def test_packed_projections_split_into_three(packed: Tensor) -> None:
    name = "backbone.vision_backbone.trunk.blocks.0.attn.qkv.weight"
    with pytest.raises(SegmenterError, match=f"has {name} with a wrong shape"):
        map_meta_names({name: packed})

"""Every tensor of a checkpoint has a target, and the targets are correct."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sam3nets import meta_layout
from transformers import Sam3Config, Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3.keymap import (
    check_tensors,
    is_meta_layout,
    map_hub_names,
    map_meta_names,
)

SHARED = Path(__file__).resolve().parents[4] / "shared"


def test_metas_names_cover_the_full_network_exactly() -> None:
    listing = SHARED / "reference" / "sam3_checkpoint_tensors.json"
    if not listing.is_file():
        pytest.skip("the list of Meta's tensors is not here (../shared/reference)")
    meta = {
        name: torch.empty(shape, device="meta")
        for name, shape in json.loads(listing.read_text()).items()
    }
    with torch.device("meta"):
        wanted = Sam3Model(Sam3Config()).state_dict()
    assert len(wanted) == 1468
    mapped = map_meta_names(meta)
    points = {name for name in mapped if ".points_" in name}
    assert len(points) == 6
    check_tensors({k: v for k, v in mapped.items() if k not in points}, wanted, "meta")


def test_weights_round_trip_through_metas_layout(model: Sam3Model) -> None:
    state = model.state_dict()
    meta = meta_layout(state)
    assert is_meta_layout(meta)
    assert not is_meta_layout(state)
    back = map_meta_names({f"detector.{name}": tensor for name, tensor in meta.items()})
    assert {name for name in back if ".points_" not in name} == set(state)
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name


def test_only_video_tensors_are_ignored(model: Sam3Model) -> None:
    meta = meta_layout(model.state_dict())
    one = torch.zeros(1)
    video = {"tracker.maskmem_tpos_enc": one,
             "detector.backbone.vision_backbone.sam2_convs.0.conv_1x1.bias": one,
             "backbone.vision_backbone.trunk.blocks.3.attn.freqs_cis": one}  # fmt: skip
    assert set(map_meta_names(meta | video)) == set(map_meta_names(meta))
    with pytest.raises(SegmenterError, match=r"1 tensors .* does not have: .*ema"):
        map_meta_names(meta | {"ema.decay": one})
    with pytest.raises(SegmenterError, match="SAM3 does not have"):
        map_meta_names(meta | {"transformer.decoder.layers.0.norm9.weight": one})
    name = "geometry_encoder.cls_embed.weight"
    with pytest.raises(SegmenterError, match="two tensors"):
        map_meta_names(meta | {f"detector.{name}": meta[name]})


def test_the_hubs_layout_loses_its_prefix_and_the_tracker(model: Sam3Model) -> None:
    state = model.state_dict()
    hub = {f"detector_model.{name}": tensor for name, tensor in state.items()}
    hub["tracker_model.memory"] = hub["tracker_neck.bias"] = torch.zeros(1)
    assert set(map_hub_names(hub)) == set(state)
    assert set(map_hub_names(state)) == set(state)


def test_misfits_are_named(model: Sam3Model) -> None:
    wanted = model.state_dict()
    found = dict(wanted)
    found["stranger"] = found.pop("text_projection.bias")
    found["text_projection.weight"] = torch.zeros(1, 2)
    with pytest.raises(SegmenterError) as raised:
        check_tensors(found, wanted, "file.safetensors")
    for part in ("file.safetensors", "1 missing (text_projection.bias)", "unexpected (stranger)",
                 "text_projection.weight (1, 2) for (32, 16)", "Nothing was loaded"):  # fmt: skip
        assert part in str(raised.value)

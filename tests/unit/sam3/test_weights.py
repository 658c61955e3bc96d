"""SAM3's weights are loaded completely, or refused with a reason; no code is run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from huggingface_hub import errors as hub_errors
from safetensors.torch import save_file
from sam3nets import meta_layout
from transformers import Sam3Config, Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3.exemplars import has_points
from detection.segmenters.sam3.weights import BASE_KEY, file_sha256, load_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Sam3Model) -> Path:
    """As facebook/sam3 lays it out: detector and tracker in one file and one configuration."""
    folder = tmp_path_factory.mktemp("hub")
    state = {f"detector_model.{name}": t.clone() for name, t in model.state_dict().items()}
    save_file(state | {"tracker_neck.bias": torch.zeros(1)}, folder / "model.safetensors")
    _write_config(folder, model.config)
    return folder


def _write_config(folder: Path, config: Sam3Config) -> None:
    both = {"model_type": "sam3_video", "detector_config": config.to_dict()}
    (folder / "config.json").write_text(json.dumps(both, default=str))


def _same(loaded: Sam3Model, model: Sam3Model) -> bool:
    state = model.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items()
               if name in state)  # fmt: skip


def test_a_folder_of_the_hubs_layout(folder: Path, model: Sam3Model) -> None:
    weights = load_weights(str(folder))
    assert _same(weights.model, model)
    assert not weights.model.training
    assert not has_points(weights.model)
    assert weights.sha256 == file_sha256(folder / "model.safetensors")


def test_a_loaded_network_equals_the_saved_one(folder: Path, model: Sam3Model) -> None:
    pixels = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        loaded = load_weights(str(folder)).model.vision_encoder(pixels).last_hidden_state
        assert torch.equal(loaded, model.vision_encoder(pixels).last_hidden_state)


def test_shards_of_save_pretrained(tmp_path: Path, model: Sam3Model) -> None:
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    weights = load_weights(str(tmp_path))
    assert _same(weights.model, model)
    assert len(weights.sha256) == 64
    next(tmp_path.glob("model-*2-of-*.safetensors")).unlink()
    with pytest.raises(SegmenterError, match=r"incomplete copy .*model-.* is missing"):
        load_weights(str(tmp_path))


@pytest.mark.parametrize("wrapped", [False, True])
def test_metas_file(tmp_path: Path, model: Sam3Model, wrapped: bool) -> None:
    state: dict[str, Any] = meta_layout(model.state_dict())
    state = {f"detector.{name}": tensor for name, tensor in state.items()}
    state["tracker.maskmem_tpos_enc"] = torch.zeros(3)
    torch.save({"model": state} if wrapped else state, tmp_path / "sam3.pt")
    _write_config(tmp_path, model.config)
    loaded = load_weights(str(tmp_path / "sam3.pt")).model
    assert _same(loaded, model)
    assert has_points(loaded)
    points = state["detector.geometry_encoder.points_pool_project.weight"]
    assert torch.equal(loaded.geometry_encoder.points_pool_project.weight, points)


def test_a_pickle_never_runs_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(ran),)

    path = tmp_path / "sam3.pt"
    torch.save({"model": Trap()}, path)
    with pytest.raises(SegmenterError, match="not opened"):
        load_weights(str(path))
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(SegmenterError, match="not opened"):
        load_weights(str(path))
    assert not ran.exists()


def test_tensors_without_names_are_not_weights(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "sam3.pt")
    with pytest.raises(SegmenterError, match="not only named tensors"):
        load_weights(str(tmp_path / "sam3.pt"))


def test_a_partial_file_loads_nothing(tmp_path: Path, model: Sam3Model) -> None:
    whole = model.state_dict().items()
    state = {name: tensor.clone() for name, tensor in whole if "mask_decoder" not in name}
    save_file(state, tmp_path / "model.safetensors")
    _write_config(tmp_path, model.config)
    with pytest.raises(SegmenterError, match=r"missing \(mask_decoder.*Nothing was loaded"):
        load_weights(str(tmp_path))


def test_a_broken_download_is_named(tmp_path: Path, folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SegmenterError, match="not a complete safetensors file"):
        load_weights(str(tmp_path))


def test_weights_with_another_hash_are_refused(folder: Path) -> None:
    sha256 = file_sha256(folder / "model.safetensors")
    assert load_weights(str(folder), sha256).sha256 == sha256
    with pytest.raises(SegmenterError, match=f"SHA-256 {sha256}"):
        load_weights(str(folder), "0" * 64)


def test_a_delta_fits_only_its_base(tmp_path: Path, folder: Path, model: Sam3Model) -> None:
    base = file_sha256(folder / "model.safetensors")
    name = "mask_decoder.semantic_projection.bias"
    delta = tmp_path / "delta.safetensors"
    save_file({name: torch.tensor([7.0])}, delta, {BASE_KEY: base})
    weights = load_weights(f"{folder}{os.pathsep}{delta}")
    assert weights.model.state_dict()[name].tolist() == [7.0]
    assert weights.sha256 == file_sha256(delta)
    before = model.state_dict()
    after = weights.model.state_dict().items()
    changed = {other for other, tensor in after if not torch.equal(tensor, before[other])}
    assert changed == {name}
    for tensors, metadata, reason in (
        ({name: torch.zeros(1)}, {BASE_KEY: "0" * 64}, "was trained on weights 000000000000"),
        ({name: torch.zeros(1)}, None, "is not a delta"),
        ({name: torch.zeros(2)}, {BASE_KEY: base}, "of another shape"),
        ({"stranger": torch.zeros(1)}, {BASE_KEY: base}, "unexpected"),
    ):
        save_file(tensors, delta, metadata)
        with pytest.raises(SegmenterError, match=reason):
            load_weights(f"{folder}{os.pathsep}{delta}")
    with pytest.raises(SegmenterError, match="2 deltas"):
        load_weights(os.pathsep.join([str(folder), str(delta), str(delta)]))


def test_a_config_of_another_model_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(SegmenterError, match="sam2 model"):
        load_weights(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SegmenterError, match="not a SAM3 configuration"):
        load_weights(str(tmp_path))


@pytest.mark.parametrize("source", ["/nowhere/sam3", "weights.bin", "./no/such", "sam3"])
def test_a_missing_source(source: str) -> None:
    with pytest.raises(SegmenterError, match="does not exist"):
        load_weights(source)


def test_an_empty_folder_is_an_incomplete_copy(tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match=r"incomplete copy .*model\.safetensors"):
        load_weights(str(tmp_path))


def _refusal(kind: type[Exception], status: int) -> Exception:
    request = httpx2.Request("GET", "https://huggingface.co/facebook/sam3")
    return kind("refused", response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (_refusal(hub_errors.GatedRepoError, 403), "Accept Meta's licence .* HF_TOKEN"),
        (_refusal(hub_errors.RepositoryNotFoundError, 404), "the hub has no facebook/sam3"),
        (hub_errors.LocalEntryNotFoundError("offline"), "cannot be downloaded"),
        (ConnectionError("no route"), "cannot be downloaded"),
    ],
)
def test_hub_errors_are_explained(
    raised: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise raised

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(SegmenterError, match=message):
        load_weights("facebook/sam3")


def test_a_hub_id_is_downloaded_once_and_loaded(
    folder: Path, model: Sam3Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(repository: str, **_: object) -> str:
        asked.append(repository)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert _same(load_weights("facebook/sam3").model, model)
    assert asked == ["facebook/sam3"]

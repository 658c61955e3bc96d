"""Deltas of SAM3 are registered with their base's hash, and built on that base only."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from labelledchips import write_small_sam3

from detection.errors import SegmenterError
from detection.segmenters import build_segmenter
from detection.segmenters.sam3.sources import DELTA_FILE
from detection.segmenters.sam3.weights import load_weights
from detection.training.sam3_decoder.delta import save_delta
from detection.training.sam3_decoder.recipe import load_start
from detection.training.sam3_decoder.tiers import TrainedParts
from pipeline.errors import ModelError
from pipeline.learning.registered_run import registered_facts
from pipeline.store.models.promoted_segmenter import build_promoted
from pipeline.store.models.weights_source import build_with, is_exact


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_delta(source: str, folder: Path) -> Path:
    """A delta of the mask decoder of some weights."""
    start = load_start(source)
    parts = TrainedParts(start.model, "mask")
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.add_(0.01)
    folder.mkdir()
    save_delta(parts, folder, base_sha256=start.base_sha256, tier="mask")
    return folder


def test_a_delta_is_registered_and_built_on_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, other = (write_small_sam3(tmp_path / name, seed) for seed, name in enumerate("ab"))
    delta = write_delta(str(base), tmp_path / "delta")
    monkeypatch.setenv("SAM3_WEIGHTS", f"{base}{os.pathsep}{delta}")  # its delta is not the base
    facts = registered_facts(delta, "sam3", str(tmp_path / "store"), "")
    assert facts.weights_sha256 == load_weights(f"{base}{os.pathsep}{delta}").sha256
    assert set(facts.files) == {DELTA_FILE}
    built = build_promoted(facts, tmp_path / "cache")
    assert built.weights_sha256 == facts.weights_sha256
    monkeypatch.setenv("SAM3_WEIGHTS", str(other))
    assert build_with("sam3", None).weights_sha256 == load_weights(str(other)).sha256
    with pytest.raises(SegmenterError, match="was trained on weights"):
        build_promoted(facts, tmp_path / "cache")
    monkeypatch.delenv("SAM3_WEIGHTS")
    with pytest.raises(ModelError, match="set SAM3_WEIGHTS"):
        build_promoted(facts, tmp_path / "cache")
    with pytest.raises(ModelError, match="--segmenter sam3"):
        build_with("landcover", str(delta))


def test_a_delta_of_the_packages_own_weights_needs_no_setting(tmp_path: Path) -> None:
    delta = write_delta("sam3-tiny", tmp_path / "delta")
    facts = registered_facts(delta, "sam3-tiny", str(tmp_path / "store"), "")
    assert build_promoted(facts, tmp_path / "cache").weights_sha256 == facts.weights_sha256
    assert build_segmenter("sam3-tiny").weights_sha256 != facts.weights_sha256


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_looks_like_a_delta_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_small_sam3(tmp_path / "base")
    monkeypatch.setenv("SAM3_WEIGHTS", str(base))
    folder, ran = tmp_path / "delta", tmp_path / "ran"
    folder.mkdir()
    (folder / DELTA_FILE).write_bytes(pickle.dumps(Payload(ran)))
    with pytest.raises(SegmenterError, match="not a complete safetensors file"):
        registered_facts(folder, "sam3", str(tmp_path / "store"), "")
    assert not ran.exists()
    assert not (tmp_path / "store").exists()


def test_a_promoted_delta_is_put_on_a_base_that_is_named_alone() -> None:
    assert not is_exact("landcover", None)
    assert is_exact("landcover", "out/decoder")
    assert not is_exact("sam3", None)
    assert not is_exact("sam3", "/models/sam3")
    assert is_exact("sam3", f"/models/sam3{os.pathsep}out/heads")

"""landcover: its weights load strictly, and its answers keep the segmenter's promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasters import LEFT, TOP, boundary, write_tiff
from safetensors.torch import load_file, save_file
from shapely import box

from detection import Detector
from detection.chip import Chip
from detection.errors import SegmenterError, WeightsMissing
from detection.imagery import GeoTiffMosaic
from detection.labels import LABELS
from detection.segmenters import (
    SEGMENTERS,
    build_segmenter,
    check_segmenter,
    supported_labels,
)
from detection.segmenters.landcover import segmenter as segmenter_module
from detection.segmenters.landcover.inference_network import InferenceNetwork, fold_norms
from detection.segmenters.landcover.network import LandcoverNet
from detection.segmenters.landcover.segmenter import Landcover
from detection.segmenters.landcover.weights import (
    LandcoverConfig,
    load_landcover,
    save_landcover,
    shipped_weights,
)
from pipeline.settings import Settings

RGB = ("red", "green", "blue")


def chip(
    pixels: NDArray[np.generic],
    bands: tuple[str, ...] = RGB,
    valid: NDArray[np.bool_] | None = None,
    gsd_m: float = 0.2,
) -> Chip:
    whole = np.ones(pixels.shape[1:], np.bool_) if valid is None else valid
    at = Affine(gsd_m, 0, 400_000, 0, -gsd_m, 3_800_000)
    return Chip(pixels, whole, at, CRS.from_epsg(26911), bands)


def noise(side: int, bands: int = 3, seed: int = 1) -> NDArray[np.uint8]:
    """Smooth colour noise (synthetic)."""
    coarse = torch.rand(1, bands, side // 8, side // 8, generator=torch.manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (fine[0] * 255).to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def landcover() -> Landcover:
    segmenter = build_segmenter("landcover")
    assert isinstance(segmenter, Landcover)
    return segmenter


def test_classes_are_disjoint_and_labels_in_order(landcover: Landcover) -> None:
    labels = [LABELS[name] for name in supported_labels("landcover") or ()]
    assert set(landcover.labels or ()) == {label.name for label in labels}
    [masks] = landcover.segment([chip(noise(160))], labels)
    order = [mask.label.name for mask in masks]
    assert order == sorted(order, key=[label.name for label in labels].index)
    inside = np.zeros((80, 80), int)
    for mask in masks:
        assert mask.cells == (80, 80)
        assert np.isfinite(mask.field).all()
        assert ((mask.confidence >= 0) & (mask.confidence <= 1)).all()
        if mask.label.name != "vegetation":
            rows, columns = mask.field.shape
            window = inside[mask.row : mask.row + rows, mask.column : mask.column + columns]
            window += mask.field > 0
    assert inside.max() == 1


@pytest.mark.parametrize(
    ("side", "gsd_m", "cells"), [(16, 0.2, 16), (176, 0.6, 256), (1360, 0.075, 256), (64, 1.0, 160)]
)
def test_cells_depend_on_the_ground_not_on_the_imagery(
    landcover: Landcover, side: int, gsd_m: float, cells: int
) -> None:
    [[mask]] = landcover.segment([chip(noise(side), gsd_m=gsd_m)], [LABELS["lawn"]])
    assert mask.cells == (cells, cells)


def test_a_lot_on_several_chips_of_coarse_imagery_is_measured(
    landcover: Landcover, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "a.tif", noise(512))
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"), RGB)
    wide = boundary(box(LEFT + 20, TOP - 230, LEFT + 230, TOP - 20))
    [result] = Detector(landcover).detect([wide], imagery, [LABELS["vegetation"], LABELS["roof"]])
    assert result.status == "detected", result.detail


def test_green_infrared_makes_vegetation(landcover: Landcover) -> None:
    pixels = np.full((4, 128, 128), 110, np.uint8)
    pixels[:3] = noise(128) // 8 + 90
    answers = []
    for infrared in (30, 220):
        pixels[3] = infrared
        [[mask]] = landcover.segment([chip(pixels, (*RGB, "nir"))], [LABELS["vegetation"]])
        answers.append(float(mask.confidence.mean()))
    assert answers[1] > answers[0] + 0.2


def test_invalid_pixels_do_not_change_the_answer_by_their_values(landcover: Landcover) -> None:
    pixels = noise(160)
    valid = np.ones((160, 160), np.bool_)
    valid[:, 100:] = False
    other = pixels.copy()
    other[:, :, 100:] = 255
    fields = [landcover.planes(chip(each, valid=valid))[0] for each in (pixels, other)]
    assert np.array_equal(*fields)


def test_wrong_imagery_and_labels_are_errors(landcover: Landcover) -> None:
    with pytest.raises(SegmenterError, match="bands red, green and blue"):
        landcover.segment([chip(noise(64, 1), ("gray",))], [LABELS["lawn"]])
    with pytest.raises(SegmenterError, match="8 bit"):
        landcover.segment([chip(noise(64).astype(np.uint16))], [LABELS["lawn"]])


def test_saved_weights_answer_alike(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = LandcoverNet().eval()
    save_landcover(network, LandcoverConfig(0.25, 1.5), tmp_path)
    loaded = load_landcover(tmp_path)
    assert loaded.config.gsd_m == 0.25
    pixels = torch.rand(1, 4, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(loaded.network(pixels), network(pixels), atol=0.02)


def test_weights_of_a_folder_replace_those_of_the_package(tmp_path: Path) -> None:
    torch.manual_seed(4)
    save_landcover(LandcoverNet().eval(), LandcoverConfig(0.3), tmp_path)
    segmenter = build_segmenter("landcover", str(tmp_path))
    assert segmenter.gsd_m == 0.3
    assert segmenter.weights_sha256 == load_landcover(tmp_path).sha256
    assert segmenter.weights_sha256 != load_landcover().sha256


def test_missing_weights_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"model.safetensors does not exist.*config.json"):
        check_segmenter("landcover", str(tmp_path))


def test_files_of_two_trainings_are_not_mixed(tmp_path: Path) -> None:
    for seed in (1, 2):
        torch.manual_seed(seed)
        (tmp_path / str(seed)).mkdir()
        save_landcover(LandcoverNet().eval(), LandcoverConfig(0.2), tmp_path / str(seed))
    (tmp_path / "1" / "config.json").replace(tmp_path / "2" / "config.json")
    with pytest.raises(SegmenterError, match="Copy both files of one training together"):
        load_landcover(tmp_path / "2")


def test_only_landcover_gets_landcovers_weights() -> None:
    settings = Settings(home=Path("/"), sam3_weights="facebook/sam3", landcover_weights=Path("/w"))
    given = {name: settings.weights_of(name) for name in SEGMENTERS}
    assert given == dict.fromkeys(SEGMENTERS) | {"sam3": "facebook/sam3", "landcover": "/w"}


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"model.safetensors and config.json"):
        load_landcover(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((shipped_weights() / name).read_bytes())
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    name = "head.weight"
    save_file(state | {name: torch.full_like(state[name], torch.nan)}, path)
    with pytest.raises(SegmenterError, match=r"NaN or infinite values in head\.weight"):
        load_landcover(tmp_path)
    save_file({key: value for key, value in state.items() if key != name}, path)
    with pytest.raises(SegmenterError, match=r"head.weight should be .*, but is nothing"):
        load_landcover(tmp_path)
    path.write_bytes((shipped_weights() / path.name).read_bytes()[:-1])
    with pytest.raises(SegmenterError, match="not a complete safetensors file"):
        load_landcover(tmp_path)
    (tmp_path / "config.json").write_text('{"gsd_m": "coarse"}')
    with pytest.raises(SegmenterError, match="not landcover's configuration"):
        load_landcover(tmp_path)


def test_the_network_as_it_is_run_answers_as_the_trained_one() -> None:
    network, pixels = load_landcover().network, torch.from_numpy(noise(160, bands=4))[None]
    pixels = pixels.float() / 127.5 - 1
    expected = network(pixels)
    folded = InferenceNetwork(network, torch.device("cpu"))
    assert (folded.logits(pixels) - expected).abs().max() < 1e-3
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fold_norms(network).modules())


def test_too_little_memory_for_one_chip_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried")

    segmenter = Landcover(device="cpu")
    monkeypatch.setattr(segmenter_module, "input_pixels", full)
    with pytest.raises(
        SegmenterError, match=r"CPU has too little memory for one chip \("
    ) as caught:
        segmenter.segment([chip(noise(160))], [LABELS["lawn"]])
    assert "`lotline doctor`" in str(caught.value)

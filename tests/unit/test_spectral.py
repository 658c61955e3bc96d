"""The baseline segmenter on synthetic chips with known labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label, choose_labels
from detection.sample.paint import grid, paint
from detection.sample.scene import build_scene
from detection.sample.truth import lot_truth
from detection.segmenters import SEGMENTERS, build_segmenter
from detection.segmenters.spectral import Spectral

BANDS = ("red", "green", "blue", "nir")
LAWN, ROAD = (88, 110, 76, 164), (98, 98, 96, 86)
LABELS = choose_labels(["lawn", "tree", "vegetation"])
Pixels = NDArray[np.bool_]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _chip(
    pixels: NDArray[np.generic],
    gsd_m: float = 0.3,
    bands: tuple[str, ...] = BANDS,
    valid: Pixels | None = None,
) -> Chip:
    everywhere = np.ones(pixels.shape[1:], bool)
    transform = Affine(gsd_m, 0, 236_400, 0, -gsd_m, 3_891_000)
    return Chip(pixels, everywhere if valid is None else valid, transform, CRS(26916), bands)


def _find(chip: Chip) -> dict[str, Pixels]:
    masks = Spectral("cpu").segment([chip], LABELS)[0]
    assert [mask.label.name for mask in masks] == ["lawn", "tree", "vegetation"]
    return {mask.label.name: mask.field > 0 for mask in masks}


def _flat(colour: tuple[int, ...], shape: tuple[int, int] = (160, 160)) -> NDArray[np.uint8]:
    """A chip of one material with sensor noise."""
    rng = np.random.default_rng(1)
    plane = np.array(colour, float)[:, None, None] + rng.normal(0, 2, (len(colour), *shape))
    return np.clip(plane.round(), 0, 255).astype(np.uint8)


def _half_lawn() -> NDArray[np.uint8]:
    """Lawn in the left half, road in the right one."""
    pixels = _flat(ROAD)
    pixels[:, :, :80] = _flat(LAWN)[:, :, :80]
    return pixels


@dataclass(frozen=True)
class Neighbourhood:
    pixels: NDArray[np.uint8]
    lots: Pixels
    green_lots: Pixels  # whose lawns are not straw
    truth: dict[str, Pixels]

    def iou(self, label: str, found: Pixels, where: Pixels | None = None) -> float:
        where = self.lots if where is None else where
        found, true = found & where, self.truth[label] & where
        return float((found & true).sum() / (found | true).sum())


def _neighbourhood(seed: int, lots: int) -> Neighbourhood:
    scene = build_scene(seed, lots)
    truth = lot_truth(scene).to_crs(26916)

    def burn(shapes: list[object]) -> Pixels:
        burnt = rasterize(shapes, out_shape=scene.shape, transform=grid(scene), dtype="uint8")
        return burnt.astype(bool)

    return Neighbourhood(
        paint(scene),
        burn([yard.plan.polygon for yard in scene.yards]),
        burn([yard.plan.polygon for yard in scene.yards if yard.dormancy < 0.4]),
        {label: burn(list(rows.geometry)) for label, rows in truth.groupby("label")},
    )


@pytest.fixture(scope="module")
def neighbourhood() -> Neighbourhood:
    return _neighbourhood(seed=11, lots=40)


@pytest.mark.parametrize("seed", [11, 101, 104])
def test_lawns_and_trees_of_a_neighbourhood(seed: int) -> None:
    neighbourhood = _neighbourhood(seed, lots=40)
    found = _find(_chip(neighbourhood.pixels))
    # Over 13 seeds lawns reach 0.73 to 0.86 and trees 0.60 to 0.67. What is missing of the lawns is
    # mostly straw, which has the colour of soil; seed 11 has the most of it. On lots whose lawns
    # are green it is 0.85 to 0.89. The floors are a few hundredths below the worst seed.
    assert neighbourhood.iou("lawn", found["lawn"]) >= 0.70
    assert neighbourhood.iou("lawn", found["lawn"], neighbourhood.green_lots) >= 0.83
    assert neighbourhood.iou("tree", found["tree"]) >= 0.57
    assert neighbourhood.iou("vegetation", found["vegetation"]) >= 0.81


def test_without_near_infrared_it_is_worse_but_sensible(neighbourhood: Neighbourhood) -> None:
    found = _find(_chip(neighbourhood.pixels[:3], bands=BANDS[:3]))
    assert neighbourhood.iou("lawn", found["lawn"]) >= 0.65
    assert neighbourhood.iou("vegetation", found["vegetation"]) >= 0.75
    pools = neighbourhood.truth["pool"]
    assert found["vegetation"][pools].mean() < 0.15


def test_coarser_imagery_gives_about_the_same_area(neighbourhood: Neighbourhood) -> None:
    height, width = (side // 2 * 2 for side in neighbourhood.pixels.shape[1:])
    blocks = neighbourhood.pixels[:, :height, :width].reshape(4, height // 2, 2, width // 2, 2)
    coarse = _find(_chip(blocks.mean((2, 4)).round().astype(np.uint8), gsd_m=0.6))
    fine = _find(_chip(neighbourhood.pixels[:, :height, :width]))
    for label in ("lawn", "vegetation"):
        fine_m2, coarse_m2 = fine[label].sum() * 0.3**2, coarse[label].sum() * 0.6**2
        assert coarse_m2 == pytest.approx(fine_m2, rel=0.12)


def test_results_are_deterministic(neighbourhood: Neighbourhood) -> None:
    chip = _chip(neighbourhood.pixels[:, :300, :300])
    first, second = (Spectral("cpu").segment([chip], LABELS)[0] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.field, b.field)
        assert np.array_equal(a.confidence, b.confidence)


def test_vegetation_contains_disjoint_lawn_and_tree(neighbourhood: Neighbourhood) -> None:
    found = _find(_chip(neighbourhood.pixels))
    assert not (found["lawn"] & found["tree"]).any()
    assert not ((found["lawn"] | found["tree"]) & ~found["vegetation"]).any()
    assert found["tree"].any()


def test_a_lawn_keeps_its_edge() -> None:
    found = _find(_chip(_half_lawn()))
    expected = np.zeros((160, 160), bool)
    expected[:, :80] = True
    assert (found["lawn"] ^ expected).mean() < 0.01
    assert not found["tree"].any()


@pytest.mark.parametrize("colour", [ROAD, (172, 168, 156, 150), (150, 128, 100, 138)])
@pytest.mark.parametrize("bands", [BANDS, BANDS[:3]])
def test_bare_chips_have_nothing(colour: tuple[int, ...], bands: tuple[str, ...]) -> None:
    found = _find(_chip(_flat(colour)[: len(bands)], bands=bands))
    assert not any(mask.any() for mask in found.values())


@pytest.mark.parametrize("bands", [BANDS, BANDS[:3]])
def test_a_chip_all_lawn_is_all_lawn(bands: tuple[str, ...]) -> None:
    found = _find(_chip(_flat(LAWN)[: len(bands)], bands=bands))
    assert found["lawn"].mean() > 0.99
    assert not found["tree"].any()


def test_a_chip_of_a_few_pixels() -> None:
    assert _find(_chip(_flat(LAWN, (5, 7))))["lawn"].all()
    assert not _find(_chip(_flat(ROAD, (1, 1))))["vegetation"].any()


def test_nodata_has_no_labels() -> None:
    valid = np.ones((160, 160), bool)
    valid[40:90, 20:70] = False
    masks = Spectral("cpu").segment([_chip(_half_lawn(), valid=valid)], LABELS)[0]
    for mask in masks:
        assert not (mask.field[~valid] > 0).any()
        assert not mask.confidence[~valid].any()
    assert (masks[0].field[valid] > 0).mean() > 0.3


def test_a_chip_without_valid_pixels_has_no_labels() -> None:
    found = _find(_chip(_half_lawn(), valid=np.zeros((160, 160), bool)))
    assert not any(mask.any() for mask in found.values())


@pytest.mark.parametrize("filler", [0, 255])
def test_values_under_nodata_have_no_influence(neighbourhood: Neighbourhood, filler: int) -> None:
    pixels = neighbourhood.pixels[:, 100:400, 100:400].copy()
    valid = np.ones(pixels.shape[1:], bool)
    valid[:, 120:220] = False
    before = Spectral("cpu").segment([_chip(pixels, valid=valid)], LABELS)[0]
    pixels[:, ~valid] = filler
    after = Spectral("cpu").segment([_chip(pixels, valid=valid)], LABELS)[0]
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a.field, b.field)
        assert np.array_equal(a.confidence, b.confidence)


def test_results_do_not_depend_on_the_bands_unit(neighbourhood: Neighbourhood) -> None:
    pixels = neighbourhood.pixels[:, :300, :300]
    bytes_ = _find(_chip(pixels))
    words = _find(_chip(pixels.astype(np.uint16) * 128))
    reflectance = _find(_chip(pixels.astype(np.float32) / 256))
    for label, mask in bytes_.items():
        assert (words[label] ^ mask).mean() < 1e-3
        assert (reflectance[label] ^ mask).mean() < 1e-3


def test_nan_pixels_are_nodata() -> None:
    pixels = _half_lawn().astype(np.float32) / 255
    pixels[3, 50:60, 30:40] = np.nan
    found = _find(_chip(pixels))
    assert not found["vegetation"][50:60, 30:40].any()
    assert found["lawn"][:, :80].mean() > 0.97


def test_bands_are_found_by_name() -> None:
    pixels = _half_lawn()
    turned = _find(_chip(np.ascontiguousarray(pixels[::-1]), bands=BANDS[::-1]))
    for label, mask in _find(_chip(pixels)).items():
        assert np.array_equal(turned[label], mask)


def test_confidence_grows_with_greenness() -> None:
    pixels = _half_lawn()
    pixels[:, :, :40] = _flat((60, 120, 60, 200))[:, :, :40]
    vegetation = Spectral("cpu").segment([_chip(pixels)], LABELS)[0][2]
    assert vegetation.confidence.dtype == np.float32
    assert 0 <= vegetation.confidence.min() <= vegetation.confidence.max() <= 1
    lush, lawn, road = (
        float(vegetation.confidence[:, columns].mean())
        for columns in (slice(0, 35), slice(45, 75), slice(85, 160))
    )
    assert lush > lawn > 0.5 > road


def test_only_requested_labels_in_their_order() -> None:
    tree, lawn = choose_labels(["tree", "lawn"])
    chips = [_chip(_half_lawn()), _chip(_flat(ROAD, (30, 50)))]
    masks = Spectral("cpu").segment(chips, [tree, lawn])
    assert [[mask.label for mask in of_chip] for of_chip in masks] == [[tree, lawn]] * 2
    assert [of_chip[0].field.shape for of_chip in masks] == [(160, 160), (30, 50)]


@pytest.mark.parametrize("bands", [("red", "green"), ("green", "blue", "nir"), ("band1",)])
def test_missing_bands_are_named(bands: tuple[str, ...]) -> None:
    with pytest.raises(SegmenterError, match="red and nir, or red, green and blue"):
        _find(_chip(_flat(LAWN)[: len(bands)], bands=bands))


def test_an_unsupported_label() -> None:
    pool = Label("pool", "swimming pool", "discrete", 4.0)
    with pytest.raises(SegmenterError, match=r"lawn, tree, vegetation.*sam3-tiny"):
        Spectral("cpu").segment([_chip(_half_lawn())], [pool])


def test_segmenters_by_name() -> None:
    segmenter = build_segmenter("spectral")
    assert (segmenter.name, segmenter.weights_sha256) == ("spectral-2", None)
    assert segmenter.labels == ("lawn", "tree", "vegetation")
    with pytest.raises(SegmenterError, match=", ".join(SEGMENTERS)):
        build_segmenter("sam9")

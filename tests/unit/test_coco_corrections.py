"""COCO of annotation tools: masks, names of images, and where the images lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from parcels.measure import area_m2
from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.correction import UnusableValue
from pipeline.review.corrections.image_places import picture_size
from pipeline.review.corrections.read_file import read_corrections
from pipeline.review.corrections.run_lengths import decode_mask, mask_outline

# Half a metre a pixel, near Memphis.
TRANSFORM = Affine(0.5, 0, 770_000, 0, -0.5, 3_890_000)
SIZE = 40


def _runs(pixels: NDArray[np.bool_]) -> list[int]:
    flat = pixels.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


def _compressed(runs: list[int]) -> str:
    """As `rleToString` of cocoapi."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            text += chr((code | (0x20 if more else 0)) + 48)
    return text


def _ring() -> NDArray[np.bool_]:
    """A block with a hole, and a pixel apart."""
    pixels = np.zeros((SIZE, SIZE + 3), dtype=bool)
    pixels[5:20, 4:30] = True
    pixels[10:12, 10:14] = False
    pixels[30, 0] = True
    return pixels


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_decoded(seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.random((17, 300)) < random.random()
    runs = _runs(pixels)
    for counts in (runs, _compressed(runs)):
        found = decode_mask({"size": [17, 300], "counts": counts}, 300, 17)
        assert (found == pixels).all()


def test_a_mask_that_pycocotools_compressed_is_decoded() -> None:
    counts = (
        "P21?040m20RM0;0[O0X10SO020Gh00000O11O0\\ON52KN52KN52KN52KN5GG40O4652KN52KN52KN52KN52?00NX"
        "OGh0;0JXOOh00XO1h060000000JXOOh070000000`1XO<0RN0I0e10SO0[O080E0R10XO0[10F0j0"
    )
    found = decode_mask({"size": [37, 53], "counts": counts}, 53, 37)
    assert found.sum() == 680
    assert found[5:30, 10:15].all()
    assert not found[11, 16]


def test_a_mask_has_its_holes() -> None:
    pixels = _ring()
    encoded = {"size": list(pixels.shape), "counts": _runs(pixels)}
    outline = mask_outline(encoded, pixels.shape[1], SIZE)
    assert outline.area == pixels.sum()
    assert len(outline.geoms) == 2
    assert sum(len(part.interiors) for part in outline.geoms) == 1
    assert outline.bounds == (0, 5, 30, 31)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ({"size": [4, 3], "counts": [12]}, "image of"),
        ({"size": [3, 4], "counts": [11]}, "runs"),
        ({"size": [3, 4], "counts": [12, 10**12]}, "number of pixels"),
        ({"size": [3, 4], "counts": [-1, 13]}, "number of pixels"),
        ({"size": [3, 4], "counts": [True, 11]}, "number of pixels"),
        ({"size": [3, 4], "counts": []}, "no usable runs"),
        ({"size": [3, 4], "counts": None}, "no usable runs"),
        ({"size": [3, 4], "counts": "oooooooooooo"}, "damaged"),
        ({"size": [3, 4], "counts": "\x00"}, "damaged"),
        ({"size": [3, 4], "counts": "ab€"}, "damaged"),
        ({"size": [3, 4], "counts": [12]}, "empty"),
        ({"counts": [12]}, "image of"),
    ],
)
def test_a_damaged_mask_is_refused(encoded: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableValue, match=why):
        mask_outline(encoded, 4, 3)


def test_an_image_of_billions_of_pixels_is_not_unpacked() -> None:
    with pytest.raises(UnusableValue, match="too large"):
        mask_outline({"size": [10**5, 10**5], "counts": [10**10]}, 10**5, 10**5)


def test_a_chequered_mask_makes_no_million_outlines() -> None:
    side = 600
    pixels = np.indices((side, side)).sum(axis=0) % 2 == 1
    with pytest.raises(UnusableValue, match="vertices: it is noise"):
        mask_outline({"size": [side, side], "counts": _runs(pixels)}, side, side)


SQUARE = [10, 10, 30, 10, 30, 20, 10, 20]


def _comb(teeth: int) -> list[list[float]]:
    """The two rings of a comb that stands and one that lies, which cross at each tooth."""
    edges = np.linspace(1, 39, 2 * teeth + 1)
    ring = [[1, 1], [1, 39]]
    for left, gap, right in zip(edges[:-2:2], edges[1::2], edges[2::2], strict=True):
        ring += [[left, 39], [gap, 39], [gap, 2], [right, 2]]
    standing = np.array([*ring, [39, 1]])
    return [standing.ravel().tolist(), standing[:, ::-1].ravel().tolist()]


def _coco(folder: Path, *annotations: dict[str, Any], name: str = "chip.tif", **more: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": name, "width": SIZE, "height": SIZE, **more}],
        "categories": [{"id": 0, "name": "lawn"}, {"id": 1, "name": "tree"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, **each}
            for number, each in enumerate(annotations, 1)
        ],
    }
    file = folder / "annotations.json"
    file.write_text(json.dumps(content))
    return file


def _tiff(path: Path, size: int = SIZE, **more: Any) -> None:
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint8"}
    placed = {"crs": "EPSG:32615", "transform": TRANSFORM, **more}
    with rasterio.open(path, "w", **profile, **placed) as file:
        file.write(np.zeros((1, size, size), dtype=np.uint8))


def test_polygons_lie_where_their_image_does(tmp_path: Path) -> None:
    _tiff(tmp_path / "chip.tif")
    parts = [SQUARE, [32, 12, 36, 12, 36, 16, 32, 16]]
    [one, two, bare] = read_corrections(
        _coco(
            tmp_path,
            {"segmentation": [SQUARE], "attributes": {"detection_id": 7, "version": "2"}},
            {"segmentation": parts, "category_id": "0", "iscrowd": 0},
            {"segmentation": SQUARE, "id": None},
        ),
        None, None,
    )  # fmt: skip
    assert one.problem is None
    assert (one.label, one.detection_id, one.version) == ("tree", 7, 2)
    assert one.outline is not None
    assert area_m2(one.outline) == pytest.approx(20 * 10 / 4, rel=2e-3)
    west, south, east, north = one.outline.bounds
    assert (west + east) / 2 == pytest.approx(-90.04, abs=0.01)
    assert (south + north) / 2 == pytest.approx(35.12, abs=0.01)
    assert two.label == "lawn"
    assert two.outline is not None
    assert two.outline.geom_type == "MultiPolygon"
    assert bare.outline is not None
    assert shapely.equals(bare.outline, one.outline)


def test_a_mask_of_cvat_is_an_object_though_it_is_marked_as_a_crowd(tmp_path: Path) -> None:
    _tiff(tmp_path / "chip.tif")
    pixels = _ring()[:, :SIZE]
    for counts in (_runs(pixels), _compressed(_runs(pixels))):
        mask = {"segmentation": {"size": [SIZE, SIZE], "counts": counts}, "iscrowd": 1}
        [found] = read_corrections(_coco(tmp_path, mask), None, None)
        assert found.outline is not None
        assert area_m2(found.outline) == pytest.approx(pixels.sum() / 4, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("chip.png", {}),
        ("/data/upload/3/0a1b2c3d-chip.png", {}),
        ("images\\0a1b2c3d-0a1b-4c3d-8e9f-0a1b2c3d4e5f-chip.png", {}),
        ("/data/local-files/?d=folder%2Fchip.jpg", {}),
        ("chip_png.rf.0dd0ac04d0b9d743.jpg", {}),
        ("other.jpg", {"extra": {"name": "chip.png"}}),
        ("../../chip.tif", {}),
    ],
)
def test_names_of_images_as_tools_write_them(
    tmp_path: Path, name: str, more: dict[str, Any]
) -> None:
    _tiff(tmp_path / "chip.tif")
    file = _coco(tmp_path, {"segmentation": [SQUARE]}, name=name, **more)
    assert read_corrections(file, None, None)[0].problem is None


def test_a_world_file_or_a_description_places_an_image(tmp_path: Path) -> None:
    _tiff(tmp_path / "there.tif")
    file = _coco(tmp_path, {"segmentation": [SQUARE]}, name="there.png")
    expected = read_corrections(file, None, None)[0].outline
    file = _coco(tmp_path, {"segmentation": [SQUARE]}, name="chip.png")
    (tmp_path / "chip.pgw").write_text("0.5\n0\n0\n-0.5\n770000.25\n3889999.75\n")
    [found] = read_corrections(file, None, None)
    assert found.problem is not None
    assert "--crs EPSG:CODE" in found.problem
    [found] = read_corrections(file, tmp_path, "EPSG:32615")
    assert found.outline == expected
    (tmp_path / "chip.json").write_text(
        json.dumps({"crs": "EPSG:32615", "transform": list(TRANSFORM)[:6]})
    )
    assert read_corrections(file, None, None)[0].outline == expected
    inline = {"crs": "EPSG:32615", "transform": list(TRANSFORM)}
    file = _coco(tmp_path, {"segmentation": [SQUARE]}, name="nowhere.png", **inline)
    assert read_corrections(file, None, None)[0].outline == expected


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        ({}, "no outline"),
        ({"segmentation": []}, "no outline"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three vertices"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "three vertices"),
        ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "not a number"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, "not a number"),
        ({"segmentation": [[0, 0, 9, 9, 9, 0, 0, 9]]}, "crosses itself"),
        ({"segmentation": [[0, 0, 90, 0, 90, 90]]}, "beyond its image"),
        ({"segmentation": [SQUARE], "image_id": 2}, "image_id"),
        ({"segmentation": [SQUARE], "attributes": {"detection_id": "x"}}, "not a number"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "image of"),
        ({"segmentation": [list(range(200_010))]}, "vertices"),
        ({"segmentation": _comb(4_000)}, "too often"),
    ],
)  # fmt: skip
def test_an_unusable_annotation_says_why(
    tmp_path: Path, annotation: dict[str, Any], why: str
) -> None:
    _tiff(tmp_path / "chip.tif")
    [bad, good] = read_corrections(
        _coco(tmp_path, annotation, {"segmentation": [SQUARE]}), None, None
    )
    assert bad.problem is not None
    assert why in bad.problem
    assert good.problem is None


def test_an_image_whose_place_is_not_known_says_what_to_do(tmp_path: Path) -> None:
    file = _coco(tmp_path, {"segmentation": [SQUARE]}, name="chip\x1b.png")
    problem = read_corrections(file, None, None)[0].problem
    assert problem is not None
    assert "world file" in problem
    assert "\x1b" not in problem
    _tiff(tmp_path / "chip.tif", size=SIZE * 2)
    file = _coco(tmp_path, {"segmentation": [SQUARE]})
    problem = read_corrections(file, None, None)[0].problem
    assert problem is not None
    assert "without resizing" in problem
    (tmp_path / "more").mkdir()
    _tiff(tmp_path / "more" / "chip.tif")
    problem = read_corrections(file, None, None)[0].problem
    assert problem is not None
    assert "without resizing" in problem, "folders in the file's own are not searched"
    problem = read_corrections(file, tmp_path, None)[0].problem
    assert problem is not None
    assert "2 files are called chip" in problem


def test_categories_that_may_be_shifted_refuse_the_file(tmp_path: Path) -> None:
    _tiff(tmp_path / "chip.tif")
    file = _coco(tmp_path, {"segmentation": [SQUARE], "category_id": 2}, {"segmentation": [SQUARE]})
    with pytest.raises(CorrectionsFileError, match="shifted by one"):
        read_corrections(file, None, None)
    content = json.loads(file.read_text())
    content["categories"].append({"id": 1, "name": "roof"})
    file.write_text(json.dumps(content))
    with pytest.raises(CorrectionsFileError, match="two names"):
        read_corrections(file, None, None)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_size_of_a_picture_is_in_its_head(tmp_path: Path) -> None:
    for driver, name in (("PNG", "a.png"), ("JPEG", "a.jpg")):
        pixels = np.zeros((3, 31, 57), dtype=np.uint8)
        with rasterio.open(
            tmp_path / name, "w", driver=driver, width=57, height=31, count=3, dtype="uint8"
        ) as file:
            file.write(pixels)
        assert picture_size(tmp_path / name) == (57, 31)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xc0")
    assert picture_size(tmp_path / "b.jpg") is None

"""Detection on whole images: the masks, the polygons and the overlay, and what is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from rasters import CRS_NAME, ThresholdSegmenter, smooth, write_tiff
from scipy import ndimage

from detection.labels import LABELS
from detection.segmenters import build_segmenter
from pipeline.detect import DetectRequest, ImageOutcome, detect_images
from pipeline.detect.image_list import find_images, result_names
from pipeline.errors import ImageListError

LAWN, POOL = LABELS["lawn"], LABELS["pool"]
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def blobs(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(3, height, width): bright areas of many sizes on dark ground, and a bar across."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((height, width)), 7)
    bright = field > field.std()
    bright[height // 3 : height // 3 + 9] = True
    return np.where(bright, 200, 20).astype(np.uint8)[None].repeat(3, 0)


def detect(
    out: Path, *images: Path, labels: tuple[Any, ...] = (LAWN,), chip_px: int = 160, **more: Any
) -> list[ImageOutcome]:
    segmenter = ThresholdSegmenter(chip_px=chip_px, chips_per_batch=5)
    return list(detect_images(DetectRequest(images, out, labels, **more), segmenter))


def mask(out: Path, name: str, label: str = "lawn") -> NDArray[np.uint8]:
    with Image.open(out / f"{name}.{label}.mask.tif") as opened:
        return np.asarray(opened)


def features(out: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / f"{name}.geojson").read_text())["features"]
    return found


def expected(pixels: NDArray[np.uint8], min_area_m2: float, pixel_m2: float) -> NDArray[np.uint8]:
    """The bright pixels, without objects below the minimum area."""
    parts, count = ndimage.label(pixels[0] > 100)
    areas = ndimage.sum_labels(np.ones_like(parts), parts, np.arange(count + 1)) * pixel_m2
    return ((parts > 0) & (areas >= min_area_m2)[parts]).astype(np.uint8)


@pytest.mark.parametrize("label", [LAWN, POOL], ids=lambda label: label.kind)
def test_an_image_of_many_blocks_is_one_piece(tmp_path: Path, label: Any) -> None:
    pixels = blobs(650, 700)
    image = write_tiff(tmp_path / "a.tif", pixels, colours=RGB)
    [many] = detect(tmp_path / "many", image, labels=(label,))
    [one] = detect(tmp_path / "one", image, labels=(label,), chip_px=4096)
    # The bar is one object although it crosses every block.
    assert many.objects == one.objects
    assert many.areas_m2[label.name] == pytest.approx(one.areas_m2[label.name], rel=1e-3)
    found, whole = (mask(tmp_path / folder, "a", label.name) for folder in ("many", "one"))
    assert (found == whole).mean() > 0.9999
    iou = (found & expected(pixels, 0, 1)).sum() / (found | expected(pixels, 0, 1)).sum()
    assert iou > 0.98  # without specks, and with the simplified outlines of pools
    assert all(shapely.from_geojson(json.dumps(f["geometry"])).is_valid
               for f in features(tmp_path / "many", "a"))  # fmt: skip


def test_a_georeferenced_image_has_its_grid_and_longitude_and_latitude(tmp_path: Path) -> None:
    pixels = blobs(300, 400)
    image = write_tiff(tmp_path / "field.tif", pixels, colours=RGB)
    [outcome] = detect(tmp_path / "out", image)
    assert outcome.status == "done"
    with (
        rasterio.open(image) as source,
        rasterio.open(tmp_path / "out" / "field.lawn.mask.tif") as found,
    ):
        assert (found.crs, found.transform, found.shape) == (
            source.crs, source.transform, source.shape)  # fmt: skip
        assert found.nodata == 255
        inside = found.read(1)
    parts = features(tmp_path / "out", "field")
    assert len(parts) == outcome.objects["lawn"]
    area_m2 = sum(part["properties"]["area_m2"] for part in parts)
    assert area_m2 == pytest.approx(outcome.areas_m2["lawn"], rel=1e-3)
    assert area_m2 == pytest.approx((inside == 1).sum() * 0.25, rel=0.01)
    west, south, east, north = shapely.total_bounds(
        [shapely.from_geojson(json.dumps(part["geometry"])) for part in parts]
    )
    assert -87.001 < west < east < -86.99
    assert 35.05 < south < north < 35.07
    assert 0 < parts[0]["properties"]["score"] <= 1
    with Image.open(tmp_path / "out" / "field.overlay.png") as overlay:
        assert overlay.width >= 400


def test_where_an_image_has_no_pixels_the_mask_says_so(tmp_path: Path) -> None:
    pixels = blobs(300, 300)
    shown = np.ones((300, 300), bool)
    shown[:120, :150] = False
    image = write_tiff(tmp_path / "corner.tif", pixels, colours=RGB, mask=shown)
    detect(tmp_path / "out", image)
    found = mask(tmp_path / "out", "corner")
    assert (found[~shown] == 255).all()
    assert set(np.unique(found[shown])) == {0, 1}


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (CRS_NAME, Affine(0.45, 0.21, 500_000, 0.21, -0.45, 3_880_000)),
        ("EPSG:4326", Affine(5e-6, 0, -87.0, 0, -5e-6, 35.06)),
        ("EPSG:2274", Affine(1.5, 0, 1_740_000, 0, -1.5, 560_000)),
    ],
    ids=["rotated", "degrees", "feet"],
)  # fmt: skip
def test_the_mask_is_on_the_grid_of_any_image(tmp_path: Path, crs: str, transform: Affine) -> None:
    pixels = blobs(260, 340)
    image = write_tiff(tmp_path / "odd.tif", pixels, colours=RGB, crs=crs, transform=transform)
    [outcome] = detect(tmp_path / "out", image)
    found = mask(tmp_path / "out", "odd")
    bright = pixels[0] > 100
    assert found.shape == bright.shape
    iou = ((found == 1) & bright).sum() / ((found == 1) | bright).sum()
    assert iou > 0.9
    assert (found != 255).all()
    pixel_m2 = {"EPSG:4326": 0.457 * 0.555, "EPSG:2274": 0.209}.get(crs, 0.2466)
    assert outcome.areas_m2["lawn"] == pytest.approx(bright.sum() * pixel_m2, rel=0.05)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_upright(tmp_path: Path, orientation: int) -> None:
    stored = blobs(120, 200)
    photo = Image.fromarray(np.moveaxis(stored, 0, -1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "photo.jpg", quality=95, exif=exif)
    [outcome] = detect(tmp_path / "out", tmp_path / "photo.jpg", gsd_m=0.5)
    from PIL import ImageOps

    with Image.open(tmp_path / "photo.jpg") as reopened:
        upright = np.asarray(ImageOps.exif_transpose(reopened))[..., 0] > 100
    found = mask(tmp_path / "out", "photo")
    assert found.shape == upright.shape
    assert ((found == 1) == upright).mean() > 0.98
    assert outcome.areas_m2["lawn"] == pytest.approx((found == 1).sum() * 0.25, rel=0.02)


def test_a_photograph_of_unknown_scale_has_pixels_and_no_areas(tmp_path: Path) -> None:
    Image.fromarray(np.moveaxis(blobs(120, 200), 0, -1)).save(tmp_path / "photo.png")
    [outcome] = detect(tmp_path / "out", tmp_path / "photo.png")
    assert outcome.areas_m2 == {"lawn": None}
    assert any("--gsd-m" in note for note in outcome.notes)
    document = json.loads((tmp_path / "out" / "photo.geojson").read_text())
    assert "pixels" in document["coordinates_note"]
    found = shapely.union_all(
        [shapely.from_geojson(json.dumps(f["geometry"])) for f in document["features"]]
    )
    assert found.bounds[2] <= 200
    assert found.bounds[3] <= 120
    assert found.area == pytest.approx((mask(tmp_path / "out", "photo") == 1).sum(), rel=0.02)


def test_transparent_pixels_of_a_png_are_not_seen(tmp_path: Path) -> None:
    pixels = np.moveaxis(blobs(100, 100), 0, -1)
    alpha = np.full((100, 100, 1), 255, np.uint8)
    alpha[:40] = 0
    Image.fromarray(np.concatenate([pixels, alpha], -1)).save(tmp_path / "cut.png")
    detect(tmp_path / "out", tmp_path / "cut.png")
    found = mask(tmp_path / "out", "cut")
    assert (found[:40] == 255).all()
    assert (found[40:] != 255).all()


def test_an_image_without_a_usable_pixel_is_not_an_empty_one(tmp_path: Path) -> None:
    image = write_tiff(tmp_path / "hidden.tif", np.zeros((3, 90, 90), np.uint8), nodata=0)
    clear = np.zeros((90, 90, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    for outcome in detect(tmp_path / "out", image, tmp_path / "clear.png"):
        assert outcome.status == "failed"
        assert "no usable pixel" in outcome.error
        assert outcome.objects == {}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]


def test_the_fraction_with_pixels_is_told(tmp_path: Path) -> None:
    shown = np.ones((200, 200), bool)
    shown[:50] = False
    image = write_tiff(tmp_path / "a.tif", blobs(200, 200), colours=RGB, mask=shown)
    for status in ("done", "skipped"):
        [outcome] = detect(tmp_path / "out", image)
        assert (outcome.status, outcome.coverage_fraction) == (status, 0.75)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images"][0]["coverage_fraction"] == 0.75


@pytest.mark.parametrize("cut", ["half", "end", "middle byte"])
def test_a_png_that_is_not_complete_is_refused(tmp_path: Path, cut: str) -> None:
    image = tmp_path / "a.png"
    Image.fromarray(np.moveaxis(smooth(3, 300, 300), 0, -1)).save(image)
    stored = bytearray(image.read_bytes())
    if cut == "middle byte":
        stored[len(stored) // 2] ^= 0xFF
    image.write_bytes(stored[: {"half": len(stored) // 2, "end": -5}.get(cut)])
    [outcome] = detect(tmp_path / "out", image)
    assert outcome.status == "failed"
    assert "damaged or incomplete" in outcome.error


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif", "jpg", "png"])
def test_pictures_of_every_format_are_read(tmp_path: Path, suffix: str) -> None:
    pixels = blobs(120, 160)
    image = tmp_path / f"a.{suffix}"
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(image, quality=95)
    [outcome] = detect(tmp_path / "out", image, gsd_m=0.5)
    assert outcome.status == "done", outcome.error
    found = mask(tmp_path / "out", "a") == 1
    assert (found == expected(pixels, 1.0, 0.25)).mean() > 0.97


def test_what_of_a_picture_is_not_used_is_told(tmp_path: Path) -> None:
    picture = Image.fromarray(np.moveaxis(blobs(100, 100), 0, -1))
    placed, pages = tmp_path / "placed.jpg", tmp_path / "pages.tif"
    camera = tmp_path / "camera.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (34.0, 5.0, 30.0), 3: "W", 4: (117.0, 43.0, 0.0)})
    picture.save(placed)
    (tmp_path / "placed.jgw").write_text("0.6\n0\n0\n-0.6\n450000\n3770000\n")
    picture.save(pages, save_all=True, append_images=[picture])
    picture.save(camera, exif=exif)
    told = ("placed.jgw is not used", "only the first is used", "that of the camera")
    for outcome, text in zip(detect(tmp_path / "out", placed, pages, camera), told, strict=True):
        assert any(text in note for note in outcome.notes), outcome.notes


def test_a_crs_can_be_stated_for_an_image_that_has_none(tmp_path: Path) -> None:
    image = write_tiff(tmp_path / "a.tif", blobs(100, 100), colours=RGB, crs=None)
    own = write_tiff(tmp_path / "own.tif", blobs(100, 100), colours=RGB)
    [refused] = detect(tmp_path / "out", image)
    assert "or state it with --crs EPSG:…" in refused.error
    assert "imagery:" not in refused.error
    first, other = detect(tmp_path / "out", image, own, crs="EPSG:32617")
    with (
        rasterio.open(tmp_path / "out" / "a.lawn.mask.tif") as stated,
        rasterio.open(tmp_path / "out" / "own.lawn.mask.tif") as kept,
    ):
        assert (stated.crs.to_epsg(), kept.crs.to_epsg()) == (32617, 32616)
    assert any("EPSG:32617 is taken" in note for note in first.notes)
    assert not any("is taken, as" in note for note in other.notes)


def test_advice_names_options_and_no_county(tmp_path: Path) -> None:
    two = write_tiff(tmp_path / "two.tif", blobs(100, 100)[:2])
    segmenter = build_segmenter("spectral")
    request = DetectRequest((two,), tmp_path / "out", (LAWN,))
    [outcome] = detect_images(request, segmenter)
    assert "--bands red,green,blue,nir" in outcome.error
    assert "county" not in outcome.error
    packed = tmp_path / "a.zip"
    packed.write_bytes(b"PK\x03\x04")
    assert "`path:`" not in detect(tmp_path / "out", packed)[0].error


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    [outcome] = detect(tmp_path / "out", tmp_path / "a.tif")
    assert "not a regular file" in outcome.error


def test_far_too_coarse_imagery_is_refused(tmp_path: Path) -> None:
    coarse = Affine(30, 0, 500_000, 0, -30, 3_880_000)
    image = write_tiff(tmp_path / "a.tif", blobs(100, 100), colours=RGB, transform=coarse)
    segmenter = ThresholdSegmenter(chip_px=160)
    segmenter.gsd_m = 0.5
    [outcome] = detect_images(DetectRequest((image,), tmp_path / "out", (LAWN,)), segmenter)
    assert "nothing can be recognised" in outcome.error


def test_one_bad_image_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write_tiff(tmp_path / "good.tif", blobs(200, 200), colours=RGB)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.moveaxis(smooth(3, 300, 300), 0, -1)).save(photo)
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    empty, text = tmp_path / "empty.png", tmp_path / "text.tif"
    empty.write_bytes(b"")
    text.write_text("hello")
    named = tmp_path / "named.jpg"
    named.write_text("hello")
    with caplog.at_level("WARNING"):
        outcomes = detect(tmp_path / "out", cut, photo, empty, text, named, good)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 5 + ["done"]
    assert all("copy or download it again" in each.error.lower() for each in outcomes[:5])
    assert "not a JPEG" in outcomes[4].error
    assert "IReadBlock" not in caplog.text, "GDAL's own words are for --log-level debug"
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"good.lawn.mask.tif", "good.overlay.png", "good.geojson", "summary.json"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [each["status"] for each in summary["images"]] == [o.status for o in outcomes]


def test_what_was_done_is_skipped_until_it_changes(tmp_path: Path) -> None:
    image = write_tiff(tmp_path / "a.tif", blobs(200, 200), colours=RGB)
    out = tmp_path / "out"
    [first] = detect(out, image)
    [second] = detect(out, image)
    assert (first.status, second.status) == ("done", "skipped")
    assert (second.objects, second.areas_m2) == (first.objects, first.areas_m2)
    assert detect(out, image, again=True)[0].status == "done"
    assert detect(out, image, labels=(LAWN, POOL))[0].status == "done"
    (out / "a.pool.mask.tif").unlink()
    assert detect(out, image, labels=(LAWN, POOL))[0].status == "done"
    write_tiff(image, blobs(200, 210, seed=1), colours=RGB)
    assert detect(out, image, labels=(LAWN, POOL))[0].status == "done"
    assert mask(out, "a").shape == (200, 210)


def test_results_of_another_image_are_not_overwritten(tmp_path: Path) -> None:
    images = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        images.append(write_tiff(tmp_path / folder / "x.tif", blobs(100, 100), colours=RGB))
    out = tmp_path / "out"
    detect(out, images[0])
    before = (out / "x.geojson").read_bytes()
    [refused] = detect(out, images[1])
    assert refused.status == "failed"
    assert "Choose another --out" in refused.error
    assert (out / "x.geojson").read_bytes() == before
    (out / "x.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    [refused] = detect(out, images[0])
    assert "is not a result of this command" in refused.error
    # Together, they have names of their own.
    both = detect(tmp_path / "both", *images)
    assert [outcome.name for outcome in both] == ["a_x.tif", "b_x.tif"]
    assert {outcome.status for outcome in both} == {"done"}


def test_names_of_results_are_different(tmp_path: Path) -> None:
    names = ["a/x.tif", "b/x.tif", "a/x.jpg", "a/Y.png", "a/-odd\n name.png", f"a/{'é' * 300}.png"]
    found = result_names([Path("/data", name) for name in names])
    assert list(found.values())[:4] == ["a_x.tif", "b_x.tif", "x.jpg", "Y"]
    assert list(found.values())[4] == "odd_ name"
    assert all(len(name.encode()) <= 150 for name in found.values())


def test_folders_and_globs_mean_their_images(tmp_path: Path) -> None:
    for name in ("a.tif", "b.JPG", "sub/c.png", "sub/d.txt", "a.overlay.png", "a.lawn.mask.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.tif").symlink_to(tmp_path / "a.tif")
    names = {path.name for path in find_images([str(tmp_path)])}
    assert names == {"a.tif", "b.JPG", "c.png"}
    assert [p.name for p in find_images([str(tmp_path / "**" / "*.png")])] == ["c.png"]
    assert len(find_images([str(tmp_path), str(tmp_path / "a.tif")])) == 3
    for argument in ("nothing.tif", "*.gif", "sub/**/*.jp2"):
        with pytest.raises(ImageListError):
            find_images([str(tmp_path / argument)])
    with pytest.raises(ImageListError, match="is a variable not set"):
        find_images([""])

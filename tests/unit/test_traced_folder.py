"""Exported pairs become class codes on images, for the training of landcover."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from detection.chip import Chip
from detection.evaluation.traced import read_codes
from detection.training.landcover.traced_images import read_traced_images
from pipeline.errors import ManifestError
from pipeline.learning.corrections_manifest import CorrectionsManifest, write_manifest
from pipeline.learning.export_files import ExportFiles
from pipeline.learning.pair import LabelMask, Pair, SegmenterView
from pipeline.learning.pair_images import BinaryMask, chip_tiff, mask_of_png, mask_png, pixels_of
from pipeline.learning.traced_folder import open_manifest, write_traced_folder
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects

SIDE = 64
LABELS = ("lawn", "tree", "roof", "driveway", "pool")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def chip(bands: tuple[str, ...] = ("nir", "red", "green", "blue"), dtype: str = "uint8") -> Chip:
    pixels = np.random.default_rng(0).integers(1, 255, (len(bands), SIDE, SIDE)).astype(dtype)
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, :4] = False
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    return Chip(pixels, valid, transform, CRS("EPSG:32611"), bands)


def area(top: int, left: int, bottom: int, right: int) -> BinaryMask:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


LOT = area(10, 10, 50, 60)


def pair(
    objects: ObjectStore, masks: dict[str, BinaryMask], *, split: str = "train", **change: Any
) -> Pair:
    files = ExportFiles(objects)
    exhaustive = change.pop("exhaustive", LABELS)
    values: dict[str, Any] = {
        "id": f"{split}-0", "source_sha256": "s", "county": "here", "property_id": "p0",
        "split": split, "block": "0/0", "is_audited": False, "exhaustive": True,
        "width_px": SIDE, "height_px": SIDE, "gsd_m": 0.5, "captured_on": None,
        "chip": files.store("chips", chip_tiff(change.pop("of", chip())), ".tif"),
        "chip_sha256": "c", "lot": files.store("masks", mask_png(LOT), ".png"), "boundary": {},
        "boundary_source": "lot", "boundary_version": "v", "parcel_ids": (),
        "segmenter": SegmenterView(
            name="spectral-2", weights_sha256=None, chip_px=SIDE, chip_gsd_m=None
        ),
        "labels": {
            label: LabelMask(
                mask=files.store("masks", mask_png(mask), ".png"), prompt=None,
                is_exhaustive=label in exhaustive, objects=1, area_px=int(mask.sum()),
            )
            for label, mask in masks.items()
        },
        "reviewer": "ann", "reviewed_at": NOW, "events": (),
    }  # fmt: skip
    return Pair(**{**values, **change})


def manifest(*pairs: Pair) -> CorrectionsManifest:
    return CorrectionsManifest(
        lotline="0", created_at=NOW, block_m=250, validation=0.1, test=0.1, seed=0, coco={},
        pairs=pairs,
    )  # fmt: skip


def nothing() -> dict[str, BinaryMask]:
    return {label: np.zeros((SIDE, SIDE), bool) for label in LABELS}


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(str(tmp_path / "pairs"))


def codes_of(objects: ObjectStore, made: Pair, folder: Path) -> Any:
    write_traced_folder(objects, manifest(made), folder)
    return read_codes(folder / "traced" / f"train-{made.id}.png")


def test_masks_become_codes_inside_the_lot(objects: ObjectStore, tmp_path: Path) -> None:
    masks = nothing() | {"lawn": area(0, 12, 30, 20), "tree": area(20, 15, 30, 40)}
    codes = codes_of(objects, pair(objects, masks), tmp_path)
    assert set(np.unique(codes)) == {0, 1, 2, 255}
    assert (codes[~LOT] == 255).all()
    assert (codes[masks["lawn"] & ~masks["tree"] & LOT] == 1).all()
    # Masks of people may overlap; the classes of the training exclude each other.
    assert (codes[masks["lawn"] & masks["tree"]] == 255).all()
    assert codes[45, 55] == 0


def test_what_was_not_asked_is_unsure_and_not_absent(objects: ObjectStore, tmp_path: Path) -> None:
    masks = {"lawn": area(12, 12, 30, 20)}
    codes = codes_of(objects, pair(objects, masks, exhaustive=("lawn",)), tmp_path)
    assert set(np.unique(codes)) == {1, 255}
    few = nothing() | {"roof": area(12, 12, 30, 20)}
    partly = tuple(label for label in LABELS if label != "roof")
    codes = codes_of(objects, pair(objects, few, exhaustive=partly), tmp_path / "partly")
    assert set(np.unique(codes)) == {3, 255}


def test_the_trainer_reads_the_folder(objects: ObjectStore, tmp_path: Path) -> None:
    masks = nothing() | {"pool": area(20, 20, 30, 30)}
    trained = pair(objects, masks)
    judged = pair(objects, masks, split="validation")
    test = pair(objects, masks, split="test")
    counts = write_traced_folder(objects, manifest(trained, judged, test), tmp_path)
    assert counts == {"train": 1, "validation": 1}
    images = read_traced_images(tmp_path)
    assert [each.name for each in images] == ["train-train-0", "validation-validation-0"]
    assert images[0].has_infrared
    assert images[0].gsd_m == pytest.approx(0.5)
    # Colours first, whatever the order of the imagery.
    source = chip()
    with rasterio.open(tmp_path / "imagery" / "train-train-0.tif") as image:
        assert image.descriptions == ("red", "green", "blue", "nir")
        for number, name in enumerate(image.descriptions, start=1):
            band = source.band(name)
            assert band is not None
            assert np.array_equal(image.read(number), band)
    windows = json.loads((tmp_path / "traced" / "windows.json").read_text())
    assert windows["train-train-0"] == [[10, 10, 60, 50]]


def test_nothing_to_train_on(objects: ObjectStore, tmp_path: Path) -> None:
    made = manifest(pair(objects, nothing(), split="validation"))
    with pytest.raises(ManifestError, match="no pair for training"):
        write_traced_folder(objects, made, tmp_path)


def test_imagery_that_the_training_cannot_use(objects: ObjectStore, tmp_path: Path) -> None:
    for wrong in (chip(("band1",)), chip(dtype="uint16")):
        with pytest.raises(ManifestError, match=r"red, green and blue of 8 bits"):
            codes_of(objects, pair(objects, nothing(), of=wrong), tmp_path)


def test_a_file_that_is_missing_or_was_changed(objects: ObjectStore, tmp_path: Path) -> None:
    made = pair(objects, nothing())
    objects.put(made.chip.key, b"something else")
    with pytest.raises(ManifestError, match="its hash differs"):
        codes_of(objects, made, tmp_path)
    objects.delete(made.chip.key)
    with pytest.raises(ManifestError, match="is missing"):
        codes_of(objects, made, tmp_path)


def test_a_manifest_by_its_address(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="corrections export --to"):
        open_manifest(objects.address)
    first = manifest(pair(objects, nothing()))
    digest = write_manifest(objects, first)
    write_manifest(objects, manifest())
    assert open_manifest(objects.address)[1] == manifest()
    assert open_manifest(f"{objects.address}/manifest.json")[1] == manifest()
    assert open_manifest(f"{objects.address}/manifests/{digest}.json")[1] == first


def test_the_same_pixels_give_the_same_files() -> None:
    assert chip_tiff(chip()) == chip_tiff(chip())
    mask = area(3, 5, 20, 40)
    assert mask_png(mask) == mask_png(mask.copy())
    assert np.array_equal(mask_of_png(mask_png(mask)), mask)
    assert not pixels_of([], (4, 4), Affine.identity()).any()


def test_a_chip_keeps_its_pixels_and_what_is_valid() -> None:
    import io

    for made in (chip(), chip(dtype="uint16"), chip(("red", "green", "blue"), "float32")):
        with rasterio.open(io.BytesIO(chip_tiff(made))) as dataset:
            assert np.array_equal(dataset.read(), made.pixels)
            assert np.array_equal(dataset.dataset_mask() > 0, made.valid)
            assert dataset.descriptions == made.bands
            assert CRS.from_user_input(dataset.crs.to_wkt()) == made.crs
            assert dataset.transform == made.transform

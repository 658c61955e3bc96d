"""Exported pairs become labelled chips, which `lotline train sam3-decoder --from` learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from click.testing import CliRunner
from labelledchips import GSD_M, SIDE, SMALL, lot_of, painted_lot, write_small_sam3
from pyproj import CRS

from detection.chip import Chip
from detection.segmenters.sam3.sources import DELTA_FILE
from detection.training.run_record import read_run
from detection.training.sam3_decoder.chips import read_chips
from pipeline.cli.train import train
from pipeline.errors import ManifestError
from pipeline.learning.coco_file import coco_document, coco_object
from pipeline.learning.corrections_manifest import CorrectionsManifest, write_manifest
from pipeline.learning.export_files import ExportFiles
from pipeline.learning.labelled_folder import write_labelled_folder
from pipeline.learning.pair import LabelMask, Pair, SegmenterView
from pipeline.learning.pair_images import chip_tiff, mask_png
from pipeline.learning.spatial_split import Split
from pipeline.store.objects.folder_or_bucket import ObjectStore, open_objects

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPLITS: tuple[Split, ...] = ("train", "train", "validation", "test")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def exported(objects: ObjectStore, *, coco: bool = True) -> CorrectionsManifest:
    """Four pairs of painted lots: two to train on, one to judge by, one of the test."""
    files = ExportFiles(objects)
    pairs, drawn = [], {}
    for seed, split in enumerate(SPLITS):
        pixels, found = painted_lot(seed)
        transform = Affine(GSD_M, 0, 5e5, 0, -GSD_M, 4e6)
        chip = Chip(
            pixels[::-1], np.ones((SIDE, SIDE), bool), transform, CRS("EPSG:32611"),
            ("blue", "green", "red"),
        )  # fmt: skip
        masks = {name: np.any([np.zeros_like(lot_of()), *each], 0) for name, each in found.items()}
        pair = Pair(
            id=f"pair-{seed}", source_sha256="s", county="here", property_id=f"p{seed}",
            split=split, is_audited=False, exhaustive=True, width_px=SIDE, height_px=SIDE,
            gsd_m=GSD_M, captured_on=None, chip=files.store("chips", chip_tiff(chip), ".tif"),
            chip_sha256="c", lot=files.store("masks", mask_png(lot_of()), ".png"), boundary={},
            boundary_source="lot", boundary_version="v", parcel_ids=(),
            segmenter=SegmenterView(
                name="sam3-1", weights_sha256=None, chip_px=SIDE, chip_gsd_m=None
            ),
            labels={
                name: LabelMask(
                    mask=files.store("masks", mask_png(mask), ".png"),
                    prompt="green lawn" if name == "lawn" else None, is_exhaustive=name != "pool",
                    objects=len(found[name]), area_px=int(mask.sum()),
                )
                for name, mask in masks.items()
            },
            reviewer="ann", reviewed_at=NOW, events=(),
        )  # fmt: skip
        parts = [
            coco_object(number, name, mask, exhaustive=True)
            for name, of_label in found.items()
            for number, mask in enumerate(of_label)
        ]
        drawn[pair.id] = [each for each in parts if each is not None]
        pairs.append(pair)
    documents = {
        split: files.store(
            "coco", coco_document([p for p in pairs if p.split == split], drawn, list(found)),
            ".json",
        )
        for split in dict.fromkeys(SPLITS)
    }  # fmt: skip
    return CorrectionsManifest(
        lotline="0", created_at=NOW, block_m=250, validation=0.1, test=0.1, seed=0,
        coco=documents if coco else {}, pairs=tuple(pairs),
    )  # fmt: skip


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(str(tmp_path / "pairs"))


def test_pairs_become_chips_with_their_objects(objects: ObjectStore, tmp_path: Path) -> None:
    counts = write_labelled_folder(objects, exported(objects), tmp_path / "data")
    assert counts == {"train": 2, "validation": 1}
    chips = read_chips(tmp_path / "data")
    assert [(chip.name, chip.split) for chip in chips] == [
        ("pair-0", "train"), ("pair-1", "train"), ("pair-2", "validation"),
    ]  # fmt: skip
    arrays = chips[0].read()
    pixels, found = painted_lot(0)
    assert np.array_equal(arrays.pixels, pixels)
    assert np.array_equal(arrays.lot, lot_of())
    labels = chips[0].labels
    assert (labels["lawn"].prompt, labels["roof"].prompt) == ("green lawn", "house roof")
    assert (labels["lawn"].exhaustive, labels["pool"].exhaustive) == (True, False)
    assert (labels["lawn"].kind, labels["pool"].kind) == ("continuous", "discrete")
    assert len(arrays.objects["lawn"]) == 2
    for true, read in zip(found["lawn"], arrays.objects["lawn"], strict=True):
        assert np.array_equal(true, read)


def test_what_cannot_be_read_is_named(objects: ObjectStore, tmp_path: Path) -> None:
    manifest = exported(objects)
    with pytest.raises(ManifestError, match="no COCO file of train"):
        write_labelled_folder(objects, exported(objects, coco=False), tmp_path / "data")
    only_test = manifest.model_copy(update={"pairs": manifest.pairs[3:]})
    with pytest.raises(ManifestError, match="no pair for training"):
        write_labelled_folder(objects, only_test, tmp_path / "data")
    objects.put(manifest.coco["train"].key, b"{}")
    with pytest.raises(ManifestError, match="its hash differs"):
        write_labelled_folder(objects, manifest, tmp_path / "data")


def test_the_command_trains_on_an_export(
    objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))
    write_manifest(objects, exported(objects))
    start = write_small_sam3(tmp_path / "start")
    out = tmp_path / "run"
    words = [
        "sam3-decoder", "--from", str(tmp_path / "pairs"), "--weights", str(start), "--tier",
        "mask", "--out", str(out), "--steps", "1",
    ]  # fmt: skip
    words += [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(train, words)
    assert done.exit_code == 0, done.output
    assert "2 corrected images to train on, 1 to judge by" in done.stderr
    assert "nothing of the first training is rehearsed" in done.stderr
    assert (out / "weights" / DELTA_FILE).is_file()
    recipe = read_run(out)["recipe_settings"]
    assert recipe["tier"] == "mask"
    assert recipe["base"] == str(start)
    assert len(list((tmp_path / "home" / "views").iterdir())) == 4
    wrong = CliRunner().invoke(train, ["sam3-tiny", "--tier", "mask", "--out", str(tmp_path)])
    assert wrong.exit_code == 2
    assert "options of sam3-decoder" in wrong.output
    assert json.loads((out / "corrections" / "chips.json").read_text())["format"] == 1

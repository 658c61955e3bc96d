"""Reviews of a measured synthetic county become pairs, in a folder and in a bucket."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from reviewers import PAGE_TEST
from shapely.geometry import shape
from sqlalchemy import text

from detection import sample
from detection.registry.county import DetectionCounty
from parcels import load_registry
from parcels.measure import area_m2
from pipeline import BatchRequest, run_batch
from pipeline.cli.app import lotline
from pipeline.errors import ManifestError, ObjectStoreError
from pipeline.learning import export_corrections as exporting
from pipeline.learning.corrections_manifest import read_newest
from pipeline.learning.export_corrections import CorrectionsReport, export_corrections
from pipeline.learning.spatial_split import SplitRule
from pipeline.review.corrections.run_lengths import decode_mask
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.objects.folder_or_bucket import ObjectStore, content_sha256, open_objects
from pipeline.store.reviews import full_reviews, verdicts

pytestmark = PAGE_TEST[1:]

KEY = "little"
LOTS = 8
# Every lot is a block, nearly.
RULE = SplitRule(block_m=30.0, validation=0.25, test=0.25)


@dataclass
class Reviewed:
    """A synthetic county of which ann has decided about all."""

    database: Database
    county: DetectionCounty
    folder: Path

    def measured(self) -> list[int]:
        """The keys of properties with a result."""
        query = "SELECT id FROM lotline.property WHERE state = 'done' ORDER BY id"
        return [row.id for row in self.run(query)]

    def run(self, statement: str, **values: object) -> list[Any]:
        with self.database.engine.begin() as conn:
            result = conn.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def withdraw_buffers(self) -> None:
        """The buffers of lots that were not found overlap lots, which joins blocks."""
        query = (
            "SELECT p.id FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk "
            "WHERE b.source <> 'lot'"
        )
        keys = [row.id for row in self.run(query)]
        with self.database.engine.begin() as conn:
            for key in keys:
                full_reviews.withdraw_full_review(conn, key, "ann")

    def export(self, objects: ObjectStore, rule: SplitRule = RULE) -> CorrectionsReport:
        return export_corrections(self.database.engine, [self.county], objects, rule)

    def area_m2(self, property_id: str, label: str) -> float:
        """The ground of accepted objects inside the lot."""
        rows = self.run(
            "SELECT ST_AsBinary(d.geom) AS geom, ST_AsBinary(b.geom) AS lot "
            "FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk "
            "JOIN lotline.boundary b ON b.id = p.boundary_fk "
            "WHERE p.property_id = :id AND d.label = :label AND d.state = 'accepted'",
            id=property_id, label=label,
        )  # fmt: skip
        union = shapely.union_all([shapely.from_wkb(row.geom) for row in rows])
        return area_m2(shapely.intersection(union, shapely.from_wkb(rows[0].lot))) if rows else 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("corrections")
    made = sample.generate(folder / "county", seed=7, lots=LOTS)
    registry = folder / "registry.yaml"
    registry.write_text(
        f'counties:\n  {KEY}:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    return folder, registry


@pytest.fixture
def reviewed(place: tuple[Path, Path], database: Database) -> Reviewed:
    folder, registry = place
    settings = Settings(database_url=database.url, home=folder)
    run_batch(BatchRequest(KEY, registry=registry, segmenter="spectral"), settings)
    county = load_registry(registry, DetectionCounty).county(KEY)
    found = Reviewed(database, county, folder)
    with database.engine.begin() as conn:
        query = text("SELECT id FROM lotline.detection WHERE state = 'proposed' ORDER BY id")
        for number, key in enumerate(conn.execute(query).scalars().all()):
            (verdicts.reject if number % 5 == 0 else verdicts.accept)(conn, key, "ann")
        for key in found.measured():
            full_reviews.mark_fully_reviewed(conn, key, "ann")
    assert len(found.measured()) >= 6
    return found


def _read(objects: ObjectStore, key: str) -> Any:
    data = objects.get(key)
    assert data is not None
    with rasterio.open(io.BytesIO(data)) as dataset:
        return dataset.read(), dataset.dataset_mask(), dataset.transform, dataset.crs


def _mask(objects: ObjectStore, key: str) -> Any:
    pixels, *_ = _read(objects, key)
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels[0] > 0


def _all_files(objects: ObjectStore) -> set[str]:
    return {key for folder in ("chips", "masks", "coco") for key in objects.listed(f"{folder}/")}


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_objects(str(tmp_path / "pairs"))
    return open_objects(request.getfixturevalue("s3_bucket") + "/pairs")


def test_every_reviewed_property_is_a_pair(reviewed: Reviewed, objects: ObjectStore) -> None:
    report = reviewed.export(objects)
    assert report.skipped == []
    assert (report.new, report.kept, report.removed) == (len(reviewed.measured()), 0, 0)
    manifest = read_newest(objects)
    assert manifest == report.manifest
    assert manifest is not None
    assert objects.get(f"manifests/{report.sha256}.json") == objects.get("manifest.json")
    for pair in manifest.pairs:
        for file in pair.files:
            data = objects.get(file.key)
            assert data is not None
            assert content_sha256(file.key) == file.sha256
        pixels, valid, transform, _ = _read(objects, pair.chip.key)
        assert pixels.shape[1:] == (pair.height_px, pair.width_px)
        assert (valid > 0).any()
        lot = _mask(objects, pair.lot.key)
        [row] = reviewed.run(
            "SELECT coverage_fraction FROM lotline.property WHERE property_id = :id",
            id=pair.property_id,
        )
        seen_m2 = area_m2(shape(pair.boundary)) * row.coverage_fraction
        assert lot.sum() * transform.a**2 == pytest.approx(seen_m2, rel=0.02)
        assert pair.exhaustive
        assert {"lawn", "tree"} <= set(pair.labels)
        for label, found in pair.labels.items():
            mask = _mask(objects, found.mask.key)
            assert found.is_exhaustive
            assert (mask & lot).sum() == found.area_px
            expected_m2 = reviewed.area_m2(pair.property_id, label)
            assert found.area_px * transform.a**2 == pytest.approx(expected_m2, rel=0.05, abs=3)
        assert {each.reviewer for each in pair.events} == {"ann"}
    # Rejected ones are in no mask, so some label has none of its objects.
    assert any(found.objects == 0 for pair in manifest.pairs for found in pair.labels.values())


def test_the_coco_files_have_the_same_masks(reviewed: Reviewed, tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    manifest = reviewed.export(objects).manifest
    for split, file in manifest.coco.items():
        data = objects.get(file.key)
        assert data is not None
        content = json.loads(data)
        names = {each["id"]: each["name"] for each in content["categories"]}
        pairs = {pair.id: pair for pair in manifest.of_split(split)}
        assert {image["pair"] for image in content["images"]} == set(pairs)
        for image in content["images"]:
            pair = pairs[image["pair"]]
            for label, found in pair.labels.items():
                union = np.zeros((pair.height_px, pair.width_px), bool)
                for each in content["annotations"]:
                    if each["image_id"] == image["id"] and names[each["category_id"]] == label:
                        mask = decode_mask(each["segmentation"], pair.width_px, pair.height_px)
                        assert mask.sum() == each["area"]
                        left, top, width, height = each["bbox"]
                        assert mask[top : top + height, left : left + width].sum() == each["area"]
                        union |= mask
                assert np.array_equal(union, _mask(objects, found.mask.key))


def test_exporting_again_adds_only_what_is_new(
    reviewed: Reviewed, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reviewed.export(objects)
    files = _all_files(objects)

    def unread(*_: object) -> None:
        raise AssertionError("imagery was read again")

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "build_pairs", unread)
        again = reviewed.export(objects)
    assert (again.new, again.kept, again.sha256) == (0, len(reviewed.measured()), None)
    assert again.manifest.pairs == first.manifest.pairs
    assert _all_files(objects) == files
    assert len(objects.listed("manifests/")) == 1

    [changed] = reviewed.run(
        "SELECT d.id, d.property_fk FROM lotline.detection d WHERE d.state = 'accepted' "
        "ORDER BY d.id LIMIT 1"
    )
    with reviewed.database.engine.begin() as conn:
        verdicts.reject(conn, changed.id, "bob")
    third = reviewed.export(objects)
    assert (third.new, third.kept, third.removed) == (1, len(reviewed.measured()) - 1, 1)
    [new] = {pair.id: pair for pair in third.manifest.pairs}.keys() - {
        pair.id for pair in first.manifest.pairs
    }
    pair = next(each for each in third.manifest.pairs if each.id == new)
    assert {each.reviewer for each in pair.events} == {"ann", "bob"}
    # The earlier manifest is still complete: a model may name it.
    assert files <= _all_files(objects)

    with reviewed.database.engine.begin() as conn:
        full_reviews.withdraw_full_review(conn, changed.property_fk, "bob")
    assert reviewed.export(objects).removed == 1


def test_lots_are_split_by_blocks_and_audited_ones_are_test(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    objects = open_objects(str(tmp_path))
    reviewed.withdraw_buffers()
    manifest = reviewed.export(objects).manifest
    trained = manifest.of_split("train")
    assert trained
    property_id = trained[0].property_id
    block = trained[0].block
    reviewed.run(
        "WITH sample AS (INSERT INTO lotline.audit_sample (county, created_by, seed, per_stratum, "
        "second_fraction) VALUES (:county, 'ann', 1, 1, 0) RETURNING id) "
        "INSERT INTO lotline.audit_item (sample_fk, detection_fk, property_fk, boundary_fk, label, "
        "source, score, segmenter, geom, clipped_area_m2, stratum_count, needs_second, position) "
        "SELECT sample.id, d.id, d.property_fk, d.boundary_fk, d.label, 'lot', d.score, "
        "d.segmenter, d.geom, d.clipped_area_m2, 1, false, 1 FROM sample, lotline.detection d "
        "JOIN lotline.property p ON p.id = d.property_fk WHERE p.property_id = :id "
        "AND d.state = 'accepted' ORDER BY d.id LIMIT 1", county=KEY, id=property_id,
    )  # fmt: skip
    audited = reviewed.export(objects).manifest
    assert {pair.split for pair in audited.pairs if pair.block == block} == {"test"}
    assert next(p for p in audited.pairs if p.property_id == property_id).is_audited
    elsewhere = {pair.property_id: pair.split for pair in manifest.pairs if pair.block != block}
    assert elsewhere.items() <= {p.property_id: p.split for p in audited.pairs}.items()


def test_no_half_pair_is_left_by_an_export_that_fails(
    reviewed: Reviewed, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: Callable[[str, bytes], None] = objects.put
    written: list[str] = []

    def failing(key: str, data: bytes) -> None:
        if len(written) == 20:
            raise ObjectStoreError(f"{key} cannot be written (503)")
        written.append(key)
        put(key, data)

    monkeypatch.setattr(objects, "put", failing)
    with pytest.raises(ObjectStoreError, match="503"):
        reviewed.export(objects)
    assert read_newest(objects) is None
    assert len(_all_files(objects)) == 20

    monkeypatch.undo()
    report = reviewed.export(objects)
    assert report.new == len(reviewed.measured())
    assert _all_files(objects) == {
        file.key for pair in report.manifest.pairs for file in pair.files
    } | {file.key for file in report.manifest.coco.values()}


def test_old_files_that_no_manifest_names_are_swept(reviewed: Reviewed, tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    objects.put("masks/ab/orphan.png", b"left")
    objects.put("masks/ab/young.png", b"of an export that is running")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(tmp_path / "masks/ab/orphan.png", (two_days_ago, two_days_ago))
    report = reviewed.export(objects)
    assert report.swept == 1
    for path in tmp_path.rglob("*.tif"):
        os.utime(path, (two_days_ago, two_days_ago))
    assert reviewed.export(objects).swept == 0
    assert objects.get("masks/ab/orphan.png") is None
    assert objects.get("masks/ab/young.png") is not None


def test_imagery_that_was_replaced_is_skipped_and_said(reviewed: Reviewed, tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    key = reviewed.measured()[0]
    reviewed.run(
        "INSERT INTO lotline.chip SELECT 'other', sources, captured_on, crs, gsd_m, bands, bounds, "
        "chip_gsd_m FROM lotline.chip LIMIT 1"
    )
    [lot] = reviewed.run(
        "UPDATE lotline.property SET chip_sha256 = 'other' WHERE id = :id RETURNING property_id",
        id=key,
    )
    with reviewed.database.engine.begin() as conn:
        full_reviews.mark_fully_reviewed(conn, key, "ann")
    report = reviewed.export(objects)
    assert [(each.property_id, "was replaced" in each.why) for each in report.skipped] == [
        (lot.property_id, True)
    ]
    assert len({pair.property_id for pair in report.manifest.pairs}) == len(reviewed.measured()) - 1


def test_a_damaged_manifest_is_an_error(reviewed: Reviewed, tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    objects.put("manifest.json", b'{"format": 1')
    with pytest.raises(ManifestError, match="is not a manifest"):
        reviewed.export(objects)
    objects.delete("manifest.json")
    manifest = reviewed.export(objects).manifest
    objects.delete(next(iter(manifest.coco.values())).key)
    with pytest.raises(ManifestError, match="missing or damaged"):
        reviewed.export(objects)


def test_the_command(reviewed: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", reviewed.database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(reviewed.folder))
    arguments = ["corrections", "export", "--to", str(tmp_path / "pairs"), "--block-m", "30"]
    count = len(reviewed.measured())
    first = CliRunner().invoke(lotline, arguments)
    assert first.exit_code == 0, first.output
    assert f"{count} pairs in {tmp_path / 'pairs'}: " in first.output
    assert f"{count} new, 0 removed" in first.output
    again = CliRunner().invoke(lotline, arguments)
    assert "the manifest is as before" in again.output
    wrong = CliRunner().invoke(lotline, [*arguments, "--test", "0.9"])
    assert wrong.exit_code == 2
    assert "together below 1" in wrong.output


def test_landcover_trains_on_what_was_exported(
    reviewed: Reviewed, s3_bucket: str, tmp_path: Path
) -> None:
    reviewed.withdraw_buffers()
    reviewed.export(open_objects(f"{s3_bucket}/pairs"))
    arguments = [
        "train", "landcover-decoder", "--from", f"{s3_bucket}/pairs", "--device", "cpu",
        "--out", str(tmp_path / "run"), "--steps", "2", "--no-prove",
        "--set", "views_per_part=1", "--set", "batch=2", "--set", "side_px=96",
    ]  # fmt: skip
    done = CliRunner().invoke(lotline, arguments)
    assert done.exit_code == 0, done.output
    assert "corrected images to train on" in done.output
    assert "nothing of the first training is rehearsed" in done.output
    steps = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(steps) == 2
    wrong = CliRunner().invoke(lotline, ["train", "sam3-tiny", *arguments[2:]])
    assert "does not learn from corrections" in wrong.output

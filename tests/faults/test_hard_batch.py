"""Faults 11 to 13 in a complete batch: out of memory, bad imagery, invalid masks, a crash."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest
import rasterio
from affine import Affine
from batches import (
    assert_equal_to_clean_run,
    count_finished,
    environment,
    free_segmenter_command,
    inconsistent_properties,
    start_process,
    wait_for,
)
from largecounty import GSD_M, KEY, LOT_M, ODD, SOUTH_M, WEST_M, LargeCounty, make_county
from rasterio.windows import Window
from segmenters import FreeSegmenter

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask
from pipeline import BatchRequest, run_batch
from pipeline.batch.result import BatchReport
from pipeline.settings import Settings
from pipeline.store.database import Database

# The side of a chip in metres.
_CHIP_M = FreeSegmenter.chip_px * GSD_M


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), 900)


class _OutOfMemory(FreeSegmenter):
    """Fails for more than two chips at once, and for each chip that shows one point."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if len(chips) > 2 or any(_shows(chip, 100.0, 100.0) for chip in chips):
            raise RuntimeError("CUDA out of memory")
        return super().segment(chips, labels)


class _NotANumber(FreeSegmenter):
    """Returns NaN for the chips that show one point."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        masks = super().segment(chips, labels)
        for chip, chip_masks in zip(chips, masks, strict=True):
            if _shows(chip, 100.0, 100.0):
                chip_masks[0].field[:] = np.nan
        return masks


class _Thousands(FreeSegmenter):
    """Finds 2,500 pools on every chip."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        [label] = [label for label in labels if label.name == "pool"]
        field = np.full((5, 5), -1.0, np.float32)
        field[1:4, 1:4] = 1.0
        confidence = np.ones_like(field)
        return [
            [
                Mask(label, field, confidence, (256, 256), row, column)
                for row in range(0, 250, 5)
                for column in range(0, 250, 5)
            ]
            for _ in chips
        ]


def _shows(chip: Chip, east_m: float, north_m: float) -> bool:
    left, bottom, right, top = chip.bounds
    x, y = WEST_M + east_m, SOUTH_M + north_m
    return left < x < right and bottom < y < top


def _batch(
    segmenter: type[FreeSegmenter],
    county: LargeCounty,
    database: Database,
    home: Path,
    labels: tuple[str, ...] = (),
) -> BatchReport:
    request = BatchRequest(KEY, county.registry, county.properties, labels, segmenter="odd")
    settings = Settings(database_url=database.url, home=home)
    return run_batch(request, settings, build=partial(_build, segmenter))


def _build(segmenter: type[FreeSegmenter], _name: str, _weights: str | None) -> FreeSegmenter:
    return segmenter()


@pytest.mark.parametrize("segmenter", [_OutOfMemory, _NotANumber])
def test_lots_of_a_failed_chip_are_listed_and_all_others_are_measured(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
    segmenter: type[FreeSegmenter],
) -> None:
    report = _batch(segmenter, county, database, tmp_path)
    assert report.exit_code == 1
    failed = report.processed["failed", "segmenter"]
    assert 0 < failed < 0.5 * county.lots
    # The property without a lot is measured, too.
    assert report.processed["done", "measured"] == county.lots - failed + 1
    assert "segmenter" in {problem.reason for problem in report.problems}
    query = "SELECT property_id, detail FROM lotline.property WHERE state = 'failed'"
    with psycopg.connect(database.url) as conn:
        details = {name: detail for name, detail in conn.execute(query) if name not in ODD}
    listed = {name for name, detail in details.items() if "free (synthetic) failed" in detail}
    assert len(listed) == len(details) == failed
    # A chip, and the lots that reach into it.
    reach_m = np.array(LOT_M) + _CHIP_M
    away_m = np.abs(county.centres_m(sorted(listed)) - (WEST_M + 100.0, SOUTH_M + 100.0))
    assert (away_m < reach_m).all()
    assert inconsistent_properties(database.url, KEY, 4) == []


def test_thousands_of_detections_on_every_chip(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    report = _batch(_Thousands, county, database, tmp_path, ("pool",))
    assert report.processed["done", "measured"] == county.lots + 1
    [area] = [a for a in report.status.areas if a.source == "lot"]
    assert area.detections > 3 * county.lots


def test_missing_empty_or_corrupt_imagery_is_never_nothing_found(
    database: Database,
    tmp_path: Path,
) -> None:
    """Four quarters of a county side by side, each wider than two chips."""
    county = make_county(tmp_path / "county", 4_000)
    left, _, right, _ = county.extent_m
    _split_imagery(county)
    report = _batch(FreeSegmenter, county, database, tmp_path)
    reasons = {
        reason: n for (state, reason), n in report.processed.items() if state == "no_imagery"
    }
    assert set(reasons) == {"missing", "nodata", "corrupt"}
    assert "nothing_found" not in {reason for _, reason in report.processed}
    query = """
SELECT reason, ST_X(ST_Transform(point, 26916)) FROM lotline.property WHERE state <> 'failed'
"""
    with psycopg.connect(database.url) as conn:
        found = [(reason, float(x)) for reason, x in conn.execute(query)]
    expected = ("measured", "nodata", "corrupt", "missing")
    width_m = (right - left) / len(expected)
    for reason, x in found:
        number, into_m = divmod(x - left, width_m)
        # A lot on the edge of two quarters is covered in part.
        if LOT_M[0] < into_m < width_m - LOT_M[0] and 0 <= number < len(expected):
            assert (reason == "measured") == (number == 0), x
            # A chip without pixels may have the reason of the quarter beside it.
            near = {int((x + aside - left) // width_m) for aside in (-_CHIP_M, 0, _CHIP_M)}
            assert reason in {expected[n] for n in near if 0 <= n < len(expected)}, x
    assert inconsistent_properties(database.url, KEY, 4) == []


def _split_imagery(county: LargeCounty) -> None:
    """Split the imagery into three files: a valid, an empty and a truncated one."""
    complete = county.folder / "imagery.tif"
    folder = county.folder / "quarters"
    folder.mkdir()
    with rasterio.open(complete) as source:
        column = [round((x - source.transform.c) / GSD_M) for x in _quarters_m(county)]
        for name, (first, end) in zip("abc", pairwise(column), strict=True):
            window = Window(first, 0, end - first, source.height)
            profile = {**source.profile, "width": end - first, "nodata": 0, "compress": "deflate"}
            profile["transform"] = source.transform @ Affine.translation(first, 0)
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as target:
                target.colorinterp = source.colorinterp
                target.write(source.read(window=window) * (name != "b"))
    complete.unlink()
    cut = folder / "c.tif"
    cut.write_bytes(_without_pixels(cut.read_bytes()))
    text = county.registry.read_text(encoding="utf-8")
    county.registry.write_text(text.replace("imagery.tif", "quarters/*.tif"), encoding="utf-8")


def _quarters_m(county: LargeCounty) -> list[float]:
    left, _, right, _ = county.extent_m
    return [left + (right - left) / 4 * number for number in range(4)]


def _without_pixels(tiff: bytes) -> bytes:
    """Keep the header, and overwrite the pixels."""
    return tiff[:4_000] + b"\x55" * (len(tiff) - 4_000)


@pytest.mark.serial  # it is killed while the batch has much left to do
def test_lots_of_a_killed_worker_process_are_measured_by_another(
    database: Database,
    tmp_path: Path,
) -> None:
    county = make_county(tmp_path / "county", 1_500)
    env = environment(database.url, tmp_path)
    with start_process(
        free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
    ) as batch:
        wait_for(lambda: count_finished(database.url, KEY) > 0, batch)
        _kill_a_worker(batch.group())
        code, output, errors = batch.wait()
        assert code == 0, errors
    assert "a worker process was lost" in errors
    assert "failed/crashed" not in json.loads(output)["processed"]
    assert_equal_to_clean_run(database.url, county, tmp_path)


def _kill_a_worker(group: list[psutil.Process]) -> None:
    for process in group:
        with contextlib.suppress(psutil.Error):
            if "loky.backend.popen_loky_posix" in " ".join(process.cmdline()):
                process.kill()
                return
    pytest.fail("there is no worker process")

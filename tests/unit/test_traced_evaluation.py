"""Evaluation on traced windows: the reader, the figures, and segmenters run as in a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image

from detection.chip import Chip
from detection.errors import SegmenterError, TruthError
from detection.evaluation.answers import FoundObject, LabelAnswer, WindowAnswer
from detection.evaluation.bootstrap import bootstrap, bootstrap_weighted, weighted_quantile
from detection.evaluation.code_answers import CodeRival
from detection.evaluation.evaluate import (
    Evaluation,
    evaluate_codes,
    evaluate_rival,
    evaluate_second_pass,
)
from detection.evaluation.instances import (
    average_precision_of,
    coco_average_precision,
    object_figures,
    window_objects,
)
from detection.evaluation.lot_areas import TracedLots, lot_figures
from detection.evaluation.lot_objects import lot_object_figures
from detection.evaluation.pixel_counts import count_pixels
from detection.evaluation.rivals_table import rivals_markdown
from detection.evaluation.segmenter_answers import SegmenterRival, found_objects
from detection.evaluation.segmenter_report import iou
from detection.evaluation.traced import UNSURE, read_traced
from detection.evaluation.window_errors import confusions
from detection.evaluation.worst_pictures import draw_worst
from detection.labels import LABELS, Label
from detection.segmenters.interface import Mask

SIDE = 160
WINDOW = [32, 16, 128, 112]


def write_codes(path: Path, codes: NDArray[Any]) -> None:
    profile = {"driver": "PNG", "width": codes.shape[1], "height": codes.shape[0], "count": 1}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", dtype="uint8", **profile) as file,
    ):
        file.write(codes.astype(np.uint8), 1)


def a_truth(folder: Path, codes: NDArray[Any], windows: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    write_codes(folder / "town_2020_1.png", codes)
    listed = {"town_2020_1": [WINDOW] if windows is None else windows}
    (folder / "windows.json").write_text(json.dumps(listed))
    return folder


def an_image(folder: Path, codes: NDArray[Any]) -> Path:
    """Imagery whose red is the class code times 10, so that a segmenter can read the truth."""
    folder.mkdir(exist_ok=True)
    with rasterio.open(
        folder / "town_2020_1.tif", "w", driver="GTiff", width=codes.shape[1],
        height=codes.shape[0], count=4, dtype="uint8", crs="EPSG:26911",
        transform=rasterio.Affine(0.6, 0, 455823, 0, -0.6, 3757549.2),
    ) as file:  # fmt: skip
        red = np.where(codes == UNSURE, 0, codes) * 10 + 1
        file.write(np.stack([red, red, red, red]).astype(np.uint8))
    return folder


def some_codes() -> NDArray[np.uint8]:
    codes = np.zeros((SIDE, SIDE), np.uint8)
    codes[20:60, 40:90] = 1
    codes[70:100, 40:70] = 2
    codes[70:90, 80:100] = 3
    codes[95:110, 80:100] = 3
    codes[40:50, 95:110] = 5
    codes[60:64, 40:90] = UNSURE
    return codes


@dataclass
class OracleSegmenter:
    """Reads the class from the red band; `fails` makes it fail."""

    fails: bool = False
    name: str = "oracle-1"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = ("lawn", "tree", "vegetation", "roof", "pool")
    chip_px: int = 128
    gsd_m: float | None = None
    chips_per_batch: int = 4
    device: str = "CPU"

    def prepare(self, labels: Sequence[Label]) -> None:
        """Nothing to prepare."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if self.fails:
            raise SegmenterError("out of order")
        return [[self._mask(chip, label) for label in labels] for chip in chips]

    @staticmethod
    def _mask(chip: Chip, label: Label) -> Mask:
        wanted = {"lawn": [1], "tree": [2], "vegetation": [1, 2], "roof": [3], "pool": [5]}
        band = chip.band("red")
        assert band is not None
        inside = np.isin(band // 10, wanted[label.name]) & chip.valid
        field = np.where(inside, 1, -1).astype(np.float32)
        return Mask(label, field, inside.astype(np.float32), field.shape)


def an_evaluation(tmp_path: Path, codes: NDArray[Any], windows: Any = None) -> Evaluation:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Evaluation.open(
        a_truth(tmp_path / "truth", codes, windows), [an_image(tmp_path / "images", codes)], scratch
    )


class TestReader:
    def test_city_year_windows_and_codes_are_read(self, tmp_path: Path) -> None:
        [tile] = read_traced(a_truth(tmp_path / "t", some_codes()))
        assert (tile.city, tile.year, len(tile.windows)) == ("town", 2020, 1)
        assert np.array_equal(tile.codes_in(tile.windows[0]), some_codes()[16:112, 32:128])

    def test_a_pixel_of_two_windows_counts_once(self, tmp_path: Path) -> None:
        boxes = [[0, 0, 10, 10], [5, 0, 15, 10]]
        [tile] = read_traced(a_truth(tmp_path / "t", some_codes(), boxes))
        assert [int(tile.counted_in(i).sum()) for i in (0, 1)] == [100, 50]

    @pytest.mark.parametrize(
        ("windows", "message"),
        [
            ([[0, 0, 161, 10]], "not inside its PNG of 160 x 160 px"),
            ([[10, 0, 10, 10]], "not inside"),
            ([[0, 0, 10]], "x1 and y1 exclusive"),
            ([], "no windows of town_2020_1"),
        ],
    )
    def test_a_wrong_window_is_refused(self, tmp_path: Path, windows: Any, message: str) -> None:
        with pytest.raises(TruthError, match=message):
            read_traced(a_truth(tmp_path / "t", some_codes(), windows))

    def test_an_unknown_class_code_is_refused_with_its_place(self, tmp_path: Path) -> None:
        codes = some_codes()
        codes[5, 9] = 7
        with pytest.raises(TruthError, match=r"class code 7 \(row 5, column 9\)"):
            read_traced(a_truth(tmp_path / "t", codes))

    def test_missing_files_and_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TruthError, match=r"windows.json does not exist"):
            read_traced(tmp_path)
        truth = a_truth(tmp_path / "t", some_codes())
        with pytest.raises(TruthError, match=r"no traced tile .* choose from town_2020_1"):
            read_traced(truth, ["riverside_*"])
        write_codes(truth / "other_2020_2.png", some_codes())
        with pytest.raises(TruthError, match="has no windows of other_2020_2"):
            read_traced(truth)
        (truth / "other_2020_2.png").unlink()
        (truth / "town_2020_1.png").unlink()
        with pytest.raises(TruthError, match="does not exist"):
            read_traced(truth)

    def test_imagery_of_another_size_or_none_is_refused(self, tmp_path: Path) -> None:
        truth = a_truth(tmp_path / "t", some_codes())
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(TruthError, match="no imagery of the traced tile town_2020_1"):
            Evaluation.open(truth, [empty], tmp_path)
        an_image(empty, np.zeros((100, 160), np.uint8))
        with pytest.raises(TruthError, match="traced on another image"):
            Evaluation.open(truth, [empty], tmp_path)


class TestFigures:
    def test_counts_equal_a_slow_reference_and_unsure_pixels_never_count(self) -> None:
        rng = np.random.default_rng(1)
        codes = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (20, 30))
        inside = rng.random((20, 30)) > 0.5
        everywhere = np.ones((20, 30), bool)
        expected = [0, 0, 0]
        for code, found in zip(codes.ravel(), inside.ravel(), strict=True):
            if code != UNSURE and (found or code == 1):
                expected[0 if found and code == 1 else 1 if found else 2] += 1
        counts = count_pixels("lawn", codes, LabelAnswer(inside), everywhere)
        assert counts.sure == tuple(expected)
        flipped = np.where(codes == UNSURE, ~inside, inside)
        assert count_pixels("lawn", codes, LabelAnswer(flipped), everywhere).sure == counts.sure

    def test_without_truth_there_is_no_figure(self) -> None:
        assert bootstrap(np.array([[0.0, 5, 0], [0, 2, 0]]), ["a", "b"], iou) is None

    def test_the_interval_is_that_of_a_plain_bootstrap_over_tiles(self) -> None:
        rng = np.random.default_rng(3)
        sums = rng.integers(1, 100, (24, 3)).astype(float)
        tiles = [i // 2 for i in range(24)]
        found = bootstrap(sums, tiles, iou)
        values = []
        for _ in range(4000):
            chosen = rng.integers(0, 12, 12)
            rows = np.concatenate([sums[[2 * c, 2 * c + 1]] for c in chosen])
            values.append(rows[:, 0].sum() / rows.sum())
        low, high = np.quantile(values, [0.025, 0.975])
        assert found is not None
        assert found.value == pytest.approx(sums[:, 0].sum() / sums.sum())
        assert (found.low, found.high) == (
            pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01),
        )  # fmt: skip

    def test_one_tile_has_no_interval(self) -> None:
        found = bootstrap(np.array([[4.0, 1, 1]]), ["a"], iou)
        assert found is not None
        assert (found.value, found.low) == (pytest.approx(4 / 6), None)

    def test_weighted_quantiles_are_those_of_repeated_values(self) -> None:
        values, weights = np.array([3.0, 1, 2, 8]), np.array([[2.0, 1, 0, 3], [1, 1, 1, 1]])
        for share in (0.5, 0.9):
            for row, got in zip(weights, weighted_quantile(values, weights, share), strict=True):
                repeated = np.repeat(values, row.astype(int))
                assert got == np.quantile(repeated, share, method="inverted_cdf")

    def test_average_precision_equals_pycocotools_and_faster_coco_eval(self) -> None:
        windows = random_objects(40)
        scores = np.array([s for w in windows for s in w.scores])
        matched = np.array([m for w in windows for m in w.matched])
        truths = np.array([float(sum(len(w.truths) for w in windows))])
        [ours] = average_precision_of(scores, matched, np.ones((1, len(scores))), truths)
        assert 0.05 < ours < 0.95
        pytest.importorskip("faster_coco_eval", reason="the extra `evaluation` is not installed")
        ap50, ap = coco_average_precision(windows)
        assert ap50 == pytest.approx(ours, abs=1e-9)
        pytest.importorskip("pycocotools", reason="`pip install pycocotools` to compare with it")
        assert pycocotools_precision(windows) == (pytest.approx(ap50), pytest.approx(ap))

    def test_an_empty_truth_of_objects_is_no_truth(self) -> None:
        nothing = np.zeros((10, 10), bool)
        answer = LabelAnswer(nothing, objects=(FoundObject(~nothing, 0.9),))
        codes = np.zeros((10, 10), np.uint8)
        objects = window_objects("pool", codes, answer, ~nothing, None, 4)
        assert object_figures([objects], ["a"])["ap50"] == "no truth"

    def test_specks_of_both_sides_are_no_objects(self) -> None:
        codes = np.zeros((20, 20), np.uint8)
        codes[2:10, 2:10] = 3
        codes[15, 15] = 3
        roof, speck = codes == 3, codes == 3
        roof[15, 15], speck[2:10, 2:10] = False, False
        answer = LabelAnswer(codes == 3, objects=(FoundObject(speck, 0.9), FoundObject(roof, 0.8)))
        everywhere = np.ones((20, 20), bool)
        objects = window_objects("roof", codes, answer, everywhere, None, 8 / 0.36)
        assert (len(objects.truths), objects.matched) == (1, [True])

    def test_lots_split_touching_roofs(self) -> None:
        codes = np.full((10, 20), 3, np.uint8)
        lots = np.repeat([[0] * 10 + [1] * 10], 10, axis=0)
        everywhere = np.ones((10, 20), bool)
        answer = LabelAnswer(everywhere, objects=(FoundObject(everywhere, 0.9),))
        together = window_objects("roof", codes, answer, everywhere, None, 4)
        split = window_objects("roof", codes, answer, everywhere, None, 4, lots)
        assert (len(together.truths), len(split.truths), split.matched) == (1, 2, [True, True])

    def test_weighted_bootstrap_of_nothing_is_none(self) -> None:
        assert bootstrap_weighted([], lambda w: w.sum(1)) is None


class TestSegmenters:
    def test_the_truth_against_itself_is_1(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        figures = evaluate_rival(evaluation, CodeRival(tmp_path / "truth", "again")).figures
        for label in ("lawn", "tree", "vegetation", "roof", "pool"):
            assert figures["labels"][label]["sure"]["iou"]["value"] == 1
        assert figures["labels"]["driveway"]["sure"] == "no truth"
        assert figures["objects"]["roof"]["ap50"]["value"] == 1
        assert figures["false_alarms"]["any"]["reported"] == 0
        assert "no truth" in rivals_markdown([figures])

    def test_a_perfect_segmenter_is_1_over_several_chips(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        figures = evaluate_rival(
            evaluation, SegmenterRival(OracleSegmenter(), evaluation.images)
        ).figures
        for label in ("lawn", "tree", "roof", "pool"):
            assert figures["labels"][label]["sure"]["iou"]["value"] == 1
        assert figures["objects"]["roof"]["true"] == 2
        assert figures["objects"]["roof"]["f1"]["value"] == 1

    @pytest.mark.parametrize("gsd_m", [0.3, 1.0])
    def test_other_ground_sample_distances_are_at_the_same_place(
        self, tmp_path: Path, gsd_m: float
    ) -> None:
        codes = np.where(some_codes() == 1, 1, 0)
        evaluation = an_evaluation(tmp_path, codes)
        [tile] = evaluation.tiles
        [answer] = SegmenterRival(OracleSegmenter(), evaluation.images, gsd_m=gsd_m).answer(tile)
        inside, true = answer.labels["lawn"].inside, tile.codes_in(tile.windows[0]) == 1
        # The oracle sees mixed pixels as no lawn, so the lawn is smaller, on all sides.
        assert inside.sum() > 0.85 * true.sum()
        shift = np.argwhere(inside).mean(0) - np.argwhere(true).mean(0)
        assert abs(shift).max() < 0.5

    def test_polygons_cover_what_masks_cover(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        [tile] = evaluation.tiles
        rival = SegmenterRival(OracleSegmenter(), evaluation.images)
        [answer] = rival.answer(tile)
        [found] = rival.masks(tile, rival.chosen_labels)
        for label in ("lawn", "tree", "roof"):
            masks = [mask for mask in found.masks if mask.label == LABELS[label]]
            polygons = np.any([each.pixels for each in found_objects(masks, found)], axis=0)
            inside = answer.labels[label].inside
            assert (polygons & inside).sum() / (polygons | inside).sum() > 0.99

    def test_a_segmenter_that_fails_is_an_error_not_zero(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        rival = SegmenterRival(OracleSegmenter(fails=True), evaluation.images)
        with pytest.raises(SegmenterError, match=r"town_2020_1: oracle-1 failed: out of order"):
            evaluate_rival(evaluation, rival)

    def test_answers_of_another_size_are_refused(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        other = tmp_path / "other"
        other.mkdir()
        write_codes(other / "town_2020_1.png", some_codes()[:100])
        with pytest.raises(TruthError, match="160 x 100 px"):
            evaluate_rival(evaluation, CodeRival(other))

    def test_pixels_without_an_answer_do_not_count(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        other = tmp_path / "second"
        other.mkdir()
        codes = some_codes()
        codes[:40] = UNSURE
        write_codes(other / "town_2020_1.png", codes)
        figures = evaluate_rival(evaluation, CodeRival(other)).figures
        assert figures["labels"]["lawn"]["sure"]["iou"]["value"] == 1


class TestLots:
    def lots(self, path: Path, box: tuple[int, int, int, int], crs: str = "EPSG:26911") -> Path:
        """One lot, in pixels of the tile."""
        left, top, right, bottom = box
        x, y, side = 455823, 3757549.2, 0.6
        lot = shapely.box(x + left * side, y - bottom * side, x + right * side, y - top * side)
        frame = gpd.GeoDataFrame({"apn": ["7"]}, geometry=[lot], crs=crs).to_crs(4326)
        frame.to_file(path, driver="GeoJSON")
        return path

    def test_the_area_of_the_detector_is_that_of_the_truth(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        path = self.lots(tmp_path / "lots.geojson", (36, 18, 100, 80))
        lots = TracedLots.read(path, evaluation.tiles, evaluation.images)
        figures = lot_figures(lots, SegmenterRival(OracleSegmenter(), evaluation.images))
        [row] = figures["rows"]
        assert row["true_m2"] == pytest.approx(2000 * 0.36, abs=0.1)
        assert row["found_m2"] == pytest.approx(row["true_m2"], rel=0.01)
        assert figures["compared"] == 1
        assert figures["median_error"]["value"] < 0.01

    def test_a_roof_over_two_lots_is_an_object_on_each(self, tmp_path: Path) -> None:
        codes = np.zeros((SIDE, SIDE), np.uint8)
        codes[30:50, 40:90] = 3
        evaluation = an_evaluation(tmp_path, codes)
        [tile] = evaluation.tiles
        boxes = [(36, 18, 66, 80), (66, 18, 100, 80)]
        read = [
            TracedLots.read(self.lots(tmp_path / f"{n}.geojson", box), [tile], evaluation.images)
            for n, box in enumerate(boxes)
        ]
        lots = TracedLots([each.lots[0] for each in read], evaluation.images)
        rival = SegmenterRival(OracleSegmenter(), evaluation.images)
        figures = lot_object_figures(lots, {tile.name: rival.answer(tile)}, ("lawn", "roof"))
        assert set(figures) == {"roof"}
        assert (figures["roof"]["true"], figures["roof"]["found"]) == (2, 2)
        assert figures["roof"]["f1"]["value"] == 1

    def test_a_lot_with_many_unsure_pixels_is_listed_apart(self, tmp_path: Path) -> None:
        codes = some_codes()
        codes[18:40, 36:100] = UNSURE
        evaluation = an_evaluation(tmp_path, codes)
        path = self.lots(tmp_path / "lots.geojson", (36, 18, 100, 80))
        lots = TracedLots.read(path, evaluation.tiles, evaluation.images)
        figures = lot_figures(lots, SegmenterRival(OracleSegmenter(), evaluation.images))
        assert (figures["unsure"], figures["compared"], figures["median_error"]) == (1, 0, None)

    def test_lots_beside_the_windows_are_refused(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        path = self.lots(tmp_path / "lots.geojson", (0, 0, 60, 60))
        with pytest.raises(TruthError, match="no residential lot"):
            TracedLots.read(path, evaluation.tiles, evaluation.images)

    def test_lots_in_pixels_are_those_of_a_map(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        path = tmp_path / "lots.json"
        ring = [[36, 18], [100, 18], [100, 80], [36, 80]]
        path.write_text(json.dumps({"town_2020_1": [ring], "elsewhere_2020_1": [ring]}))
        mapped = self.lots(tmp_path / "lots.geojson", (36, 18, 100, 80))
        [lot] = TracedLots.read(path, evaluation.tiles, evaluation.images).lots
        [other] = TracedLots.read(mapped, evaluation.tiles, evaluation.images).lots
        assert lot.name == "town_2020_1/0"
        assert np.array_equal(lot.pixels, other.pixels)
        assert lot.boundary.area_m2 == pytest.approx(64 * 62 * 0.36, rel=1e-3)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"town_2020_1": 7}, "in pixels of the tile"),
            ({"town_2020_1": [[[36, 18], [100, 18]]]}, "one ring of 3 or more"),
            ({"town_2020_1": [[[36, 18], [99, 80], [99, 18], [36, 80]]]}, "crosses itself"),
            ([], "has no tiles"),
            ({"other_2020_1": []}, "no residential lot"),
        ],
    )
    def test_wrong_lots_in_pixels_are_refused(
        self, tmp_path: Path, content: Any, message: str
    ) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        path = tmp_path / "lots.json"
        path.write_text(json.dumps(content))
        with pytest.raises(TruthError, match=message):
            TracedLots.read(path, evaluation.tiles, evaluation.images)

    def test_a_second_pass_has_lawn_areas_where_both_are_sure(self, tmp_path: Path) -> None:
        codes = some_codes()
        evaluation = an_evaluation(tmp_path, codes)
        second = tmp_path / "second"
        second.mkdir()
        codes[20:30, 40:90] = 2  # 500 px of lawn are trees,
        codes[30:40, 40:90] = UNSURE  # and 500 px cannot be told
        write_codes(second / "town_2020_1.png", codes)
        path = self.lots(tmp_path / "lots.geojson", (36, 18, 100, 80))
        lots = TracedLots.read(path, evaluation.tiles, evaluation.images)
        judged = Evaluation(evaluation.tiles, evaluation.images, lots)
        figures = evaluate_codes(judged, second).figures["lawn_area"]
        [row] = figures["rows"]
        assert row["true_m2"] == pytest.approx(1500 * 0.36, abs=0.1)
        assert row["found_m2"] == pytest.approx(1000 * 0.36, abs=0.1)
        assert figures["median_error"]["value"] == pytest.approx(1 / 3, abs=1e-3)


def random_objects(number: int) -> list[Any]:
    """Windows with boxes as truth, and shifted or wrong boxes as answers."""
    rng = np.random.default_rng(5)
    windows = []
    for _ in range(number):
        codes = np.zeros((60, 60), np.uint8)
        found = []
        for row in (2, 22, 42):
            column = int(rng.integers(2, 40))
            if rng.random() < 0.8:
                codes[row : row + 14, column : column + 16] = 5
            if rng.random() < 0.8:
                pixels = np.zeros((60, 60), bool)
                shift = int(rng.integers(0, 8))
                pixels[row : row + 14, column + shift : column + shift + 16] = True
                found.append(FoundObject(pixels, float(rng.random())))
        everywhere = np.ones((60, 60), bool)
        answer = LabelAnswer(everywhere, objects=tuple(found))
        windows.append(window_objects("pool", codes, answer, everywhere, None, 4))
    return windows


def pycocotools_precision(windows: list[Any]) -> tuple[float, float]:
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, found = [], []
    for i, window in enumerate(windows):
        for pixels in window.truths:
            code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
            truths.append({
                "id": len(truths) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                "segmentation": code, "area": int(pixels.sum()), "bbox": [0, 0, 1, 1],
            })  # fmt: skip
        for pixels, score in zip(window.found, window.scores, strict=True):
            code = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
            found.append({"image_id": i, "category_id": 1, "segmentation": code, "score": score})
    truth = COCO()
    images = [{"id": i, "height": 60, "width": 60} for i in range(len(windows))]
    truth.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}]}
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(found), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


class TestErrors:
    def test_the_worst_window_comes_first_with_what_was_taken_for_what(
        self, tmp_path: Path
    ) -> None:
        boxes = [[0, 100, 60, 160], [32, 16, 128, 112]]
        evaluation = an_evaluation(tmp_path, some_codes(), boxes)
        other = tmp_path / "other"
        other.mkdir()
        codes = some_codes()
        codes[20:60, 40:60] = 2  # 20 x 40 px of lawn are taken for tree
        write_codes(other / "town_2020_1.png", codes)
        rows = evaluate_rival(evaluation, CodeRival(other)).figures["window_rows"]
        # Window 0 has nothing but "other" on both sides, so it has no figure and comes last.
        assert [row["window"] for row in rows] == [1, 0]
        assert rows[1]["mean_iou"] is None
        assert rows[0]["confusions"] == [{"true": "lawn", "found": "tree", "m2": 288.0}]
        assert rows[0]["iou"]["lawn"] == 0.6
        assert rows[0]["iou"]["roof"] == 1

    def test_classes_that_a_rival_does_not_know_are_no_errors(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        [tile] = evaluation.tiles
        lawn_only = WindowAnswer({"lawn": LabelAnswer(tile.codes_in(tile.windows[0]) == 1)})
        assert confusions(tile, 0, lawn_only, 0.36) == []
        nothing = WindowAnswer({"lawn": LabelAnswer(np.zeros((96, 96), bool))})
        [missed] = confusions(tile, 0, nothing, 0.36)
        assert (missed["true"], missed["found"]) == ("lawn", "other")

    def test_the_worst_windows_are_drawn_in_one_picture(self, tmp_path: Path) -> None:
        boxes = [[0, 112, 60, 160], [32, 16, 128, 64], [32, 64, 128, 112]]
        evaluation = an_evaluation(tmp_path, some_codes(), boxes)
        result = evaluate_rival(evaluation, SegmenterRival(OracleSegmenter(), evaluation.images))
        for number in (1, 5):
            draw_worst(tmp_path / f"{number}.jpg", evaluation, result, number)
        heights = []
        for number in (1, 5):
            with Image.open(tmp_path / f"{number}.jpg") as picture:
                heights.append(picture.height)
                assert np.ptp(np.asarray(picture)) > 200
        # A row for each window that has a figure: window 0 has none.
        assert heights[1] == pytest.approx(2 * heights[0], abs=1)


class TestSecondPass:
    def test_the_tracers_error_is_that_of_the_windows_traced_twice(self, tmp_path: Path) -> None:
        boxes = [[32, 16, 128, 112], [0, 112, 96, 160]]
        evaluation = an_evaluation(tmp_path, some_codes(), boxes)
        again = some_codes()
        again[20:60, 80:90] = 0
        second = a_truth(tmp_path / "second", again)
        result = evaluate_second_pass(evaluation, tmp_path / "truth", second)
        assert result.figures["windows"] == 1
        assert result.figures["labels"]["lawn"]["sure"]["iou"]["value"] == pytest.approx(0.8)

    def test_a_second_pass_of_other_tiles_is_refused(self, tmp_path: Path) -> None:
        evaluation = an_evaluation(tmp_path, some_codes())
        second = tmp_path / "second"
        second.mkdir()
        write_codes(second / "village_2020_1.png", some_codes())
        (second / "windows.json").write_text(json.dumps({"village_2020_1": [WINDOW]}))
        with pytest.raises(TruthError, match="none of the evaluated tiles"):
            evaluate_second_pass(evaluation, tmp_path / "truth", second)


TRACED = Path(__file__).parents[1] / "data" / "traced"


@pytest.mark.parametrize(
    "folder", [TRACED, TRACED / "second", TRACED / "train"], ids=lambda f: f.name
)
def test_the_projects_own_windows_are_read_and_keep_test_and_training_apart(folder: Path) -> None:
    if not (folder / "windows.json").exists():
        pytest.skip(f"{folder.name} has not been traced yet")
    tiles = read_traced(folder)
    for tile in tiles:
        # Riverside is the test city, in every year.
        assert (tile.city == "riverside") == (folder.name != "train")
        for window in tile.windows:
            assert (tile.codes_in(window) != UNSURE).mean() > 0.3


def test_the_projects_own_lots_are_whole_and_in_traced_windows() -> None:
    rings = json.loads((TRACED / "lots.json").read_text())
    tiles = {tile.name: tile for tile in read_traced(TRACED)}
    assert sum(map(len, rings.values())) >= 60
    for name, lots in rings.items():
        windows = shapely.union_all(
            [
                shapely.box(w.column, w.row, w.column + w.width, w.row + w.height)
                for w in tiles[name].windows
            ]
        )
        outlines = [shapely.Polygon(ring) for ring in lots]
        for lot in outlines:
            assert lot.is_valid
            assert 150 < lot.area * 0.36 < 4000
            assert lot.intersection(windows).area > 0.98 * lot.area
        overlap = sum(lot.area for lot in outlines) - shapely.union_all(outlines).area
        assert overlap < 0.02 * sum(lot.area for lot in outlines)


def test_the_second_pass_is_of_ten_windows_and_differs_from_the_first() -> None:
    first = {tile.name: tile for tile in read_traced(TRACED)}
    second = read_traced(TRACED / "second")
    assert sum(len(tile.windows) for tile in second) >= 10
    for tile in second:
        assert set(tile.windows) <= set(first[tile.name].windows)
        for window in tile.windows:
            ours, again = first[tile.name].codes_in(window), tile.codes_in(window)
            sure = (ours != UNSURE) & (again != UNSURE)
            # Two passes that agree everywhere would be one pass copied.
            assert 0.7 < (ours[sure] == again[sure]).mean() < 0.99

"""No seams between chips, files and UTM zones; and each chip is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import pytest
import shapely
from rasters import ThresholdSegmenter
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector, Label, LotResult, build_segmenter
from detection.chip_plan import plan_chips
from detection.clip import LotLines
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid
from detection.sample import generate
from detection.segmenters.interface import Segmenter
from detection.segmenters.sam3.segmenter import Sam3
from detection.timing import StageTimer
from parcels.boundary import Boundary
from parcels.measure import area_m2, buffer_m, polygonal


def _lot(geometry: BaseGeometry) -> Boundary:
    """A lot of this geometry in EPSG:4326."""
    lonlat = polygonal(geometry)
    return Boundary(lonlat, "lot", area_m2(lonlat), "parcel_id", "a test")


def _found(result: LotResult, label: str, pixel_grid: PixelGrid) -> list[BaseGeometry]:
    found = [d.geometry for d in result.detections if d.label == label]
    return [pixel_grid.from_lonlat(geometry) for geometry in found]


@pytest.fixture(scope="module")
def sample_lots(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[Boundary], GeoTiffMosaic]:
    """Lots of a synthetic county, and its imagery."""
    county = generate(tmp_path_factory.mktemp("sample") / "county", seed=78, lots=20)
    lots = [_lot(lot) for lot in geopandas.read_file(county.parcels).geometry]
    return lots, GeoTiffMosaic(county.imagery)


class TestEncodeOnce:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_encoder_calls_are_chips_and_text_calls_are_phrases(
        self, sample_lots: tuple[list[Boundary], GeoTiffMosaic], batch: int
    ) -> None:
        boundaries, imagery = sample_lots
        segmenter = build_segmenter("sam3-tiny")
        assert isinstance(segmenter, Sam3)
        # Smaller than the default chip, so that some lots need several.
        segmenter.chip_px, segmenter.batch = 672, batch
        twice = Label("grass", LABELS["lawn"].prompt, "continuous", 4.0)
        labels = [LABELS["lawn"], LABELS["roof"], twice]
        plans, _ = plan_chips(boundaries, imagery, 672, segmenter.gsd_m)
        chips = {window for plan in plans for window in plan.windows}
        assert any(len(plan.windows) > 1 for plan in plans)
        assert len(chips) < sum(len(plan.windows) * len(plan.lots) for plan in plans) / 2

        clock, detector = StageTimer(), Detector(segmenter)
        results = dict(detector.detect_iter(boundaries, imagery, labels, clock))
        assert {result.status for result in results.values()} == {"detected"}
        assert segmenter.encoder_calls == len(chips) == clock.calls["read"]
        assert clock.calls["segment"] == -(-len(chips) // batch)
        assert segmenter.text_calls == 2

    def test_a_lot_has_the_same_result_alone(
        self, sample_lots: tuple[list[Boundary], GeoTiffMosaic]
    ) -> None:
        boundaries, imagery = sample_lots
        labels = [LABELS["lawn"], LABELS["roof"]]
        segmenter = build_segmenter("sam3-tiny")
        assert isinstance(segmenter, Sam3)
        segmenter.chip_px = 672
        detector = Detector(segmenter)
        together = detector.detect(boundaries, imagery, labels)
        for number in (0, 7, 15):
            [alone] = detector.detect([boundaries[number]], imagery, labels)
            among = together[number]
            assert alone.chip == among.chip
            for one, other in zip(alone.detections, among.detections, strict=True):
                assert (one.label, one.relation) == (other.label, other.relation)
                assert one.area_m2 == pytest.approx(other.area_m2, rel=1e-6)
                assert one.whole_area_m2 == pytest.approx(other.whole_area_m2, rel=1e-6)
                assert one.score == pytest.approx(other.score, rel=1e-4)


class TestAdjoiningTiles:
    """claremont_2020_67 and _70 are adjacent; one lot over both, in one chip and in many."""

    FRAME = PixelGrid("EPSG:26911", 0.6)
    LOT = shapely.box(433420.6, 3772539.4, 433572.2, 3772844.6)
    SEAM_Y = 3772692.0

    @pytest.fixture
    def imagery(self, real_data: Path) -> GeoTiffMosaic:
        return GeoTiffMosaic(str(real_data / "naip" / "claremont_2020_[67][70].tif"))

    def _detect(
        self, segmenter: Segmenter, imagery: GeoTiffMosaic, labels: Sequence[Label]
    ) -> tuple[LotResult, BaseGeometry]:
        """The lot's result, and its chips' edges inside it."""
        lot = _lot(self.FRAME.to_lonlat(self.LOT))
        detector = Detector(segmenter)
        [plan], _ = plan_chips([lot], imagery, segmenter.chip_px, detector.gsd_m)
        edges = [shapely.box(*plan.grid.bounds(window)).exterior for window in plan.windows]
        [result] = detector.detect([lot], imagery, labels)
        assert result.status == "detected"
        assert result.coverage_fraction == 1.0
        assert result.chip is not None
        assert len(result.chip.sources) == 2
        return result, shapely.union_all(edges).intersection(self.LOT.buffer(-2))

    def test_a_threshold_has_no_seam(self, imagery: GeoTiffMosaic) -> None:
        """A label that depends on single pixels must equal that of one chip exactly."""
        labels = [LABELS["lawn"]]
        cut, edges = self._detect(ThresholdSegmenter(120, 128), imagery, labels)
        whole, none = self._detect(ThresholdSegmenter(120, 4096), imagery, labels)
        assert edges.length > 1000
        assert none.is_empty
        areas = [sorted(d.area_m2 for d in each.detections) for each in (cut, whole)]
        assert len(areas[0]) > 20
        assert areas[0] == pytest.approx(areas[1], rel=1e-6)

    # Measured: an IoU of 0.96, 0.80 and 0.87 for spectral, whose thresholds are each chip's own,
    # and of 0.58 for sam3-tiny, whose pixels are twice as large in a chip half as wide.
    @pytest.mark.parametrize(
        ("name", "label", "chip_px", "least_iou"),
        [
            ("spectral", "vegetation", 128, 0.9),
            ("spectral", "lawn", 128, 0.7),
            ("spectral", "tree", 128, 0.8),
            ("sam3-tiny", "lawn", 504, 0.5),
        ],
    )
    def test_outlines_do_not_follow_the_seams(
        self, imagery: GeoTiffMosaic, name: str, label: str, chip_px: int, least_iou: float
    ) -> None:
        segmenter = build_segmenter(name)
        assert hasattr(segmenter, "chip_px")
        whole, _ = self._detect(segmenter, imagery, [LABELS[label]])
        segmenter.chip_px = chip_px
        cut, edges = self._detect(segmenter, imagery, [LABELS[label]])
        one, other = (shapely.union_all(_found(each, label, self.FRAME)) for each in (whole, cut))
        assert one.intersection(other).area / one.union(other).area >= least_iou
        # An outline may cross a seam, and follow it for a short distance.
        assert other.intersects(edges)
        along = other.boundary.intersection(edges.buffer(0.02)).length
        crossed = other.intersection(edges).length
        assert along < 0.05 * crossed + 1.0
        # Parts are the lot's connected ones: none overlaps another, none ends where another begins.
        parts = _found(cut, label, self.FRAME)
        assert sum(part.area for part in parts) == pytest.approx(other.area, rel=1e-6)
        assert len(shapely.get_parts(other)) == len(parts)

    def test_lots_that_share_the_seam_add_up(self, imagery: GeoTiffMosaic) -> None:
        upper, lower = (
            _lot(self.FRAME.to_lonlat(self.LOT & half))
            for half in (
                shapely.box(433000, self.SEAM_Y, 434000, 3773000),
                shapely.box(433000, 3772000, 434000, self.SEAM_Y),
            )
        )
        both = _lot(self.FRAME.to_lonlat(self.LOT))
        detector = Detector(ThresholdSegmenter(120, 256))
        results = detector.detect([upper, lower, both], imagery, [LABELS["tree"]])
        areas = [sum(d.area_m2 for d in result.detections) for result in results]
        assert areas[0] + areas[1] == pytest.approx(areas[2], rel=1e-3)


class TestUtmZoneSeam:
    """Two tiles of one flight that meet at the border of zones 17 and 18."""

    @pytest.mark.parametrize("chip_px", [64, 1008])
    @pytest.mark.parametrize("label", ["lawn", "roof"])
    def test_a_lot_across_both_is_one_polygon(
        self, real_data: Path, chip_px: int, label: str
    ) -> None:
        imagery = GeoTiffMosaic(str(real_data / "naip_utm_zone_seam" / "*.tif"))
        lot = buffer_m(shapely.Point(-78.0, 36.622), 60)

        class Everything(ThresholdSegmenter):
            labels = None

        detector = Detector(Everything(-1, chip_px))
        [result] = detector.detect([_lot(lot)], imagery, [LABELS[label]])
        [found] = result.detections
        assert result.chip is not None
        assert len(result.chip.sources) == 2
        assert result.coverage_fraction == 1.0
        assert len(found.geometry.geoms) == 1
        assert not found.geometry.geoms[0].interiors
        assert found.clipped_area_m2 == pytest.approx(area_m2(polygonal(lot)), rel=1e-6)

    def test_vegetation_has_no_gap_and_no_overlap(self, real_data: Path) -> None:
        imagery = GeoTiffMosaic(str(real_data / "naip_utm_zone_seam" / "*.tif"))
        lot = _lot(buffer_m(shapely.Point(-78.0, 36.622), 60))
        pixel_grid = imagery.grid_for(lot.geometry)
        found = []
        for chip_px in (64, 1008):
            segmenter = ThresholdSegmenter(90, chip_px)
            [result] = Detector(segmenter).detect([lot], imagery, [LABELS["tree"]])
            parts = _found(result, "tree", pixel_grid)
            together = shapely.union_all(parts)
            assert parts
            assert together.area == pytest.approx(sum(part.area for part in parts), rel=1e-6)
            found.append(together)
        # A warped pixel may be a grey level off from chip to chip, which shifts a threshold's edge.
        assert found[0].symmetric_difference(found[1]).area < 0.01 * found[1].area


def test_the_lot_offset_restores_results(tmp_path: Path) -> None:
    """A synthetic county with lot lines 12 m west of its imagery: the offset restores results."""
    county = generate(tmp_path / "county", seed=5, lots=12)
    imagery = GeoTiffMosaic(county.imagery)
    pixel_grid = PixelGrid(
        imagery.grid_for(geopandas.read_file(county.parcels).geometry[0]).crs, 1.0
    )
    right = [_lot(lot) for lot in geopandas.read_file(county.parcels).geometry]
    west = [
        _lot(
            pixel_grid.to_lonlat(
                shapely.affinity.translate(pixel_grid.from_lonlat(lot.geometry), -12.0)
            )
        )
        for lot in right
    ]
    labels = [LABELS["vegetation"]]
    expected = Detector(build_segmenter("spectral")).detect(right, imagery, labels)
    lines = LotLines(offset_m=(12.0, 0.0))
    found = Detector(build_segmenter("spectral"), lines).detect(west, imagery, labels)
    for one, other in zip(expected, found, strict=True):
        areas = [sum(d.area_m2 for d in each.detections) for each in (one, other)]
        assert areas[1] == pytest.approx(areas[0], rel=1e-4)
        assert areas[0] > 0

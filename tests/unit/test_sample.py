"""The sample county: reproducible from its seed, with a consistent truth."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp
from rasterio.features import geometry_mask

from detection.sample import SampleCounty, generate, is_current, lawn_errors, load, true_areas_m2
from detection.sample import county as county_module
from detection.sample.scene import build_scene
from detection.sample.truth import lot_truth
from parcels.measure import areas_m2

LOTS = 24
SEED = 5


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> SampleCounty:
    return generate(tmp_path_factory.mktemp("sample") / "county", SEED, LOTS)


def _hashes(county: SampleCounty) -> dict[str, str]:
    hashes: dict[str, str] = json.loads(county.manifest.read_text())["sha256"]
    return hashes


def _tiles(county: SampleCounty) -> list[Path]:
    return sorted(county.folder.glob("imagery/*.tif"))


def _mean_in(county: SampleCounty, ground: shapely.Geometry, band: int) -> float:
    """The mean of a band inside a geometry in EPSG:26916."""
    sums = np.zeros(2)
    for path in _tiles(county):
        with rasterio.open(path) as tile:
            outside = geometry_mask([ground], tile.shape, tile.transform)
            sums += tile.read(band)[~outside].sum(), np.count_nonzero(~outside)
    return float(sums[0] / sums[1])


def test_the_same_seed_gives_the_same_county(county: SampleCounty, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", SEED, LOTS)
    assert _hashes(again) == _hashes(county)
    for tile, other in zip(_tiles(county), _tiles(again), strict=True):
        with rasterio.open(tile) as a, rasterio.open(other) as b:
            assert np.array_equal(a.read(), b.read())
    assert again.properties.read_bytes() == county.properties.read_bytes()


def test_another_seed_gives_another_county(county: SampleCounty, tmp_path: Path) -> None:
    other = generate(tmp_path / "other", SEED + 1, LOTS)
    mine, theirs = _hashes(county), _hashes(other)
    assert all(mine[name] != theirs[name] for name in mine)


def test_everything_is_marked_as_synthetic(county: SampleCounty) -> None:
    assert json.loads(county.manifest.read_text())["synthetic"] is True
    for tile in _tiles(county):
        with rasterio.open(tile) as dataset:
            assert dataset.tags()["TIFFTAG_IMAGEDESCRIPTION"].startswith("Synthetic")
    parcels = geopandas.read_file(county.parcels)
    assert parcels["address"].str.contains("Synthetic").all()
    assert parcels["parcel_id"].str.startswith("SYN-").all()


def test_tiles_are_adjacent_and_have_band_names(county: SampleCounty) -> None:
    tiles = _tiles(county)
    assert len(tiles) > 1
    boxes = []
    for tile in tiles:
        with rasterio.open(tile) as dataset:
            assert dataset.descriptions == ("red", "green", "blue", "nir")
            assert dataset.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            assert dataset.crs.to_epsg() == 26916
            assert dataset.dtypes == ("uint8",) * 4
            assert dataset.tags()["TIFFTAG_DATETIME"] == "2024:06:15 12:00:00"
            boxes.append(shapely.box(*dataset.bounds))
    whole = shapely.union_all(boxes)
    # No gaps or overlaps: the tile areas add up to their bounding rectangle.
    assert sum(box.area for box in boxes) == pytest.approx(whole.area, rel=1e-9)
    assert whole.area == pytest.approx(whole.envelope.area, rel=1e-9)


def test_lots_do_not_overlap_and_two_are_partly_imaged(county: SampleCounty) -> None:
    parcels = geopandas.read_file(county.parcels).to_crs(26916)
    assert len(parcels) == LOTS
    overlap_m2 = parcels.area.sum() - parcels.union_all().area
    assert overlap_m2 < 0.01 * LOTS
    shares = geopandas.read_file(county.truth).groupby("parcel_id")["coverage_fraction"].first()
    assert ((shares > 0.2) & (shares < 0.999)).sum() == 2
    assert (shares >= 0.999).sum() == LOTS - 2


def test_the_truth_of_every_lot_is_consistent(county: SampleCounty) -> None:
    truth = geopandas.read_file(county.truth)
    assert truth.is_valid.all()
    assert np.allclose(truth["area_m2"], areas_m2(truth.geometry))
    parcels = geopandas.read_file(county.parcels).set_index("parcel_id")
    lots_m2 = dict(zip(parcels.index, areas_m2(parcels.geometry), strict=True))
    for parcel_id, rows in truth.groupby("parcel_id"):
        area_m2 = rows.set_index("label")["area_m2"]
        parts = area_m2.reindex(["lawn", "tree", "roof", "driveway", "pool"]).fillna(0.0)
        assert parts.sum() <= lots_m2[parcel_id] + 0.01
        assert area_m2["vegetation"] >= parts["lawn"] + parts["tree"] - 0.01
        shapes = rows.set_index("label").geometry
        assert areas_m2([shapes["lawn"].intersection(shapes["roof"])])[0] < 0.01


def test_lawns_have_holes_for_houses(county: SampleCounty) -> None:
    truth = geopandas.read_file(county.truth)
    lawns = truth[truth["label"] == "lawn"].set_index("parcel_id").geometry
    holes = sum(len(part.interiors) for lawn in lawns for part in lawn.geoms)
    assert holes > LOTS
    with county.properties.open() as lines:
        for row in csv.DictReader(lines):
            if row["parcel_id"]:
                door = shapely.Point(float(row["longitude"]), float(row["latitude"]))
                assert not lawns[row["parcel_id"]].contains(door)


def test_properties_are_in_their_lot_or_in_none(county: SampleCounty) -> None:
    parcels = geopandas.read_file(county.parcels).set_index("parcel_id").geometry
    with county.properties.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == LOTS + 5 + 1
    for row in rows:
        point = shapely.Point(float(row["longitude"]), float(row["latitude"]))
        assert list(parcels.index[parcels.contains(point)]) == [row["parcel_id"]] * bool(
            row["parcel_id"]
        )
    outside = shapely.Point(float(rows[-1]["longitude"]), float(rows[-1]["latitude"]))
    assert all(
        not shapely.box(*rasterio.warp.transform_bounds(d.crs, 4326, *d.bounds)).contains(outside)
        for d in map(rasterio.open, _tiles(county))
    )


def test_lots_at_a_court_and_an_avenue_are_single_polygons() -> None:
    scene = build_scene(seed=3, lots=70)
    streets = {yard.plan.street for yard in scene.yards}
    assert "Juniper Court" in streets
    assert all(yard.plan.polygon.geom_type == "Polygon" for yard in scene.yards)
    assert all(yard.roof.within(yard.plan.polygon) for yard in scene.yards)
    truth = lot_truth(scene)
    assert truth.is_valid.all()


def test_load_and_is_current(county: SampleCounty, tmp_path: Path) -> None:
    assert load(county.folder) == county
    assert is_current(county.folder, SEED, LOTS)
    assert not is_current(county.folder, SEED + 1, LOTS)
    assert not is_current(county.folder, SEED, LOTS + 1)
    assert not is_current(tmp_path / "absent", SEED, LOTS)
    with pytest.raises(FileNotFoundError, match="Generate one"):
        load(tmp_path / "absent")


def test_another_style_has_other_colours_on_the_same_ground(tmp_path: Path) -> None:
    green = generate(tmp_path / "green", 1, 4)
    dry = generate(tmp_path / "dry", 1, 4, "dry")
    ours, theirs = _hashes(green), _hashes(dry)
    assert ours.pop("pixels") != theirs.pop("pixels")
    assert ours == theirs, "lots, truth and properties are those of the seed"
    assert load(dry.folder) == dry
    assert is_current(dry.folder, 1, 4, "dry")
    assert not is_current(dry.folder, 1, 4)
    lawn = geopandas.read_file(dry.truth, where="label = 'lawn'").to_crs("EPSG:26916")
    inside = lawn.geometry.buffer(-1).union_all()
    red, green_band = (_mean_in(dry, inside, band) for band in (1, 2))
    assert red > green_band, "its lawns are brown"
    red, green_band = (_mean_in(green, inside, band) for band in (1, 2))
    assert red < green_band


def test_a_style_that_there_is_none_of(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use green, dry"):
        generate(tmp_path / "county", 1, 4, "lunar")
    assert not (tmp_path / "county").exists()


def test_a_county_with_a_missing_file_is_regenerated(tmp_path: Path) -> None:
    county = generate(tmp_path / "county", 1, 4)
    _tiles(county)[0].unlink()
    assert not is_current(county.folder, 1, 4)
    assert is_current(generate(county.folder, 1, 4).folder, 1, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["county"]


def test_a_failure_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(scene: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("detection.sample.county.lot_truth", fail)
    with pytest.raises(OSError, match="full"):
        generate(tmp_path / "county", 1, 4)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_content_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(ValueError, match="not overwritten"):
        generate(tmp_path, 1, 4)
    assert (tmp_path / "letter.txt").read_text() == "keep me"


def test_too_few_lots_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 or more"):
        generate(tmp_path / "county", 1, 3)


def test_lawn_errors() -> None:
    truth = {"a": 100.0, "b": 200.0, "c": 50.0}
    errors = lawn_errors(truth, {"a": 110.0, "b": 150.0, "bare": 5.0})
    assert errors is not None
    assert errors.lots == 3
    assert errors.total_percent == pytest.approx(100 * (265 - 300) / 300)
    assert errors.median_absolute_percent == pytest.approx((10 + 25) / 2)
    assert [lot.parcel_id for lot in errors.worst] == ["b", "a", "bare"]
    assert errors.worst[0].error_percent == pytest.approx(-25)


def test_lawn_errors_of_the_truth_itself_are_zero(county: SampleCounty) -> None:
    truth = true_areas_m2(county.truth, "lawn")
    errors = lawn_errors(truth, truth)
    assert errors is not None
    assert errors.lots == LOTS
    assert errors.total_percent == 0
    assert errors.median_absolute_percent == 0


def test_lawn_errors_without_a_common_lot() -> None:
    assert lawn_errors({"SYN-0001": 10.0}, {"other": 3.0}) is None
    assert lawn_errors({"SYN-0001": 10.0}, {}) is None


@pytest.mark.parametrize("before", ["nothing", "another county"])
def test_a_county_generated_by_another_process_stays(
    county: SampleCounty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    folder = tmp_path / "county"
    if before == "another county":
        shutil.copytree(county.folder, folder)
        (folder / "properties.csv").write_text("stale")

    def write(made: SampleCounty) -> None:
        shutil.copytree(county.folder, made.folder, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(county.folder, folder)  # the other process is done first
        (folder / "of the other").touch()

    monkeypatch.setattr(county_module, "_write", write)
    assert generate(folder, SEED, LOTS).folder == folder
    assert (folder / "of the other").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["county"]


@pytest.mark.parametrize("there_before", [True, False])
def test_a_county_that_appears_during_the_swap_stays(
    county: SampleCounty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    folder = tmp_path / "county"
    if there_before:
        shutil.copytree(county.folder, folder)
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        if target == folder and not folder.exists():
            shutil.copytree(county.folder, folder)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    monkeypatch.setattr(
        county_module,
        "_write",
        lambda made: shutil.copytree(county.folder, made.folder, dirs_exist_ok=True),
    )
    generate(folder, SEED, LOTS)
    assert is_current(folder, SEED, LOTS)
    assert [path.name for path in tmp_path.iterdir()] == ["county"]

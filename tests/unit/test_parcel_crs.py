"""The CRS that is true: that of the entry, coordinates off the Earth, and plausibility."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS
from shapely import MultiPolygon, box

from parcels import County
from parcels.cache import FolderCache
from parcels.cache.file_snapshot import snapshot_file
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.files import FileSource
from parcels.plausibility import check_plausibility

# Lots of 18 m x 22 m near Memphis, Tennessee.
LOTS = [box(-90 + i * 0.0003, 35.1, -90 + i * 0.0003 + 0.0002, 35.1002) for i in range(9)]
SHELBY = {"state": "TN", "fips": "47157", "name": "Shelby County"}


def frame(epsg: int = 4326) -> gpd.GeoDataFrame:
    ids = [str(i) for i in range(len(LOTS))]
    return gpd.GeoDataFrame({"APN": ids}, geometry=LOTS, crs=4326).to_crs(epsg)


def county(path: Path = Path("lots"), **more: object) -> County:
    return County.model_validate({"key": "here", "path": str(path), **more})


def write_lying(path: Path, true: int, said: int) -> Path:
    frame(true).set_crs(said, allow_override=True).to_file(path)
    return path


def test_the_entry_takes_precedence_over_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lying(tmp_path / "lots.gpkg", 2274, 32136)
    source = FileSource(county(path, crs="EPSG:2274", **SHELBY))
    with caplog.at_level(logging.INFO):
        rows = list(source.all_rows())
    assert source.warnings == ()
    assert "'crs: EPSG:2274' replaces the file's CRS, NAD83 / Tennessee" in caplog.text
    assert rows[0].geometry is not None
    assert shapely.hausdorff_distance(rows[0].geometry, LOTS[0]) < 1e-8


def test_geojson_in_feet_is_read_with_a_crs(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    collection = json.loads(frame(2274).to_json(to_wgs84=False))
    collection.pop("crs", None)
    path.write_text(json.dumps(collection))
    with pytest.raises(SourceMisconfigured) as error:
        FileSource(county(path)).check()
    for part in ("9 lots are not on Earth", "look like feet or metres", "the file says WGS 84",
                 "Set 'crs:'"):  # fmt: skip
        assert part in str(error.value)
    assert "no polygons" not in str(error.value)
    with pytest.raises(SourceMisconfigured, match="not on Earth"):
        snapshot_file(county(path), FolderCache(tmp_path / "kept"), min_rows=1)
    [first, *_] = FileSource(county(path, crs="EPSG:2274", **SHELBY)).all_rows()
    assert first.geometry is not None
    assert shapely.hausdorff_distance(first.geometry, LOTS[0]) < 1e-8
    # The old "crs" member is read too.
    old = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2274"}}
    path.write_text(json.dumps({**collection, "crs": old}))
    assert FileSource(county(path, **SHELBY)).extent() == pytest.approx(
        (-90, 35.1, -89.9974, 35.1002), abs=1e-6
    )


def test_a_prj_that_says_metres_for_feet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_lying(tmp_path / "lots.shp", 2274, 32136)
    source = FileSource(county(path, **SHELBY))
    with caplog.at_level(logging.WARNING, logger="parcels.plausibility"):
        source.check()
    [warning] = source.warnings
    assert "outside Shelby County" in warning
    assert "coordinates are in feet and the CRS (NAD83 / Tennessee) in metres" in warning
    assert "crs: EPSG:2274" in warning
    assert warning in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="parcels.plausibility"):
        copy = snapshot_file(county(path, **SHELBY), FolderCache(tmp_path / "kept"), min_rows=1)
    assert copy is not None
    assert copy.warnings == source.warnings
    assert warning in caplog.text


def test_the_area_of_the_crs_is_enough(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "lots.shp", 2274, 2240)  # Tennessee, Georgia
    source = FileSource(county(path))
    source.check()
    assert "outside the area of" in " ".join(source.warnings)


@pytest.mark.parametrize("more", [SHELBY, {"state": "TN"}, {"extent": (-90.4, 34.9, -89.6, 35.5)}])
def test_swapped_axes_are_named(more: dict[str, object]) -> None:
    swapped = shapely.transform(np.array(LOTS, dtype=object), lambda xy: xy[:, ::-1])
    [warning] = check_plausibility(county(**more), _multi(swapped), None)
    assert "longitude and latitude are swapped" in warning


def _multi(lots: np.ndarray) -> np.ndarray:
    return np.array([MultiPolygon([lot]) for lot in lots], dtype=object)


def test_plausible_lots_have_no_warnings() -> None:
    lots = _multi(np.array(LOTS, dtype=object))
    for entry in (county(), county(**SHELBY), county(state="TN")):
        assert check_plausibility(entry, lots, CRS(2274)) == []
        assert check_plausibility(entry, lots, None) == []
    outlier = np.append(lots, _multi(np.array([box(0, 0, 1, 1)], dtype=object)))
    assert check_plausibility(county(**SHELBY), outlier, None) == []
    assert check_plausibility(county(), np.array([], dtype=object), None) == []


def test_implausible_areas_and_rows() -> None:
    lots = _multi(np.array(LOTS, dtype=object))
    large = shapely.transform(lots, lambda xy: (xy - (-90, 35)) * 30 + (-90, 35))
    small = shapely.transform(lots, lambda xy: (xy - (-90, 35)) / 30 + (-90, 35))
    assert check_plausibility(county(), large, None) == []  # ranches
    large = shapely.transform(lots, lambda xy: (xy - (-90, 35)) * 200 + (-90, 35))
    assert "which is large for lots" in " ".join(check_plausibility(county(), large, None))
    assert "median lot has 0.4" in " ".join(check_plausibility(county(), small, None))
    sparse = np.array([lots[0], None, None], dtype=object)
    [warning] = check_plausibility(county(), sparse, None)
    assert "only 1 of 3 rows have a valid polygon" in warning


def test_some_lots_off_the_earth_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    collection = json.loads(frame().to_json())
    collection["features"][0]["geometry"]["coordinates"] = [
        [[771490, 267310], [771490, 267320], [771500, 267320], [771490, 267310]]
    ]
    path.write_text(json.dumps(collection))
    source = FileSource(county(path))
    source.check()
    assert source.dropped == 1
    [warning] = source.warnings
    assert "1 lots are not on Earth" in warning


@pytest.mark.parametrize(
    ("true", "said", "message"),
    [
        (2274, 32136, r"median lot has 9,8\d\d m², but 91\d m² if its coordinates are in feet"),
        (32136, 2274, r"its coordinates are in metres and the CRS .* in feet: .* crs: EPSG:32136"),
    ],
)
@pytest.mark.parametrize("place", [{}, {"state": "TN"}])
def test_a_prj_in_the_wrong_unit_is_told_without_the_county(
    tmp_path: Path, true: int, said: int, message: str, place: dict[str, str]
) -> None:
    # A .prj has no code, and these feet, read as metres, are still near Tennessee.
    path = tmp_path / "lots.shp"
    lots = [box(-90 + i * 0.0003, 35, -90 + (i + 1) * 0.0003, 35.0003) for i in range(9)]
    stored = gpd.GeoSeries(lots, crs=4326).to_crs(true).set_crs(said, allow_override=True)
    gpd.GeoDataFrame({"APN": range(9)}, geometry=stored).to_file(path)
    source = FileSource(county(path, **place))
    source.check()
    [warning] = source.warnings
    assert re.search(message, warning)


@pytest.mark.parametrize("epsg", [2274, 32136, 32616, 3857])
def test_lots_of_usual_size_are_plausible_in_any_unit(tmp_path: Path, epsg: int) -> None:
    frame(epsg).to_file(tmp_path / "lots.shp")
    source = FileSource(county(tmp_path / "lots.shp", state="TN"))
    source.check()
    assert source.warnings == ()


def test_the_crs_that_fits_is_named_for_lots_off_the_earth(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "lots.shp", 2274, 4269)
    with pytest.raises(SourceMisconfigured, match="the one that fits, for example crs: EPSG:2274"):
        FileSource(county(path, **SHELBY)).check()
    assert len(list(FileSource(county(path, crs="EPSG:2274", **SHELBY)).all_rows())) == 9


@pytest.mark.parametrize("said", [26916, 3857, 32136])
def test_coordinates_in_feet_that_are_said_in_metres(tmp_path: Path, said: int) -> None:
    path = write_lying(tmp_path / "lots.gpkg", 2274, said)
    source = FileSource(county(path, state="TN"))
    source.check()
    [warning] = source.warnings
    assert "its coordinates are in feet" in warning
    assert "fit with crs: EPSG:2274" in warning


def test_degrees_that_are_said_in_feet(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "lots.gpkg", 4326, 2274)
    source = FileSource(county(path, **SHELBY))
    source.check()
    assert "fit with crs: EPSG:4326" in " ".join(source.warnings)


def test_quarter_sections_are_plausible(tmp_path: Path) -> None:
    side_m = 804.7
    lots = [box(600_000 + i * side_m, 400_000, 600_000 + (i + 1) * side_m, 400_000 + side_m)
            for i in range(9)]  # fmt: skip
    path = tmp_path / "lots.gpkg"
    gpd.GeoDataFrame({"APN": range(9)}, geometry=lots, crs=32100).to_file(path)
    for place in ({}, {"state": "MT"}):
        source = FileSource(county(path, **place))
        source.check()
        assert source.warnings == ()


def test_lots_off_the_earth_are_counted_anew_by_each_reading(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "lots.shp", 2274, 4269)
    source = FileSource(county(path, **SHELBY))
    said = set()
    for _ in range(3):
        with pytest.raises(SourceMisconfigured, match="9 lots are not on Earth") as error:
            source.check()
        said.add(str(error.value))
    assert len(said) == 1


def test_a_local_crs_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "lots.shp", 2274, 2274)
    path.with_suffix(".prj").write_text('LOCAL_CS["plant",UNIT["Meter",1]]')
    with pytest.raises(GeometryError, match=r"lots\.shp: the file's CRS \(plant\) is a local one"):
        FileSource(county(path)).check()
    assert len(list(FileSource(county(path, crs=2274)).all_rows())) == 9
    local = 'LOCAL_CS["plant",UNIT["Meter",1]]'
    with pytest.raises(GeometryError, match=r"'crs: LOCAL_CS.* is a local one.*set 'crs:'"):
        FileSource(county(path, crs=local)).check()
    assert county(path, crs=2274).crs == "EPSG:2274"
    with pytest.raises(ValueError, match="'EPSG:1' is not a valid CRS"):
        county(path, crs=1)

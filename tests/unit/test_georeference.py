"""Where pictures are: across 180°, by exact CRSs, and what to type where the place is missing."""

from __future__ import annotations

import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasters import CRS_NAME, LEFT, PIXEL_M, TOP, ThresholdSegmenter, noise, pixel_grid, write_tiff
from rasters import boundary as lot_in

from detection import LABELS, Detector
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic, open_imagery
from detection.imagery.georeference import crs_name
from detection.imagery.pixel_grid import PixelGrid, utm_crs
from detection.registry.imagery_entry import ImageryEntry
from parcels.antimeridian import centre_lonlat, split_at_antimeridian
from parcels.crs import from_wgs84, to_wgs84
from parcels.errors import InstallationError
from parcels.installation import check_installation
from parcels.measure import area_m2, buffer_m


def unknown_datum() -> str:
    """UTM zone 16 on GRS 80 without a datum or codes, as some software writes it."""
    return (
        'PROJCS["UTM Zone 16, Northern Hemisphere",GEOGCS["unknown",DATUM["unknown",SPHEROID["GRS'
        '80",6378137,298.257222101]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
        'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER['
        '"central_meridian",-87],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000]'
        ',PARAMETER["false_northing",0],UNIT["metre",1]]'
    )


# A corner 100 m west of 180°, in CRSs of both sides.
ACROSS = {
    "EPSG:32601": (-179.999, 52.0),  # the Aleutians
    "EPSG:32660": (179.999, 52.0),
    "EPSG:3338": (179.999, 52.0),  # Alaska Albers
    "EPSG:3460": (179.9995, -17.0),  # the Fiji Map Grid, of a datum of its own
    "EPSG:32760": (179.9995, -17.0),
}


def without_place(path: Path, size: int = 9) -> Path:
    """A TIFF without CRS and geotransform."""
    shape = {"driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **shape) as dataset:
            dataset.write(noise(3, size, size))
    return path


class TestAcross180:
    @pytest.mark.parametrize("crs", ACROSS)
    def test_a_lot_is_measured_in_its_picture(self, tmp_path: Path, crs: str) -> None:
        centre = from_wgs84(np.asarray([shapely.Point(180.0, ACROSS[crs][1])]), CRS(crs))[0]
        left, top = round(centre.x) - 50.0, round(centre.y) + 50.0
        pixels = np.full((3, 200, 200), 20, np.uint8)
        pixels[:, 60:140, 60:140] = 200  # 40 m, with 180° in its middle
        transform = Affine(0.5, 0, left, 0, -0.5, top)
        write_tiff(tmp_path / "a.tif", pixels, crs=crs, transform=transform)
        far = Affine(0.5, 0, left - 100_000, 0, -0.5, top)
        write_tiff(tmp_path / "b.tif", noise(3, 9, 9), crs=crs, transform=far)
        box = shapely.box(left + 10, top - 90, left + 90, top - 10)
        lot = lot_in(box, crs)
        assert len(lot.geometry.geoms) == 2
        assert lot.geometry.bounds[0] == -180
        assert lot.geometry.bounds[2] == 180
        imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
        [result] = Detector(ThresholdSegmenter()).detect([lot], imagery, [LABELS["lawn"]])
        area = sum(found.clipped_area_m2 for found in result.detections)
        # Fiji's and Alaska's grids have a scale that is not 1: their own m² say how much.
        true_m2 = area_m2(to_wgs84(np.asarray([shapely.box(left + 30, top - 70, left + 70,
                                                           top - 30)]), CRS(crs))[0])  # fmt: skip
        assert area == pytest.approx(true_m2, rel=0.01)
        assert result.chip is not None
        assert result.chip.sources == (str(tmp_path / "a.tif"),)

    def test_only_pictures_near_the_lot_are_found(self, tmp_path: Path) -> None:
        """A picture across 180° is not one around the world."""
        centre = from_wgs84(np.asarray([shapely.Point(180.0, 52.0)]), CRS("EPSG:32601"))[0]
        across = Affine(0.5, 0, centre.x - 50, 0, -0.5, centre.y + 50)
        write_tiff(tmp_path / "across.tif", noise(3, 200, 200), crs="EPSG:32601", transform=across)
        imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
        assert imagery._covering(shapely.box(-87.1, 51.9, -87.0, 52.1)) == []
        assert imagery.grid_for(shapely.Point(180, 52).buffer(0.0001)).crs == "EPSG:32601"

    def test_a_hole_stays_a_hole(self) -> None:
        ring = [(179.9, 0), (-179.9, 0), (-179.9, 0.2), (179.9, 0.2)]
        hole = [(-179.99, 0.1), (179.99, 0.1), (179.99, 0.11), (-179.99, 0.11)]
        split = split_at_antimeridian(shapely.Polygon(ring, [hole]))
        assert split.area == pytest.approx(0.2 * 0.2 - 0.02 * 0.01)
        assert split.is_valid
        longitude, latitude = centre_lonlat(split)
        assert (abs(longitude), latitude) == (
            pytest.approx(180, abs=0.01),
            pytest.approx(0.1, abs=0.01),
        )

    def test_others_are_unchanged(self) -> None:
        box = shapely.box(170, 0, 179, 1)
        assert split_at_antimeridian(box) is box
        assert split_at_antimeridian(shapely.Point(1, 2)) == shapely.Point(1, 2)
        world = shapely.box(-20037508.34, -5e6, 20037508.34, 5e6)
        assert to_wgs84(np.asarray([world]), CRS(3857))[0].bounds[0] == pytest.approx(-180)

    def test_a_circle_around_180_is_a_circle(self) -> None:
        circle = buffer_m(shapely.Point(179.9999, 52.0), 30.0)
        assert area_m2(circle) == pytest.approx(np.pi * 900, rel=0.001)
        assert area_m2(buffer_m(circle, 1.0)) == pytest.approx(np.pi * 31**2, rel=0.002)

    @pytest.mark.parametrize(
        ("longitude", "zone"), [(179.99, 60), (180.0, 60), (-180.0, 1), (180.5, 1), (-87.0, 16)]
    )
    def test_utm_zones(self, longitude: float, zone: int) -> None:
        assert utm_crs(longitude, 52.0) == f"EPSG:{32600 + zone}"


class TestNames:
    @pytest.mark.parametrize("code", [26916, 32616, 6345, 2227, 2274, 3857, 3460, 5070])
    @pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
    def test_an_exact_crs_is_named(self, code: int, version: str) -> None:
        assert crs_name(CRS.from_wkt(CRS.from_epsg(code).to_wkt(version))) == f"EPSG:{code}"

    def test_a_guess_is_no_name(self) -> None:
        """Known to 70 % as the UTM zone 16N of Costa Rica's datum."""
        assert CRS.from_wkt(unknown_datum()).to_epsg() is not None
        assert not crs_name(CRS.from_wkt(unknown_datum())).startswith("EPSG")

    def test_an_unknown_datum_is_refused_with_the_remedy(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", noise(3, 9, 9), crs=unknown_datum())
        with pytest.raises(ImageryError, match=r"unknown datum.*gdal_edit.py -a_srs EPSG:… a\.tif"):
            GeoTiffMosaic(str(path))
        entry = ImageryEntry.model_validate({"path": str(path), "crs": 26916})
        lot = lot_in(shapely.box(LEFT + 1, TOP - 4, LEFT + 4, TOP - 1), "EPSG:26916").geometry
        assert open_imagery(entry).grid_for(lot).crs == "EPSG:26916"

    def test_a_crs_without_a_code_is_used_as_it_is(self, tmp_path: Path) -> None:
        own = CRS.from_proj4("+proj=tmerc +lat_0=0 +lon_0=-87.5 +k=0.9999 +x_0=500000 +datum=NAD83")
        write_tiff(tmp_path / "a.tif", noise(3, 40, 40), crs=own.to_wkt())
        lot = lot_in(shapely.box(LEFT + 1, TOP - 9, LEFT + 9, TOP - 1), own.to_wkt()).geometry
        assert CRS(GeoTiffMosaic(str(tmp_path / "a.tif")).grid_for(lot).crs).equals(own)


class TestRemedies:
    def refused(self, path: Path) -> str:
        with pytest.raises(ImageryError) as caught:
            GeoTiffMosaic(str(path))
        return str(caught.value)

    def test_only_ground_control_points(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", noise(3, 40, 40))
        points = [
            GroundControlPoint(row, col, LEFT + col * PIXEL_M, TOP - row * PIXEL_M)
            for row, col in ((0, 0), (0, 40), (40, 0), (40, 40))
        ]
        with rasterio.open(path, "r+") as dataset:
            dataset.gcps = (points, rasterio.crs.CRS.from_epsg(32616))
        text = self.refused(path)
        assert "4 ground control points" in text
        assert "gdalwarp -t_srs EPSG:326ZZ -r bilinear -of COG a.tif a_utm.tif" in text

    def test_only_rpcs(self, tmp_path: Path) -> None:
        path = without_place(tmp_path / "a.tif", 9)
        numbers: dict[str, Any] = {
            f"{name}_{kind}": 1.0
            for name in ("height", "lat", "long", "line", "samp")
            for kind in ("off", "scale")
        }
        coefficients = {f"{name}_coeff": [1.0] + [0.0] * 19
                        for name in ("line_num", "line_den", "samp_num", "samp_den")}  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path, "r+")
        with dataset:
            dataset.rpcs = RPC(**numbers, **coefficients)
        assert "gdalwarp -rpc -to RPC_DEM=dem.tif" in self.refused(path)

    @pytest.mark.parametrize("name", ["a.tfw", "a.tifw", "a.wld"])
    def test_a_world_file_has_no_crs(self, tmp_path: Path, name: str) -> None:
        path = without_place(tmp_path / "a.tif", 40)
        (tmp_path / name).write_text(f"0.5\n0\n0\n-0.5\n{LEFT + 0.25}\n{TOP - 0.25}\n")
        text = self.refused(path)
        if name != "a.tifw":  # GDAL does not read this one
            assert f"the CRS is missing; {name} gives its place, but no CRS" in text
            assert "crs: EPSG:…" in text
            entry = ImageryEntry(path=str(path), crs=CRS_NAME)
            lot = lot_in(shapely.box(LEFT + 1, TOP - 9, LEFT + 9, TOP - 1)).geometry
            assert open_imagery(entry).grid_for(lot) == pixel_grid()

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        path = without_place(tmp_path / "a.tif", 9)
        text = self.refused(path)
        assert "put a.tfw beside it" in text
        assert "gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM -a_srs EPSG:… a.tif" in text

    def test_a_wrong_crs_in_the_entry(self) -> None:
        with pytest.raises(ValueError, match="'foo' is not a valid CRS; write for"):
            ImageryEntry(path="a.tif", crs="foo")


@pytest.mark.parametrize(
    "turn",
    [Affine.rotation(30), Affine.scale(1, -1), Affine.rotation(180), Affine.scale(-1, 1)],
    ids=["rotated", "south-up", "upside-down", "mirrored"],
)
def test_a_picture_that_is_not_north_up_has_its_area(tmp_path: Path, turn: Affine) -> None:
    pixels = np.full((3, 200, 200), 20, np.uint8)
    pixels[:, 60:140, 60:140] = 200
    middle = Affine.translation(LEFT, TOP) @ turn @ Affine.scale(0.5, -0.5)
    write_tiff(tmp_path / "a.tif", pixels, transform=middle @ Affine.translation(-100, -100))
    lot = lot_in(shapely.box(LEFT - 30, TOP - 30, LEFT + 30, TOP + 30))
    imagery = GeoTiffMosaic(str(tmp_path / "a.tif"))
    [result] = Detector(ThresholdSegmenter()).detect([lot], imagery, [LABELS["lawn"]])
    area = sum(found.clipped_area_m2 for found in result.detections)
    assert area == pytest.approx(1600, rel=0.01)


class TestInstallation:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
            monkeypatch.delenv(name, raising=False)

    def database(self, folder: Path, minor: int) -> Path:
        with sqlite3.connect(folder / "proj.db") as connection:
            connection.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
            rows = [("MAJOR", "1"), ("MINOR", str(minor))]
            connection.executemany(
                "INSERT INTO metadata VALUES ('DATABASE.LAYOUT.VERSION.' || ?, ?)", rows
            )
        connection.close()
        return folder

    @pytest.mark.parametrize("name", ["PROJ_DATA", "PROJ_LIB"])
    def test_an_older_database_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv(name, str(self.database(tmp_path, 2)))
        with pytest.raises(InstallationError, match=rf"{name}=.*layout 1\.2.*type: unset {name}"):
            check_installation()
        with pytest.raises(InstallationError):
            open_imagery(ImageryEntry(path=str(tmp_path / "a.tif")))

    def test_a_folder_without_a_database(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROJ_DATA", str(tmp_path))
        with pytest.raises(InstallationError, match=r"has no proj\.db.*unset PROJ_DATA"):
            check_installation()
        (tmp_path / "proj.db").write_text("text")
        with pytest.raises(InstallationError, match="unreadable"):
            check_installation()

    def test_a_newer_one_and_lists_are_fine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = self.database(tmp_path, 99)
        monkeypatch.setenv("PROJ_DATA", os.pathsep.join(["/nowhere", str(folder)]))
        check_installation()

    def test_gdal_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GDAL_DATA", str(tmp_path))
        with pytest.raises(InstallationError, match="unset GDAL_DATA"):
            check_installation()


def test_grids_of_the_same_place_are_one(tmp_path: Path) -> None:
    """Files whose CRS is written in different ways are not warped to each other."""
    for name, version in (("a", "WKT1_ESRI"), ("b", "WKT2_2019")):
        crs = CRS.from_epsg(32616).to_wkt(version)
        write_tiff(tmp_path / f"{name}.tif", noise(3, 40, 40), crs=crs)
    files = GeoTiffMosaic(str(tmp_path / "*.tif"))._files
    assert {file.grid for file in files} == {PixelGrid(CRS_NAME, PIXEL_M)}

"""Imagery from an ArcGIS ImageServer over real HTTP, with the faults of real servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from landscapes import landscape
from rasters import LEFT, PIXEL_M, TOP, ThresholdSegmenter, boundary, noise, smooth, write_tiff
from servers.imageserver import FakeImageServer, image_server

from detection import LABELS, Detector, open_imagery
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery import GeoTiffMosaic, ImageServer, imageserver
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.registry.imagery_entry import ImageryEntry as ImagerySource
from detection.registry.imagery_entry import usgs_naip
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient

SIZE_PX = 300


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_tiff(tmp_path / "a.tif", smooth(4, SIZE_PX, SIZE_PX))


@pytest.fixture
def server(picture: Path) -> Iterator[FakeImageServer]:
    with image_server(picture) as fake:
        yield fake


@pytest.fixture
def waits_s() -> list[float]:
    """What the client would have waited."""
    return []


@pytest.fixture
def imagery(server: FakeImageServer, waits_s: list[float]) -> ImageServer:
    return opened(server, waits_s)


def opened(server: FakeImageServer, waits_s: list[float], **more: Any) -> ImageServer:
    read_timeout_s = more.pop("read_timeout_s", 5.0)
    client = ArcGISClient(sleep=waits_s.append, read_timeout_s=read_timeout_s, allow_private=True)
    return ImageServer(server.url, gsd_m=PIXEL_M, client=client, **more)


def over(column: int, row: int, width: int, height: int) -> tuple[PixelGrid, PixelWindow]:
    """The server's grid, and a window counted from the image's upper left corner."""
    found = PixelGrid("EPSG:32616", PIXEL_M)
    origin = found.window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
    return found, PixelWindow(origin.column + column, origin.row + row, width, height)


def lot(side_m: float = 50.0) -> Any:
    return boundary(shapely.box(LEFT + 20, TOP - 20 - side_m, LEFT + 20 + side_m, TOP - 20))


class TestPictures:
    def test_a_chip_equals_the_files_pixels(
        self, imagery: ImageServer, picture: Path, server: FakeImageServer
    ) -> None:
        pixel_grid, window = over(10, 20, 200, 150)
        assert imagery.grid_for(lot().geometry) == pixel_grid
        chip, expected = (
            imagery.read(pixel_grid, window),
            GeoTiffMosaic(str(picture)).read(pixel_grid, window),
        )
        assert np.array_equal(chip.pixels, expected.pixels)
        assert chip.sha256 == expected.sha256
        assert chip.bands == ("red", "green", "blue", "nir")
        assert chip.sources == (server.url,)
        assert chip.captured_on is None

    def test_export_request_parameters(self, imagery: ImageServer, server: FakeImageServer) -> None:
        imagery.read(*over(0, 0, 200, 100))
        assert [path for path, _ in server.requests] == ["", "/exportImage"]
        assert server.exports == [
            {
                "bbox": "500000.000000,3879950.000000,500100.000000,3880000.000000",
                "bboxSR": "32616",
                "imageSR": "32616",
                "size": "200,100",
                "format": "tiff",
                "pixelType": "U8",
                "interpolation": "RSP_BilinearInterpolation",
                "f": "image",
            }
        ]

    @pytest.mark.parametrize("max_size_px", [(70, 4100), (4100, 64), (96, 80), (300, 300)])
    def test_tiles_of_the_servers_size_are_seamless(
        self,
        server: FakeImageServer,
        imagery: ImageServer,
        picture: Path,
        max_size_px: tuple[int, int],
    ) -> None:
        server.max_size_px = max_size_px
        pixel_grid, window = over(0, 0, SIZE_PX, SIZE_PX)
        chip = imagery.read(pixel_grid, window)
        expected = GeoTiffMosaic(str(picture)).read(pixel_grid, window)
        assert np.array_equal(chip.pixels, expected.pixels)
        across, down = (-(-SIZE_PX // side) for side in max_size_px)
        assert len(server.exports) == across * down

    def test_tiles_stay_small_where_pixels_are_large(
        self, server: FakeImageServer, imagery: ImageServer
    ) -> None:
        server.metadata = {"pixelType": "F64", "bandCount": 40}
        assert max(imagery._service_info().tile_px) == 256
        assert imageserver.MAX_TILE_PX == 2048

    def test_only_the_named_bands_are_requested(
        self, server: FakeImageServer, waits_s: list[float]
    ) -> None:
        chip = opened(server, waits_s, bands=("red", "green", "blue")).read(*over(0, 0, 50, 50))
        assert chip.bands == ("red", "green", "blue")
        assert server.exports[0]["bandIds"] == "0,1,2"

    def test_sixteen_bits(self, tmp_path: Path, waits_s: list[float]) -> None:
        pixels = noise(4, 60, 60, dtype="uint16")
        with image_server(write_tiff(tmp_path / "b.tif", pixels)) as server:
            chip = opened(server, waits_s).read(*over(0, 0, 60, 60))
        assert chip.pixels.dtype == np.uint16
        assert np.array_equal(chip.pixels, pixels)

    def test_a_configured_date(self, server: FakeImageServer, waits_s: list[float]) -> None:
        chip = opened(server, waits_s, captured_on="2021").read(*over(0, 0, 50, 50))
        assert chip.captured_on == "2021"

    def test_metadata_is_requested_once(
        self, imagery: ImageServer, server: FakeImageServer
    ) -> None:
        for column in (0, 50, 100):
            imagery.grid_for(lot().geometry)
            imagery.read(*over(column, 0, 50, 50))
        assert len(server.requests) == 1 + 3


class TestNoImagery:
    def test_outside_the_extent_is_missing(
        self, imagery: ImageServer, server: FakeImageServer
    ) -> None:
        away = boundary(shapely.box(LEFT + 9000, TOP - 50, LEFT + 9050, TOP)).geometry
        with pytest.raises(NoImagery) as caught:
            imagery.grid_for(away)
        assert caught.value.reason == "missing"
        assert server.exports == []

    def test_without_an_extent_every_lot_is_read(
        self, imagery: ImageServer, server: FakeImageServer
    ) -> None:
        server.metadata = {"extent": {"xmin": "NaN", "ymin": 0, "xmax": 1, "ymax": 1}}
        assert imagery.grid_for(lot().geometry) == over(0, 0, 1, 1)[0]

    def test_all_zero_is_nodata(self, imagery: ImageServer) -> None:
        with pytest.raises(NoImagery) as caught:
            imagery.read(*over(2000, 0, 100, 100))
        assert caught.value.reason == "nodata"

    def test_a_chip_past_the_edge_is_partly_valid(self, imagery: ImageServer) -> None:
        chip = imagery.read(*over(SIZE_PX - 40, 0, 100, 100))
        assert chip.valid[:, :40].all()
        assert not chip.valid[:, 40:].any()

    @pytest.mark.parametrize("value", [255, 0])
    def test_fill_of_an_export_is_not_imaged(
        self, tmp_path: Path, waits_s: list[float], value: int
    ) -> None:
        pixels = noise(4, 240, 320)
        pixels[:, :, 150:] = value
        path = write_tiff(tmp_path / "a.tif", pixels)
        with image_server(path) as server:
            chip = opened(server, waits_s).read(*over(50, 10, 200, 200))
        assert chip.valid[:, :100].all()
        assert not chip.valid[:, 100:].any()


@pytest.mark.parametrize("fault", ["500", "busy", "html", "truncated"])
class TestFaults:
    def test_transient_errors_are_retried(
        self, imagery: ImageServer, server: FakeImageServer, waits_s: list[float], fault: str
    ) -> None:
        imagery.grid_for(lot().geometry)
        server.faults = [fault, fault]
        chip = imagery.read(*over(0, 0, 50, 50))
        assert chip.valid.all()
        assert len(server.exports) == 3
        assert len(waits_s) == 2

    def test_permanent_errors_are_unavailable(
        self, imagery: ImageServer, server: FakeImageServer, fault: str
    ) -> None:
        imagery.grid_for(lot().geometry)
        server.always = fault
        with pytest.raises(ImageryUnavailable, match=r"imagery: http.*try again later"):
            imagery.read(*over(0, 0, 50, 50))
        assert len(server.exports) == 10
        server.always = None
        assert imagery.read(*over(0, 0, 50, 50)).valid.all()


class TestConfiguration:
    def test_a_server_that_is_silent(self, server: FakeImageServer, waits_s: list[float]) -> None:
        imagery = opened(server, waits_s, read_timeout_s=0.2)
        server.always = "hang"
        with pytest.raises(ImageryUnavailable, match="no response"):
            imagery.grid_for(lot().geometry)

    def test_connection_refused(self, waits_s: list[float]) -> None:
        client = ArcGISClient(sleep=waits_s.append, allow_private=True)
        url = "http://127.0.0.1:9/arcgis/rest/services/Pictures/ImageServer"
        with pytest.raises(ImageryUnavailable, match="no response"):
            ImageServer(url, client=client).grid_for(lot().geometry)

    def test_a_missing_service(self, server: FakeImageServer, waits_s: list[float]) -> None:
        server.url = server.url.replace("Pictures", "Pictuers")
        with pytest.raises(ImageryError, match=r"no such service.*Correct the county") as caught:
            opened(server, waits_s).grid_for(lot().geometry)
        assert not isinstance(caught.value, ImageryUnavailable)
        assert len(server.requests) == 1

    def test_a_token_is_required(self, imagery: ImageServer, server: FakeImageServer) -> None:
        server.always = "token"
        with pytest.raises(ImageryError, match=r"token.*Correct the county") as caught:
            imagery.grid_for(lot().geometry)
        assert not isinstance(caught.value, ImageryUnavailable)

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"bandCount": None}, "is not an ImageServer"),
            ({"bandCount": 0}, "is not an ImageServer"),
            ({"capabilities": "Metadata,Catalog"}, r"does not serve images .*Metadata"),
            ({"pixelType": "C64"}, "pixels of type C64"),
        ],
    )
    def test_an_unsupported_service(
        self,
        imagery: ImageServer,
        server: FakeImageServer,
        metadata: dict[str, Any],
        message: str,
    ) -> None:
        server.metadata = metadata
        with pytest.raises(ImageryError, match=message):
            imagery.grid_for(lot().geometry)

    def test_too_many_declared_bands(self, server: FakeImageServer, waits_s: list[float]) -> None:
        imagery = opened(server, waits_s, bands=("a", "b", "c", "d", "e"))
        with pytest.raises(ImageryError, match=r"has 4 bands, but .* lists 5 \(a, b, c, d, e\)"):
            imagery.grid_for(lot().geometry)

    @pytest.mark.parametrize(
        ("fault", "message"),
        [("shifted", "is 7.0 pixels off"), ("small", r"returned 4 bands of \(25, 25")],
    )
    def test_a_wrong_image_is_refused(
        self, imagery: ImageServer, server: FakeImageServer, fault: str, message: str
    ) -> None:
        imagery.grid_for(lot().geometry)
        server.faults = [fault]
        with pytest.raises(ImageryError, match=message):
            imagery.read(*over(0, 0, 50, 50))

    def test_a_refusal_is_misconfiguration_only_before_the_first_image(
        self, imagery: ImageServer, server: FakeImageServer
    ) -> None:
        imagery.grid_for(lot().geometry)
        server.faults = ["refused"]
        with pytest.raises(ImageryError) as caught:
            imagery.read(*over(0, 0, 50, 50))
        assert not isinstance(caught.value, ImageryUnavailable)
        imagery.read(*over(0, 0, 50, 50))
        server.faults = ["refused"]
        with pytest.raises(ImageryUnavailable, match="Unable to complete operation"):
            imagery.read(*over(0, 0, 50, 50))

    def test_the_circuit_breaker_opens_and_closes(
        self, server: FakeImageServer, waits_s: list[float]
    ) -> None:
        now_s = [0.0]
        imagery = opened(server, waits_s, breaker=CircuitBreaker(clock=lambda: now_s[0]))
        imagery.grid_for(lot().geometry)
        server.always = "500"
        for _ in range(6):
            with pytest.raises(ImageryUnavailable):
                imagery.read(*over(0, 0, 50, 50))
        assert len(server.exports) == 10 + 3 + 3
        server.always = None
        now_s[0] = 61.0
        assert imagery.read(*over(0, 0, 50, 50)).valid.all()


class TestThroughTheDetector:
    @pytest.mark.parametrize("fault", ["small", "shifted"])
    def test_one_wrong_image_after_a_good_one_defers_only_its_lots(
        self, imagery: ImageServer, server: FakeImageServer, fault: str
    ) -> None:
        imagery.read(*over(0, 0, 50, 50))
        detector = Detector(ThresholdSegmenter())
        server.faults = [fault]
        [odd] = detector.detect([lot()], imagery, [LABELS["lawn"]])
        assert (odd.status, odd.reason) == ("unavailable", "imagery")
        assert "Use another service" in odd.detail
        [good] = detector.detect([lot()], imagery, [LABELS["lawn"]])
        assert good.detections

    def test_refused_windows_do_not_open_the_circuit(
        self, imagery: ImageServer, server: FakeImageServer
    ) -> None:
        imagery.read(*over(0, 0, 50, 50))
        server.faults = ["refused"] * 4
        for _ in range(4):
            with pytest.raises(ImageryUnavailable):
                imagery.read(*over(0, 0, 50, 50))
        assert imagery.read(*over(0, 0, 50, 50)).valid.all()

    def test_detections_equal_those_on_the_file(self, imagery: ImageServer, picture: Path) -> None:
        detector = Detector(ThresholdSegmenter(128))
        [served] = detector.detect([lot()], imagery, [LABELS["lawn"]])
        [local] = detector.detect([lot()], GeoTiffMosaic(str(picture)), [LABELS["lawn"]])
        assert served.detections == local.detections
        assert len(served.detections) > 3

    def test_a_server_that_is_down_defers_every_lot(
        self,
        imagery: ImageServer,
        server: FakeImageServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.CRITICAL)
        server.always = "500"
        results = Detector(ThresholdSegmenter()).detect([lot()] * 40, imagery, [LABELS["lawn"]])
        assert {(r.status, r.reason) for r in results} == {("unavailable", "imagery")}
        assert len(server.requests) == 10


def test_open_imagery_takes_a_registry_entry(server: FakeImageServer) -> None:
    source = ImagerySource(url=server.url, captured_on="2022", gsd_m=0.5)
    chip = open_imagery(source, allow_private=True).read(*over(0, 0, 50, 50))
    assert (chip.captured_on, chip.gsd_m) == ("2022", 0.5)
    naip = open_imagery(usgs_naip())  # no request before the first read
    assert isinstance(naip, ImageServer)
    assert naip.url == usgs_naip().url


def test_a_private_address_needs_allow_private(server: FakeImageServer) -> None:
    with pytest.raises(ImageryError, match="allow_private: true") as caught:
        open_imagery(ImagerySource(url=server.url)).grid_for(lot().geometry)
    assert not isinstance(caught.value, ImageryUnavailable)
    assert server.requests == []


@pytest.mark.parametrize("fourth", ["opaque", "half"])
def test_a_fourth_band_that_is_a_mask_is_refused(tmp_path: Path, fourth: str) -> None:
    pixels = landscape(SIZE_PX, SIZE_PX)
    pixels[3] = 255
    if fourth == "half":
        pixels[3, :, :100] = 0
    with image_server(write_tiff(tmp_path / "a.tif", pixels)) as server:
        with pytest.raises(ImageryError, match=r"fourth band.*bands: \[red, green, blue\]"):
            opened(server, []).read(*over(0, 0, 200, 200))
        names = ("red", "green", "blue")
        assert opened(server, [], bands=names).read(*over(0, 0, 200, 200)).bands == names


def test_near_infrared_of_a_server_is_noted(tmp_path: Path) -> None:
    pixels = landscape(SIZE_PX, SIZE_PX, water=0.5)
    with image_server(write_tiff(tmp_path / "a.tif", pixels)) as server:
        imagery = opened(server, [])
        assert imagery.notes == ()
        assert imagery.read(*over(0, 0, 200, 200)).bands[3:] == ("nir",)
        [note] = imagery.notes
        assert "taken for red, green, blue, nir" in note
        assert opened(server, [], bands=("red", "green", "blue", "nir")).notes == ()


def test_a_fourth_band_that_the_statistics_call_constant(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", landscape(SIZE_PX, SIZE_PX))
    with image_server(path) as server:
        server.metadata = {"minValues": [0, 0, 0, 255], "maxValues": [255, 255, 255, 255]}
        imagery = opened(server, [])
        imagery.grid_for(lot().geometry)
        assert "taken for red, green, blue;" in imagery.notes[0]

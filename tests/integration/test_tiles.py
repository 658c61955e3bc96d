"""XYZ, WMTS and WMS over real HTTP: areas, places, and what servers say when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import shapely
from rasters import CRS_NAME, LEFT, TOP, ThresholdSegmenter, boundary
from servers.scripted import Call, Reply, ScriptedServer
from servers.tiles import EXCEPTION, Scene, encode, tile_server

from detection import LABELS, Detector, open_imagery
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.imagery.tiles import tiled_imagery
from detection.imagery.tiles.open_tiles import open_tiles
from detection.imagery.tiles.tile_grid import TileIndex
from detection.imagery.tiles.xyz import quadkey
from detection.registry.imagery_entry import ImageryEntry
from parcels.arcgis.http import byte_client

# A square of 24 m at 35° north, where a pixel of Web Mercator is 22 % larger than it says.
SQUARE = (LEFT + 20, TOP - 44, LEFT + 44, TOP - 20)
LOT = shapely.box(LEFT + 10, TOP - 54, LEFT + 54, TOP - 10)
SQUARE_M2 = 576.0


@pytest.fixture
def scene() -> Scene:
    return Scene(SQUARE, CRS_NAME)


@pytest.fixture
def server(scene: Scene) -> Iterator[ScriptedServer]:
    with tile_server(scene) as running:
        yield running


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    real = byte_client.ByteClient.__init__

    def quick(self: byte_client.ByteClient, **more: Any) -> None:
        real(self, **{**more, "sleep": lambda _: None, "calls_per_second": 1e6})

    monkeypatch.setattr(byte_client.ByteClient, "__init__", quick)


KINDS: dict[str, dict[str, Any]] = {
    "xyz": {"url": "{at}/xyz/{z}/{x}/{y}.png", "zoom": 19},
    "subdomains": {"url": "{at}/xyz/{z}/{x}/{y}.png?s={s}{switch:1,2}", "zoom": 19},
    "dollar": {"url": "{at}/xyz/${z}/${x}/${y}.png", "zoom": 19},
    "tms": {"url": "{at}/tms/{z}/{x}/{-y}.png", "zoom": 19},
    "large": {"url": "{at}/big/{z}/{x}/{y}@2x.png", "zoom": 18},
    "retina": {"url": "{at}/big/{z}/{x}/{y}{r}.png", "zoom": 18},
    "quadkey": {"url": "{at}/quad/{q}.png", "zoom": 19},
    "wmts": {"url": "{at}/WMTSCapabilities.xml", "zoom": 19},
    "wmts-degrees": {"url": "{at}/WMTSCapabilities.xml", "zoom": 18, "matrix_set": "degrees"},
    "wmts-template": {"url": "{at}/wmts/m/{TileMatrix}/{TileRow}/{TileCol}.png", "zoom": 19},
    "wms": {"url": "{at}/wms", "layers": "ortho", "gsd_m": 0.25},
    "wms-1.1.1": {"url": "{at}/wms?VERSION=1.1.1&map=x", "layer": "ortho", "gsd_m": 0.25},
    "wms-utm": {"url": "{at}/wms", "layers": ["ortho"], "gsd_m": 0.25, "crs": "EPSG:32616"},
    "wms-degrees": {"url": "{at}/wms", "layers": "ortho", "gsd_m": 0.25, "crs": "EPSG:4326"},
    "wms-crs84": {"url": "{at}/wms", "layers": "ortho", "gsd_m": 0.25, "crs": "CRS:84"},
}


def opened(server: ScriptedServer, kind: str = "xyz", **more: Any) -> ImagerySource:
    keys = {"licence": "a test", **KINDS[kind], **more}
    keys["url"] = keys["url"].replace("{at}", server.address)
    return open_imagery(ImageryEntry.model_validate(keys), allow_private=True)


def read(imagery: ImagerySource) -> Any:
    lot = boundary(LOT).geometry
    grid = imagery.grid_for(lot)
    return imagery.read(grid, grid.window_from_bounds(grid.from_lonlat(lot).bounds))


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_square_has_its_area(server: ScriptedServer, kind: str) -> None:
    imagery = opened(server, kind)
    [result] = Detector(ThresholdSegmenter()).detect([boundary(LOT)], imagery, [LABELS["lawn"]])
    area_m2 = sum(found.clipped_area_m2 for found in result.detections)
    assert area_m2 == pytest.approx(SQUARE_M2, rel=0.01)
    assert result.chip is not None
    assert result.chip.gsd_m == pytest.approx(0.244 if "degrees" not in kind else 0.25, rel=0.25)


@pytest.mark.parametrize("kind", ["xyz", "wmts", "wms"])
def test_a_square_on_the_antimeridian(scene: Scene, server: ScriptedServer, kind: str) -> None:
    centre = PixelGrid("EPSG:32601", 1.0).from_lonlat(shapely.Point(180.0, 52.0))
    left, bottom = centre.x - 12.0, centre.y - 12.0
    scene.square, scene.crs = (left, bottom, left + 24, bottom + 24), "EPSG:32601"
    lot = boundary(shapely.box(left - 10, bottom - 10, left + 34, bottom + 34), "EPSG:32601")
    imagery = opened(server, kind)
    [result] = Detector(ThresholdSegmenter()).detect([lot], imagery, [LABELS["lawn"]])
    area_m2 = sum(found.clipped_area_m2 for found in result.detections)
    # The square is not parallel to the pixels of the other zone: its outline is a staircase.
    assert area_m2 == pytest.approx(SQUARE_M2, rel=0.04)


def test_a_bright_square_is_where_it_is(server: ScriptedServer) -> None:
    imagery = opened(server)
    grid = imagery.grid_for(boundary(LOT).geometry)
    assert (grid.crs, grid.gsd_m) == ("EPSG:32616", 0.242)
    window = grid.window_from_bounds((LEFT, TOP - 60, LEFT + 60, TOP))
    chip = imagery.read(grid, window)
    rows, columns = np.nonzero(chip.pixels[0] > 110)
    left, top = chip.transform @ (columns.min(), rows.min())
    right, bottom = chip.transform @ (columns.max() + 1, rows.max() + 1)
    assert np.allclose((left, bottom, right, top), SQUARE, atol=0.25)
    assert chip.bands == ("red", "green", "blue")
    assert chip.sources == (f"{server.address}/xyz/{{z}}/{{x}}/{{y}}.png",)


def test_tiles_are_requested_once(server: ScriptedServer) -> None:
    imagery = opened(server)
    read(imagery)
    count = len(server.calls)
    read(imagery)
    assert count == len(server.calls) > 0


def test_the_cache_is_bounded(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_imagery, "_CACHE_BYTES", 600_000)
    imagery = opened(server)
    read(imagery)
    assert imagery._cached_bytes <= 600_000  # type: ignore[attr-defined]
    assert len(imagery._cache) <= 2  # type: ignore[attr-defined]


class TestWithoutImagery:
    def test_transparent_pixels_are_not_imaged(self, scene: Scene, server: ScriptedServer) -> None:
        scene.covered_from = LEFT + 32
        chip = read(opened(server))
        assert chip.valid.mean() == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize(
        "reply",
        [Reply(b"", 404), Reply(b"<html>gone</html>", 404), Reply(b"", 204), Reply(b"", 200),
         Reply(encode(np.full((3, 256, 256), 255, np.uint8))),
         Reply(encode(np.zeros((4, 256, 256), np.uint8)))],
        ids=["404", "page", "204", "empty", "white", "transparent"],
    )  # fmt: skip
    def test_no_tile_is_no_imagery(
        self, scene: Scene, server: ScriptedServer, reply: Reply
    ) -> None:
        scene.always = lambda _: reply
        with pytest.raises(NoImagery) as caught:
            read(opened(server))
        assert caught.value.reason == "nodata"

    def test_a_server_without_any_tile_is_noted(self, scene: Scene, server: ScriptedServer) -> None:
        scene.always = lambda _: Reply(b"", 404)
        imagery = opened(server)
        with pytest.raises(NoImagery):
            read(imagery)
        assert any("has served no tile" in note for note in imagery.notes)

    def test_one_picture_for_all_places_is_a_placeholder(
        self, scene: Scene, server: ScriptedServer
    ) -> None:
        picture = encode(np.random.default_rng(0).integers(0, 255, (3, 256, 256), dtype=np.uint8))
        scene.always = lambda _: Reply(picture)
        imagery = opened(server, zoom=21)
        with pytest.raises(NoImagery, match="no imagery here"):
            read(imagery)
        assert any("same picture for different places" in note for note in imagery.notes)

    def test_a_missing_tile_among_others(self, scene: Scene, server: ScriptedServer) -> None:
        scene.faults[0] = Reply(b"", 404)
        chip = read(opened(server))
        assert 0 < chip.valid.mean() < 1


class TestFailures:
    @pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
    def test_overload_is_unavailable(
        self, scene: Scene, server: ScriptedServer, status: int
    ) -> None:
        scene.always = lambda _: Reply(b"busy", status)
        with pytest.raises(ImageryUnavailable, match=rf"error {status}"):
            read(opened(server))

    def test_a_hiccup_is_retried(self, scene: Scene, server: ScriptedServer) -> None:
        good = encode(np.random.default_rng(0).integers(0, 255, (3, 256, 256), dtype=np.uint8))
        scene.faults |= {0: Reply(b"", 503), 1: Reply(status=0), 2: Reply(good[: len(good) // 2])}
        assert read(opened(server)).valid.all()

    @pytest.mark.parametrize("driver", ["PNG", "JPEG"])
    def test_truncated_images_are_unavailable(
        self, scene: Scene, server: ScriptedServer, driver: str
    ) -> None:
        good = encode(np.full((3, 256, 256), 9, np.uint8), driver)
        scene.always = lambda _: Reply(good[:-20])
        with pytest.raises(ImageryUnavailable, match="truncated"):
            read(opened(server))

    @pytest.mark.parametrize(
        ("body", "status", "text"),
        [
            (EXCEPTION, 200, r"an XML error \(Layer foo is not defined\)"),
            (b"<html><head><title>Maintenance</title></head>", 200, r"HTML page \(Maintenance\)"),
            (b'{"message": "Bad zoom"}', 400, r"HTTP 400 with no image but text.*Bad zoom"),
            (b"Unauthorized", 401, r"error 401 \(Unauthorized\): the server requires a key"),
        ],
        ids=["exception", "page", "json", "401"],
    )
    def test_an_error_is_shown_with_its_text(
        self, scene: Scene, server: ScriptedServer, body: bytes, status: int, text: str
    ) -> None:
        scene.always = lambda _: Reply(body, status)
        with pytest.raises(ImageryError, match=text) as caught:
            read(opened(server))
        assert not isinstance(caught.value, ImageryUnavailable)

    def test_an_error_after_good_tiles_fails_only_its_lots(
        self, scene: Scene, server: ScriptedServer
    ) -> None:
        scene.faults[1] = Reply(EXCEPTION)
        with pytest.raises(ImageryUnavailable, match="Layer foo"):
            read(opened(server))

    def test_a_wms_names_what_is_wrong(self, server: ScriptedServer) -> None:
        with pytest.raises(ImageryError, match="Layer foo is not defined"):
            read(opened(server, "wms", layers="foo"))

    def test_a_wrong_tile_size_says_what_to_write(self, server: ScriptedServer) -> None:
        url = f"{server.address}/big/{{z}}/{{x}}/{{y}}.png"
        with pytest.raises(ImageryError, match="set `tile_px: 512`"):
            read(opened(server, url=url))
        assert read(opened(server, url=url, tile_px=512)).valid.all()

    @pytest.mark.parametrize(
        ("keys", "text"),
        [
            ({"layers": "foo"}, "set `layers:`.*one of ortho; there is no foo"),
            ({"matrix_set": "foo"}, "set `matrix_set:`.*one of mercator, degrees"),
            ({"zoom": 24}, "no tile matrix for `zoom: 24`; set it to 0 to 20"),
        ],
    )
    def test_a_wmts_lists_what_it_has(
        self, server: ScriptedServer, keys: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(ImageryError, match=text):
            read(opened(server, "wmts", **keys))

    def test_no_capabilities(self, scene: Scene, server: ScriptedServer) -> None:
        scene.always = lambda _: Reply(b"<html><title>Login</title></html>")
        with pytest.raises(ImageryError, match=r"no WMTS capabilities \(Login\)"):
            read(opened(server, "wmts"))

    def test_a_private_address_is_refused(self, server: ScriptedServer) -> None:
        keys = {**KINDS["xyz"], "licence": "x"}
        keys["url"] = keys["url"].replace("{at}", server.address)
        with pytest.raises(ImageryError, match="not a public address"):
            read(open_imagery(ImageryEntry.model_validate(keys)))
        assert server.calls == []


class TestToken:
    KEYS: ClassVar = {"url": "{at}/xyz/{z}/{x}/{y}.png?key={token}", "token": {"env": "TILE_KEY"}}

    def test_is_sent_and_never_shown(
        self, scene: Scene, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILE_KEY", "hunter2secret")
        chip = read(opened(server, **self.KEYS))
        assert {call.query["key"] for call in server.calls} == {"hunter2secret"}
        assert "hunter2secret" not in repr(chip.sources)

        def refuse(call: Call) -> Reply:
            return Reply(f"bad key {call.query['key']}".encode(), 403)

        scene.always = refuse
        with pytest.raises(ImageryError, match="403") as caught:
            read(opened(server, **self.KEYS))
        assert "hunter2secret" not in str(caught.value)

    def test_a_missing_variable_is_named(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TILE_KEY", raising=False)
        with pytest.raises(ImageryError, match="variable TILE_KEY, which is not set"):
            opened(server, **self.KEYS)


def test_the_licence_is_noted(server: ScriptedServer) -> None:
    imagery = opened(server, licence="CC BY 4.0, Example County")
    assert any("CC BY 4.0, Example County" in note for note in imagery.notes)


def test_opening_sends_no_request(server: ScriptedServer) -> None:
    for kind in KINDS:
        opened(server, kind)
    assert server.calls == []


def test_palettes_and_grey(scene: Scene, server: ScriptedServer) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (1, 256, 256), dtype=np.uint8)
    with_alpha = np.concatenate([grey, np.full_like(grey, 255)])
    for picture in (grey, with_alpha):
        reply = Reply(encode(picture))
        scene.always = lambda _, reply=reply: reply  # type: ignore[misc]
        chip = read(opened(server, zoom=17))
        assert chip.valid.all()
        assert (chip.pixels[0] == chip.pixels[2]).all()


def test_a_quadkey() -> None:
    """The example of Bing's documentation."""
    assert quadkey(3, TileIndex(3, 5)) == "213"


def test_a_chip_of_too_many_tiles_is_refused(server: ScriptedServer) -> None:
    imagery = opened(server, zoom=24)
    with pytest.raises(ImageryError, match="set a smaller `zoom:`"):
        imagery.read(PixelGrid("EPSG:32616", 1.0), PixelWindow(500_000, -3_880_000, 900, 900))


MISTAKES = [
    ({"url": "https://t.org/{z}/{x}/{y}.png", "zoom": 19}, "'licence' is missing"),
    ({"url": "https://t.org/{z}/{x}/{y}.png", "licence": "x"}, "'zoom' is missing"),
    ({"url": "https://t.org/{z}/{x}.png", "licence": "x", "zoom": 1}, "write a URL like"),
    ({"url": "https://t.org/{z}/{x}/{y}/{foo}", "licence": "x", "zoom": 1}, "{foo} is not known"),
    ({"url": "https://t.org/wms", "licence": "x"}, "'layers' is missing"),
    ({"url": "https://t.org/wms?key=abc", "licence": "x", "layers": "a"}, "contains a secret"),
    ({"url": "https://mt1.google.com/vt?x={x}&y={y}&z={z}", "zoom": 9, "licence": "x"}, "Google's"),
    ({"url": "https://t.org/rest/services/A/MapServer"}, "/MapServer/tile/{z}/{y}/{x}"),
    (
        {"url": "https://t.org/{q}", "zoom": 1, "licence": "x", "crs": "EPSG:2274"},
        "'crs' has",
    ),
    ({"path": "a.tif", "zoom": 3}, "'zoom' has no meaning"),
    ({"url": "https://t.org/wms?k={token}", "layers": "a", "licence": "x"}, "belong together"),
]


@pytest.mark.parametrize(("keys", "text"), MISTAKES, ids=[text for _, text in MISTAKES])
def test_a_mistake_in_the_entry_says_what_to_write(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"imagery|Value|'") as caught:
        ImageryEntry.model_validate(keys)
    assert text in str(caught.value)


def test_open_tiles_is_what_open_imagery_uses() -> None:
    entry = ImageryEntry(url="https://t.org/{z}/{x}/{y}.png", zoom=19, licence="x")
    assert isinstance(open_imagery(entry), type(open_tiles(entry)))

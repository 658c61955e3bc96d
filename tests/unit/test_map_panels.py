"""The report's map: neighbours share a panel, far ones have their own, imagery lies under them."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import shapely
from affine import Affine
from PIL import Image
from pyproj import CRS

from detection.chip import Chip
from detection.clip import LotLines
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from pipeline.report.key_map import key_map
from pipeline.report.map_imagery import (
    MAX_BYTES,
    MapImagery,
    imagery_of_run,
    map_imagery,
    terms_of,
)
from pipeline.report.map_panels import MAX_PANEL_M, MAX_PANELS, choose_panels
from pipeline.report.map_svg import map_drawing
from pipeline.report.palette import NO_IMAGERY_COLOUR
from pipeline.report.scale_bar import width_m
from pipeline.store.runs.map_data import MapDetection, PlacedLot, RunMap

LOT = 0.0002  # degrees; about 20 m


def lot(name: str, x: float, y: float, state: str = "done") -> PlacedLot:
    return PlacedLot(name, state, "", "lot", shapely.box(x, y, x + LOT, y + LOT))


def run_map(*lots: PlacedLot, detections: tuple[MapDetection, ...] = ()) -> RunMap:
    bounds = shapely.total_bounds([each.geometry for each in lots])
    count = len(lots)
    return RunMap(tuple(bounds), count, count, count, lots, detections)


def street(count: int, x: float = -90.0, y: float = 35.0) -> list[PlacedLot]:
    return [lot(f"{x}-{y}-{i}", x + i * LOT, y) for i in range(count)]


class Imagery:
    """Red imagery west of a longitude, on a grid of UTM zone 15."""

    def __init__(self, error: Exception | None = None, east: float = 0.0) -> None:
        self.error = error
        self.east = east
        self.reads: list[PixelWindow] = []

    def grid_for(self, _: shapely.Geometry) -> PixelGrid:
        if self.error is not None:
            raise self.error
        return PixelGrid("EPSG:32615", 0.6)

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        self.reads.append(window)
        shape = (3, window.height, window.width)
        pixels = np.zeros(shape, dtype=np.uint8)
        pixels[0] = 200
        transform = Affine(*grid.transform(window)[:6])
        edge = grid.from_lonlat(shapely.Point(self.east, 35)).x
        valid = np.zeros(shape[1:], dtype=bool)
        valid[:, : max(0, round((edge - transform.c) / transform.a))] = True
        return Chip(pixels, valid, transform, CRS(grid.crs), ("red", "green", "blue"))


def test_one_property_far_off_does_not_shrink_the_others() -> None:
    near = street(20)
    far = lot("far", -90.3, 35.3)
    panels = choose_panels([far, *near])
    assert [len(panel.lots) for panel in panels] == [20, 1]
    assert width_m(panels[0].bounds) < 500
    assert width_m(panels[1].bounds) < 150
    drawing = map_drawing(run_map(far, *near), 21)
    assert drawing.lots is not None
    assert [panel.caption[:14] for panel in drawing.lots.panels] == [
        "1: 20 properti", "2: 1 property ",
    ]  # fmt: skip
    assert "2: 1 property at 35.3001° N, 90.2999° W" in drawing.lots.panels[1].caption
    assert {panel.scale_bar.labels[0].text for panel in drawing.lots.panels} == {"100 m", "20 m"}
    # A lot of 20 m is many drawing units wide in both.
    for panel in drawing.lots.panels:
        xs = [float(x) for x in re.findall(r"[ML](\S+) ", panel.paths[0].d)]
        assert max(xs) - min(xs) > 25
    assert drawing.lots.key is not None
    assert {label.text for label in drawing.lots.key.labels} == {"1", "2"}


def test_a_single_cluster_has_no_key_map() -> None:
    drawing = map_drawing(run_map(*street(5)), 5)
    assert drawing.lots is not None
    assert drawing.lots.key is None
    assert [panel.caption for panel in drawing.lots.panels] == [""]


def test_a_large_neighbourhood_is_split_and_each_lot_is_drawn_once() -> None:
    lots = [each for row in range(15) for each in street(150, y=35 + row * 0.002)]
    panels = choose_panels(lots)
    assert sum(len(panel.lots) for panel in panels) == len(lots)
    assert len(panels) <= MAX_PANELS
    assert all(width_m(panel.bounds) < 1.5 * MAX_PANEL_M for panel in panels)


def test_places_beyond_the_maximum_are_on_the_key_map_and_counted() -> None:
    lots = [lot(f"p{i}", -90 + 0.05 * (i % 6), 35 + 0.05 * (i // 6)) for i in range(30)]
    drawing = map_drawing(run_map(*lots), 30)
    assert drawing.lots is not None
    assert len(drawing.lots.panels) == MAX_PANELS
    assert "Only on the key map, because 24 panels are the maximum: 6." in drawing.caption
    assert drawing.lots.key is not None
    assert len(drawing.lots.key.dots) == 30


def test_close_frames_of_the_key_map_share_a_label() -> None:
    lots = [lot(f"p{i}", -90 + 0.004 * i, 35) for i in range(3)] + [lot("far", -89, 36)]
    key = key_map(lots, choose_panels(lots))
    assert sorted(label.text for label in key.labels) == ["1", "2\N{EN DASH}4"]


def test_across_longitude_180_nothing_is_as_wide_as_the_world() -> None:
    # As map data gives it: coordinates west of 180 continue eastwards.
    lots = [lot("west", 179.9997, -17), lot("east", 180.0, -17)]
    drawing = map_drawing(run_map(*lots), 2)
    assert drawing.lots is not None
    [panel] = drawing.lots.panels
    assert panel.scale_bar.labels[0].text == "20 m"


def test_detections_are_drawn_in_the_panel_of_their_property() -> None:
    here, far = lot("here", -90, 35), lot("far", -90.3, 35)
    found = MapDetection("lawn", here.geometry, "here")
    drawing = map_drawing(run_map(here, far, detections=(found,)), 2)
    assert drawing.lots is not None
    labels = [[path.title for path in panel.paths] for panel in drawing.lots.panels]
    assert sorted("lawn" in titles for titles in labels) == [False, True]


def decoded(uri: str) -> Image.Image:
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_imagery_lies_under_the_lots_and_missing_pixels_are_plain_ground() -> None:
    lots = street(4)
    source = Imagery(east=-90.0 + 2 * LOT)
    drawing = map_drawing(run_map(*lots), 4, MapImagery(source, credit="Imagery: somebody."))
    assert drawing.lots is not None
    [panel] = drawing.lots.panels
    picture = decoded(panel.picture)
    assert max(picture.size) <= 1_200
    assert picture.width / picture.height == pytest.approx(panel.width / panel.picture_height)
    # The second lot is imaged, the third is not: looked up where its path is drawn.
    colours = []
    for path in (panel.paths[1], panel.paths[2]):
        points = [tuple(map(float, pair)) for pair in re.findall(r"[ML](\S+) ([\d.]+)", path.d)]
        x, y = np.mean(points, axis=0) * picture.width / panel.width
        colours.append(picture.convert("RGB").getpixel((int(x), int(y))))
    ground = tuple(int(NO_IMAGERY_COLOUR[i : i + 2], 16) for i in (1, 3, 5))
    np.testing.assert_allclose(colours, [(200, 0, 0), ground], atol=12)
    assert "Plain grey ground has no imagery. Imagery: somebody." in drawing.caption


def test_lots_are_drawn_where_they_were_measured() -> None:
    lots = street(1)
    plain, shifted = (
        map_drawing(run_map(*lots), 1, MapImagery(Imagery(east=0), LotLines(offset)))
        for offset in ((0.0, 0.0), (10.0, 0.0))
    )
    starts = []
    for drawing in (plain, shifted):
        assert drawing.lots is not None
        starts.append(float(re.findall(r"M(\S+) ", drawing.lots.panels[0].paths[0].d)[0]))
    metres = (starts[1] - starts[0]) / 1000 * 82.8  # the panel is at least 80 m wide
    assert metres == pytest.approx(10, rel=0.1)


def test_a_picture_is_read_coarse_enough_for_a_page() -> None:
    source = Imagery(east=0)
    lots = [each for i in range(6) for each in street(60, x=-90 + i * 0.05)]
    drawing = map_drawing(run_map(*lots), len(lots), MapImagery(source))
    assert drawing.lots is not None
    assert len(source.reads) == len(drawing.lots.panels) == 6
    assert all(max(window.width, window.height) <= 1_200 for window in source.reads)
    assert sum(len(panel.picture) for panel in drawing.lots.panels) < 1.4 * MAX_BYTES


@pytest.mark.parametrize(
    ("error", "calls", "said"),
    [
        (NoImagery("none there", "missing"), 2, ""),
        (ImageryUnavailable("timeout"), 1, "The imagery server did not respond: timeout"),
        (ImageryError("damaged"), 1, "The imagery cannot be read: damaged"),
    ],
)
def test_without_imagery_the_lots_are_drawn_on_plain_ground(
    error: Exception, calls: int, said: str
) -> None:
    source = Imagery(error)
    asked: list[int] = []
    grid_for = source.grid_for
    source.grid_for = lambda geometry: asked.append(1) or grid_for(geometry)  # type: ignore[method-assign]
    two = run_map(lot("a", -90, 35), lot("b", -91, 35))
    drawing = map_drawing(two, 2, MapImagery(source, credit="Imagery: somebody."))
    assert drawing.lots is not None
    assert [panel.picture for panel in drawing.lots.panels] == ["", ""]
    assert len(asked) == calls
    assert said in drawing.caption
    assert "somebody" not in drawing.caption


@pytest.mark.parametrize(
    ("entry", "allowed", "note"),
    [
        ({"path": "/tiles/*.tif"}, True, ""),
        ({"url": "https://imagery.nationalmap.gov/arcgis/x/ImageServer"}, True, "NAIP"),
        ({"path": "s3://naip-analytic/tn/*.tif"}, True, "NAIP"),
        ({"path": "s3://customer-bucket/*.tif"}, False, "customer-bucket is not embedded"),
        ({"url": "https://gis.example.gov/ImageServer"}, False, "gis.example.gov is not embedded"),
        ({"url": "https://nationalmap.gov.example.com/x"}, False, "is not embedded"),
        ({"url": "https://t.example/{z}/{x}/{y}", "licence": "CC BY 4.0"}, False, "CC BY 4.0."),
        ({}, False, "is not embedded"),
        ({"stac": "/catalogs/own.json"}, False, "STAC items is not embedded"),
        (
            {"stac": "https://planetarycomputer.microsoft.com/api/stac/v1/collections/naip/items/x"},
            True, "NAIP",
        ),
        ({"stac": "https://stac.example/collections/naip/items/x"}, False, "stac.example"),
    ],
)  # fmt: skip
def test_only_imagery_whose_terms_allow_copies_is_embedded(
    entry: dict[str, str], allowed: bool, note: str
) -> None:
    assert terms_of(entry)[0] == allowed
    assert note in terms_of(entry)[1]
    source = Imagery(east=0)
    drawing = map_drawing(run_map(*street(2)), 2, map_imagery(entry, source))
    assert bool(source.reads) == allowed
    assert note in drawing.caption


def test_an_earlier_run_uses_local_files_only() -> None:
    for settings, said in (
        ({"imagery": {"path": "/nowhere/*.tif"}}, "The imagery cannot be read here: "),
        ({"imagery": {"url": "https://imagery.nationalmap.gov/x/ImageServer"}}, "when the batch"),
        ({"imagery": {"url": "https://gis.example.gov/ImageServer"}}, "is not embedded"),
        ({}, "is not embedded"),
    ):
        imagery = imagery_of_run(settings)
        assert said in imagery.problem
        assert imagery.panel((-90, 35, -89.99, 35.01), 1, is_large=True) is None

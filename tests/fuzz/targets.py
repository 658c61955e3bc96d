"""The untrusted readers: how each reads an input, and which errors it may raise.

A reader gives a sound result or an error of its package, with a message; anything else is a fault:
another exception, a crash, a hang, or a value that is not sound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from fuzz import seeds
from fuzz.edits import (
    damaged,
    damaged_bytes,
    damaged_cells,
    damaged_json,
    damaged_members,
    damaged_rows,
    damaged_safetensors,
    damaged_text,
)
from fuzz.parquet_seeds import geoparquets, odd_geoparquet
from hypothesis import strategies as st
from rasters import LEFT, TOP, pixel_grid
from shapely import Point

from detection.errors import DetectionError
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.remote.stac import load_json, read_assets
from detection.imagery.tiles.tile_image import parse_tile
from detection.imagery.tiles.wmts import WmtsTiles
from detection.registry.county import DetectionCounty
from detection.segmenters.sam3.weights import load_weights
from parcels import County, load_registry
from parcels.addresses.street_address import parse_address
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.exchange import HttpResponse
from parcels.arcgis.http.responses import parse_response
from parcels.errors import ParcelsError
from parcels.files import FileSource
from parcels.geocode.census import CensusGeocoder
from parcels.geocode.geocode_result import AddressUnknown
from parcels.geocode.geocode_server import GeocodeServer
from parcels.parcel_source import ParcelRow, QueryResult
from pipeline.errors import PipelineError
from pipeline.properties_csv.problems import BadRow
from pipeline.properties_csv.read import read_rows
from pipeline.settings import load_settings

URL = "http://127.0.0.1:9/arcgis/rest/services/P/MapServer"
ADDRESS = parse_address("1 Elm St, Memphis, TN 38103")
ERRORS = (ParcelsError, DetectionError, PipelineError)


@dataclass(frozen=True, slots=True)
class Target:
    """An untrusted reader.

    Attributes:
        name: a file name.
        suffix: of the file in which an input is stored.
        inputs: damaged inputs.
        read: reads the input in this file; raises one of `ERRORS` if it is refused.
        sound: the inputs that are damaged; each must be accepted.
    """

    name: str
    suffix: str
    sound: Sequence[bytes]
    inputs: st.SearchStrategy[bytes]
    read: Callable[[Path], None]


def is_refused(target: Target, path: Path) -> bool:
    """Whether the reader refuses an input, with a message; what it accepts is sound."""
    try:
        target.read(path)
    except ERRORS as error:
        if not str(error).strip():
            raise AssertionError("an error without a message") from error
        return True
    return False


def _read_parcels(path: Path) -> None:
    crs = "EPSG:4326" if path.suffix == ".csv" else None
    county = County.model_validate({"key": "fuzz", "path": str(path), "crs": crs})
    source = FileSource(county)
    source.check()
    rows = list(source.all_rows())
    extent = source.extent()
    assert extent is not None
    _check_rows(rows)
    here = Point(seeds.WEST + 0.0005, seeds.SOUTH + 0.0005)
    _check_results([*source.at_points([here]), *source.near_points([here], 50.0)])
    ids = [row.parcel_id for row in rows if row.parcel_id][:2]
    try:
        _check_results(source.with_ids(ids or ["001"]))
    except ParcelsError:
        return


def _check_rows(rows: Sequence[ParcelRow]) -> None:
    for row in rows:
        if row.parcel_id is not None:
            assert "\0" not in row.parcel_id
            row.parcel_id.encode()  # a lone surrogate cannot be stored
        if row.geometry is not None:
            assert row.geometry.geom_type == "MultiPolygon"
            assert not row.geometry.is_empty
            assert row.geometry.is_valid
            west, south, east, north = row.geometry.bounds
            assert -540 <= west <= east <= 540, row.geometry.bounds
            assert -90 <= south <= north <= 90, row.geometry.bounds


def _check_results(results: Sequence[QueryResult | ParcelsError]) -> None:
    for result in results:
        if isinstance(result, ParcelsError):
            assert str(result)
        else:
            _check_rows(result.rows)


class _Answers(ArcGISClient):
    """A client whose server sends these documents."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        super().__init__()
        self._documents = documents

    def get_json(self, url: str, params: Mapping[str, str], **_: float) -> dict[str, Any]:
        kinds = {"returnIdsOnly": "ids", "returnCountOnly": "count", "outStatistics": "top"}
        kind = next((kinds[name] for name in params if name in kinds), "rows")
        name = url.rpartition("/")[2]
        kind = kind if name == "query" else {"geocodeAddresses": "batch", "findAddressCandidates":
                                             "candidates"}.get(name, "layer")  # fmt: skip
        return parse_response(url, 200, json.dumps(self._documents.get(kind)).encode())


def _documents(path: Path) -> Mapping[str, Any]:
    try:
        documents = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return documents if isinstance(documents, dict) else {}


def _read_arcgis(path: Path) -> None:
    county = County.model_validate({"key": "fuzz", "url": URL, "layer": 0})
    source = ArcGISSource(county, _Answers(_documents(path)))
    here = Point(seeds.WEST + 0.0005, seeds.SOUTH + 0.0005)
    _check_results([*source.at_points([here, here]), *source.with_ids(["001"])])
    source.layer_version()
    for page in source.harvest():
        _check_rows(page.rows)


def _read_geocoder(path: Path) -> None:
    server = GeocodeServer(URL, _Answers(_documents(path)))
    for result in server.locate([ADDRESS, ADDRESS]):
        if not isinstance(result, ParcelsError | AddressUnknown):
            _check_point(getattr(result, "longitude", 0.0), getattr(result, "latitude", 0.0))


def _check_point(longitude: float, latitude: float) -> None:
    assert -180 <= longitude <= 180  # not for NaN either
    assert -90 <= latitude <= 90


class _Body(ArcGISClient):
    """A client whose server sends these bytes."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def post_file(self, *args: Any, **_: Any) -> Any:
        return args[4](self._body)


def _read_census(path: Path) -> None:
    for result in CensusGeocoder(_Body(path.read_bytes())).locate([ADDRESS]):
        if not isinstance(result, ParcelsError | AddressUnknown):
            _check_point(getattr(result, "longitude", 0.0), getattr(result, "latitude", 0.0))


def _read_properties(path: Path) -> None:
    for row in read_rows(path):
        if isinstance(row, BadRow):
            assert row.problem
        else:
            prop = row.prop
            assert prop.property_id
            assert "\0" not in prop.property_id
            if prop.longitude is not None and prop.latitude is not None:
                _check_point(prop.longitude, prop.latitude)


def _read_imagery(path: Path) -> None:
    mosaic = GeoTiffMosaic(str(path))
    place = pixel_grid().to_lonlat(shapely.box(LEFT + 2, TOP - 18, LEFT + 14, TOP - 2))
    grid = mosaic.grid_for(place)
    window = grid.window_from_bounds(grid.from_lonlat(place).bounds)
    if window.width * window.height > 10**6:
        return
    chip = mosaic.read(grid, window)
    assert chip.pixels.shape[1:] == chip.valid.shape == (window.height, window.width)
    assert chip.valid.any()


def _read_tile(path: Path) -> None:
    found = parse_tile("tile", HttpResponse(200, path.read_bytes()), 64, 64)
    if found is not None:
        assert found.pixels.shape == (3, 64, 64)
        assert found.valid.shape == (64, 64)


class _OneResponse(ByteClient):
    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def get(self, _: str, parse: Callable[[HttpResponse], Any], **__: Any) -> Any:
        return parse(HttpResponse(200, self._body))


def _read_wmts(path: Path) -> None:
    tiles = WmtsTiles("http://127.0.0.1:9/wmts", 0, _OneResponse(path.read_bytes()))
    grid = tiles.grid_at(35.0)
    assert 0 < grid.pixel_size < math.inf


def _read_stac(path: Path) -> None:
    content = path.read_bytes()
    for asset in read_assets("http://127.0.0.1:9/items.json", lambda at: load_json(content, at)):
        assert asset.address


def _read_registry(path: Path) -> None:
    load_registry(path, DetectionCounty)


def _read_settings(path: Path) -> None:
    load_settings({"LOTLINE_CONFIG": str(path)})


def _read_weights(path: Path) -> None:
    (path.parent / "config.json").write_bytes(seeds.network_config())
    load_weights(str(path))


def _read_network_config(path: Path) -> None:
    folder = path.parent / "network"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(seeds.weights())
    (folder / "config.json").write_bytes(path.read_bytes())
    load_weights(str(folder))


def _parcels(name: str, suffix: str, sound: Sequence[bytes], *ways: Any) -> Target:
    return Target(name, suffix, sound, damaged(sound, *ways), _read_parcels)


def _targets() -> list[Target]:
    geojson = seeds.parcel_file(".geojson", "GeoJSON")
    esri = json.dumps(seeds.esri_rows()).encode()
    geotiffs = [seeds.geotiff(kind) for kind in ("rgb", "tiled", "mask", "deep", "jpeg")]
    tiles = [seeds.tile(driver) for driver in ("PNG", "JPEG", "WEBP")]
    return [
        _parcels("geojson", ".geojson", [geojson], damaged_json, damaged_bytes),
        _parcels("geojson_lines", ".geojsonl", [seeds.parcel_file(".geojsonl", "GeoJSONSeq")],
                 damaged_bytes, damaged_text),
        _parcels("esri_json", ".json", [esri], damaged_json, damaged_bytes),
        _parcels("wkt_csv", ".csv", [seeds.parcel_file(".csv")], damaged_cells, damaged_bytes),
        _parcels("kml", ".kml", [seeds.parcel_file(".kml", "KML")], damaged_text, damaged_bytes),
        _parcels("gml", ".gml", [seeds.parcel_file(".gml", "GML")], damaged_text, damaged_bytes),
        _parcels("shapefile_zip", ".zip", [seeds.zipped_shapefile()],
                 damaged_members, damaged_bytes),
        _parcels("geopackage", ".gpkg", [seeds.parcel_file(".gpkg", "GPKG")],
                 damaged_rows, damaged_bytes),
        _parcels("flatgeobuf", ".fgb", [seeds.parcel_file(".fgb", "FlatGeobuf")], damaged_bytes),
        _parcels("geoparquet", ".parquet", geoparquets(), damaged_bytes, odd_geoparquet),
        Target("arcgis", ".json", [seeds.arcgis_exchange()],
               damaged([seeds.arcgis_exchange()], damaged_json), _read_arcgis),
        Target("geocoder", ".json", [seeds.geocoder_exchange()],
               damaged([seeds.geocoder_exchange()], damaged_json), _read_geocoder),
        Target("census", ".csv", [seeds.CENSUS],
               damaged([seeds.CENSUS], damaged_cells, damaged_bytes), _read_census),
        Target("properties_csv", ".csv", [seeds.PROPERTIES],
               damaged([seeds.PROPERTIES], damaged_cells, damaged_bytes), _read_properties),
        Target("geotiff", ".tif", geotiffs, damaged(geotiffs, damaged_bytes), _read_imagery),
        Target("tile", ".png", tiles, damaged(tiles, damaged_bytes), _read_tile),
        Target("wmts", ".xml", [seeds.WMTS],
               damaged([seeds.WMTS], damaged_text, damaged_bytes), _read_wmts),
        Target("stac", ".json", [seeds.STAC], damaged([seeds.STAC], damaged_json), _read_stac),
        Target("registry", ".yaml", [seeds.REGISTRY],
               damaged([seeds.REGISTRY], damaged_text), _read_registry),
        Target("settings", ".toml", [seeds.SETTINGS],
               damaged([seeds.SETTINGS], damaged_text), _read_settings),
        Target("weights", ".safetensors", [seeds.weights()],
               damaged([seeds.weights()], damaged_safetensors), _read_weights),
        Target("network_config", ".json", [seeds.network_config()],
               damaged([seeds.network_config()], damaged_json), _read_network_config),
    ]  # fmt: skip


# Every untrusted reader, by name.
TARGETS = {target.name: target for target in _targets()}

"""Small sound inputs of each untrusted reader; synthetic, written by the formats' own libraries."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from rasterio.enums import ColorInterp
from rasters import noise, write_tiff
from servers.tiles import encode
from shapely import MultiPolygon, Polygon, box

from detection.segmenters import sam3

TINY = Path(sam3.__file__).parent / "tiny"
WEST, SOUTH = -90.0, 35.0
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def lots() -> gpd.GeoDataFrame:
    """Four lots: two squares, one with a hole, and one of two parts."""

    def square(number: int) -> Polygon:
        return box(WEST + number * 0.001, SOUTH, WEST + number * 0.001 + 0.0008, SOUTH + 0.001)

    hole = Polygon(
        square(2).exterior,
        [box(WEST + 0.0022, SOUTH + 0.0002, WEST + 0.0024, SOUTH + 0.0004).exterior],
    )
    shapes = [square(0), square(1), hole, MultiPolygon([square(3), square(4)])]
    columns: dict[str, Any] = {
        "apn": ["001", "002", "003", "004"],
        "number": [1, 2, 3, 4],
        "area": [1.5, 2.5, float("nan"), 4.0],
        "address": ["1 Elm St", "2 Elm St", "", None],
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326")


@cache
def parcel_file(suffix: str, driver: str | None = None, **options: object) -> bytes:
    """A parcel file of a format, as its driver writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"lots{suffix}"
        if suffix == ".parquet":
            lots().to_parquet(path, **options)  # type: ignore[arg-type]
        elif suffix == ".csv":
            frame = lots()
            frame.assign(wkt=frame.geometry.to_wkt()).drop(columns="geometry").to_csv(
                path, index=False
            )
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # names of columns, types of KML
                lots().to_file(path, driver=driver, **options)
        return path.read_bytes()


@cache
def zipped_shapefile(crs: str = "EPSG:4326") -> bytes:
    """A zip with a shapefile, stored without compression: its bytes are those of the files."""
    with tempfile.TemporaryDirectory() as folder:
        lots().to_crs(crs).to_file(Path(folder) / "lots.shp")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)
        return packed.getvalue()


def feature_layer() -> dict[str, Any]:
    """The metadata of a layer of an ArcGIS server."""
    degrees = {"wkid": 4326, "latestWkid": 4326}
    return {
        "name": "Parcels",
        "type": "Feature Layer",
        "geometryType": "esriGeometryPolygon",
        "capabilities": "Map,Query,Data",
        "maxRecordCount": 2,
        "objectIdField": "OBJECTID",
        "fields": [
            {"name": "OBJECTID", "type": "esriFieldTypeOID", "alias": "id"},
            {"name": "APN", "type": "esriFieldTypeString", "length": 20},
            {"name": "KIND", "type": "esriFieldTypeInteger", "domain": {
                "type": "codedValue", "codedValues": [{"code": 1, "name": "lot"}]}},
        ],
        "extent": {"xmin": -90, "ymin": 35, "xmax": -89, "ymax": 36, "spatialReference": degrees},
        "sourceSpatialReference": degrees,
        "supportsStatistics": True,
        "supportsPagination": True,
        "advancedQueryCapabilities": {"supportsStatistics": True, "supportsPagination": True},
        "editingInfo": {"lastEditDate": 1},
    }  # fmt: skip


def esri_rows() -> dict[str, Any]:
    """A page of rows of that layer; saved to a file, it is Esri JSON."""
    ring = [[-90, 35], [-90, 35.001], [-89.999, 35.001], [-89.999, 35], [-90, 35]]
    curve = [[-89.9, 35], {"c": [[-89.9, 35.001], [-89.8995, 35.0005]]}, [-89.899, 35], [-89.9, 35]]
    return {
        "objectIdFieldName": "OBJECTID",
        "geometryType": "esriGeometryPolygon",
        "spatialReference": {"wkid": 4326},
        "fields": feature_layer()["fields"],
        "features": [
            {"attributes": {"OBJECTID": 1, "APN": "001", "KIND": 1}, "geometry": {"rings": [ring]}},
            {"attributes": {"OBJECTID": 2, "APN": "002", "KIND": None},
             "geometry": {"curveRings": [curve]}},
        ],
        "exceededTransferLimit": False,
    }  # fmt: skip


def arcgis_exchange() -> bytes:
    """What a server sends: its layer, and its answers to each kind of query."""
    document = {
        "layer": feature_layer(),
        "rows": esri_rows(),
        "ids": {"objectIdFieldName": "OBJECTID", "objectIds": [1, 2]},
        "count": {"count": 2},
        "top": {"features": [{"attributes": {"top": 2, "n": 2}}]},
    }
    return json.dumps(document).encode()


def geocoder_exchange() -> bytes:
    """What a GeocodeServer sends: its metadata, and its answers."""
    attributes = {
        "ResultID": 0, "Status": "M", "Score": 100, "Match_addr": "1 Elm St, Memphis, TN, 38103",
        "Addr_type": "PointAddress", "AddNum": "1", "StName": "Elm", "StType": "St",
    }  # fmt: skip
    candidate = {
        "address": attributes["Match_addr"],
        "location": {"x": WEST, "y": SOUTH},
        "score": 100,
        "attributes": attributes,
    }
    second = {**candidate, "attributes": {**attributes, "ResultID": 1}}
    document = {
        "layer": {
            "capabilities": "Geocode,ReverseGeocode",
            "addressFields": [{"name": "Address"}, {"name": "City"}, {"name": "Postal"}],
            "singleLineAddressField": {"name": "SingleLine"},
            "locatorProperties": {"SuggestedBatchSize": "3", "MaxBatchSize": "1000"},
        },
        "batch": {"locations": [candidate, second]},
        "candidates": {"candidates": [candidate]},
    }
    return json.dumps(document).encode()


CENSUS = (
    b'"0","1 Elm St, Memphis, TN, 38103","Match","Exact","1 ELM ST, MEMPHIS, TN, 38103",'
    b'"-90.0,35.0","1","L"\n"1","x","No_Match"\n"2","y","Tie"\n'
)


@cache
def weights() -> bytes:
    """The network that is shipped."""
    return (TINY / "model.safetensors").read_bytes()


@cache
def network_config() -> bytes:
    """Its configuration."""
    return (TINY / "config.json").read_bytes()


@cache
def geotiff(kind: str) -> bytes:
    """A GeoTIFF of three or four bands, or of 16 bit; tiled, or in strips."""
    options: dict[str, Callable[[Path], Path]] = {
        "rgb": lambda path: write_tiff(path, noise(3, 96, 96), colours=RGB),
        "tiled": lambda path: write_tiff(
            path, noise(3, 96, 96), colours=RGB, tiled=True, blockxsize=32, blockysize=32,
            compress="deflate", nodata=0,
        ),
        "mask": lambda path: write_tiff(
            path, noise(3, 64, 64), colours=RGB, mask=np.indices((64, 64)).sum(0) > 20
        ),
        "deep": lambda path: write_tiff(path, noise(4, 64, 64, dtype="uint16"), compress="lzw"),
        "jpeg": lambda path: write_tiff(
            path, noise(3, 64, 64), colours=RGB, compress="jpeg", photometric="ycbcr"
        ),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return options[kind](Path(folder) / "image.tif").read_bytes()


@cache
def tile(driver: str) -> bytes:
    """A tile of 64 x 64 pixels."""
    return encode(noise(4, 64, 64).astype(np.uint8), driver)


PROPERTIES = b"""property_id,longitude,latitude,parcel_id,address,note
a,-90.0001,35.0001,001,"1 Elm St, Memphis, TN 38103",first
b,-90.0002,35.0002,,,second
c,,,003,,
d,,,,"4 Elm St, Memphis, TN 38103",
"""

WMTS = b"""<?xml version="1.0"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<Contents><Layer><ows:Identifier>ortho</ows:Identifier><Format>image/png</Format>
<Style isDefault="true"><ows:Identifier>default</ows:Identifier></Style>
<TileMatrixSetLink><TileMatrixSet>grid</TileMatrixSet></TileMatrixSetLink>
<ResourceURL format="image/png" resourceType="tile"
 template="http://127.0.0.1:9/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"/></Layer>
<TileMatrixSet><ows:Identifier>grid</ows:Identifier>
<ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>
<TileMatrix><ows:Identifier>0</ows:Identifier><ScaleDenominator>559082264.0287178</ScaleDenominator>
<TopLeftCorner>-20037508.34 20037508.34</TopLeftCorner><TileWidth>256</TileWidth>
<TileHeight>256</TileHeight><MatrixWidth>1</MatrixWidth><MatrixHeight>1</MatrixHeight></TileMatrix>
</TileMatrixSet></Contents></Capabilities>
"""

STAC = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "one",
                "properties": {"datetime": "2024-06-01T00:00:00Z", "license": "CC-BY-4.0"},
                "assets": {"image": {
                    "href": "http://127.0.0.1:9/one.tif", "type": "image/tiff",
                    "eo:bands": [{"name": "red"}, {"name": "green"}, {"name": "blue"}]}},
                "links": [],
            }
        ],
        "links": [{"rel": "next", "href": "next.json"}],
    }
).encode()  # fmt: skip

REGISTRY = b"""counties:
  here:
    name: Here
    url: https://gis.example.gov/arcgis/rest/services/Parcels/FeatureServer
    layer: 0
    where: "KIND = 1"
    fields: {parcel_id: APN, address: ADDRESS}
    extent: [-90, 35, -89, 36]
    imagery: {path: "images/*.tif", bands: [red, green, blue], nodata: 0}
    labels: {lawn: {prompt: mowed grass lawn, score_threshold: 0.4}}
"""

SETTINGS = b"""home = "data"
limit = 100
labels = ["lawn"]
engine = "local"
"""

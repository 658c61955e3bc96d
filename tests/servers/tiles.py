"""A tile server on loopback that draws a known scene: XYZ, TMS, quadkeys, WMTS and WMS.

The scene is dark ground with one bright square, known in a metric CRS. Every tile has noise, as
photographs have.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from servers.scripted import Call, Reply, ScriptedServer, scripted

HALF_M = math.pi * 6378137.0
EXCEPTION = (
    b"<?xml version='1.0'?><ServiceExceptionReport version='1.3.0'><ServiceException "
    b"code='LayerNotDefined'>Layer foo is not defined</ServiceException></ServiceExceptionReport>"
)


@dataclass
class Scene:
    """Bright inside (left, bottom, right, top) of a CRS, transparent west of `covered_from`."""

    square: tuple[float, float, float, float]
    crs: str
    covered_from: float = -math.inf
    format: str = "PNG"
    faults: dict[int, Reply] = field(default_factory=dict)
    always: Callable[[Call], Reply | None] = lambda _: None

    def draw(self, bounds: tuple[float, float, float, float], size: tuple[int, int],
             crs: str) -> bytes:  # fmt: skip
        """The picture of (left, bottom, right, top) in a CRS, (width, height) pixels."""
        left, bottom, right, top = bounds
        width, height = size
        xs = left + (np.arange(width) + 0.5) * (right - left) / width
        ys = top - (np.arange(height) + 0.5) * (top - bottom) / height
        x, y = Transformer.from_crs(crs, self.crs, always_xy=True).transform(*np.meshgrid(xs, ys))
        inside = (x >= self.square[0]) & (x < self.square[2])
        inside &= (y >= self.square[1]) & (y < self.square[3])
        noise = np.random.default_rng(abs(hash(bounds)) % 2**32).integers(0, 20, (height, width))
        grey = np.where(inside, 200, 30) + noise
        alpha = np.where(x >= self.covered_from, 255, 0)
        return encode(np.stack([grey, grey, grey, alpha]).astype(np.uint8), self.format)


def encode(pixels: NDArray[np.uint8], driver: str = "PNG", **profile: object) -> bytes:
    """An image file of pixels (bands, height, width); JPEG without alpha."""
    pixels = pixels[:3] if driver == "JPEG" else pixels
    count, height, width = pixels.shape
    options = {"QUALITY": 95} if driver == "JPEG" else {}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver=driver, count=count, height=height, width=width, dtype="uint8",
                         **options, **profile) as dataset:  # fmt: skip
            dataset.write(pixels)
        return bytes(memory.read())


def tile_bounds(zoom: int, column: int, row: int) -> tuple[float, float, float, float]:
    side = 2 * HALF_M / 2**zoom
    left, top = -HALF_M + column * side, HALF_M - row * side
    return (left, top - side, left + side, top)


@contextmanager
def tile_server(scene: Scene) -> Iterator[ScriptedServer]:
    """Serves the scene; faults of the n-th call come first."""
    count = iter(range(10**9))

    def reply(call: Call) -> Reply:
        fault = scene.faults.get(next(count)) or scene.always(call)
        if fault is not None:
            return fault
        kind, *parts = call.path.strip("/").split("/")
        if kind == "wms":
            return Reply(wms(scene, call))
        if kind == "WMTSCapabilities.xml":
            return Reply(CAPABILITIES.replace("HOST", call.headers["Host"]).encode())
        return Reply(xyz(scene, kind, parts))

    with scripted(reply) as server:
        yield server


def xyz(scene: Scene, kind: str, parts: list[str]) -> bytes:
    """/xyz/z/x/y, /tms/z/x/y, /big/z/x/y@2x, /quad/q, /wmts/set/z/row/column."""
    name = parts[-1].split(".")[0].removesuffix("@2x")
    if kind == "quad":
        zoom = len(name)
        column = sum((int(digit) & 1) << (zoom - 1 - i) for i, digit in enumerate(name))
        row = sum((int(digit) >> 1) << (zoom - 1 - i) for i, digit in enumerate(name))
    elif kind == "wmts":
        zoom, row, column = int(parts[-3]), int(parts[-2]), int(name)
    else:
        zoom, column, row = int(parts[0]), int(parts[1]), int(name)
        row = 2**zoom - 1 - row if kind == "tms" else row
    if kind == "wmts" and parts[0] == "degrees":
        side = 360 / 2 ** (zoom + 1)
        left, top = -180 + column * side, 90 - row * side
        return scene.draw((left, top - side, left + side, top), (256, 256), "OGC:CRS84")
    px = 512 if kind == "big" else 256
    return scene.draw(tile_bounds(zoom, column, row), (px, px), "EPSG:3857")


def wms(scene: Scene, call: Call) -> bytes:
    query = {name.lower(): value for name, value in call.query.items()}
    if query["layers"] != "ortho":
        return EXCEPTION
    box = [float(value) for value in query["bbox"].split(",")]
    crs = query["crs"] if query["version"] == "1.3.0" else query["srs"]
    if query["version"] == "1.3.0" and crs == "EPSG:4326":
        box = [box[1], box[0], box[3], box[2]]
    crs = "OGC:CRS84" if crs in ("CRS:84", "EPSG:4326") else crs
    size = (int(query["width"]), int(query["height"]))
    return scene.draw((box[0], box[1], box[2], box[3]), size, crs)


def _matrices(name: str, crs: str, corner: str, scale: float, twice: int) -> str:
    levels = "".join(
        f"<TileMatrix><ows:Identifier>{z}</ows:Identifier><ScaleDenominator>{scale / 2**z!r}"
        f"</ScaleDenominator><TopLeftCorner>{corner}</TopLeftCorner><TileWidth>256</TileWidth>"
        f"<TileHeight>256</TileHeight><MatrixWidth>{twice * 2**z}</MatrixWidth><MatrixHeight>"
        f"{2**z}</MatrixHeight></TileMatrix>"
        for z in range(21)
    )
    return (
        f"<TileMatrixSet><ows:Identifier>{name}</ows:Identifier><ows:SupportedCRS>{crs}"
        f"</ows:SupportedCRS>{levels}</TileMatrixSet>"
    )


CAPABILITIES = (
    '<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1'
    '.1"><Contents><Layer><ows:Identifier>ortho</ows:Identifier><Style isDefault="true">'
    "<ows:Identifier>normal</ows:Identifier></Style><Format>image/png</Format><TileMatrixSetLink>"
    "<TileMatrixSet>mercator</TileMatrixSet></TileMatrixSetLink><TileMatrixSetLink><TileMatrixSet>"
    'degrees</TileMatrixSet></TileMatrixSetLink><ResourceURL format="image/png" resourceType="tile"'
    ' template="http://HOST/wmts/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"/></Layer>'
    + _matrices("mercator", "urn:ogc:def:crs:EPSG::3857", "-20037508.3427892 20037508.3427892",
                559082264.0287178, 1)
    + _matrices("degrees", "urn:ogc:def:crs:EPSG::4326", "90.0 -180.0", 279541132.0143589, 2)
    + "</Contents></Capabilities>"
)  # fmt: skip

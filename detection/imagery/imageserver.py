"""Imagery from an ArcGIS ImageServer: windows in the local UTM zone, by `exportImage`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError, NoImagery
from detection.imagery.band_evidence import is_mask
from detection.imagery.band_layout import default_names
from detection.imagery.band_samples import BandSample
from detection.imagery.nodata import Nodata, valid_pixels
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, utm_crs
from detection.imagery.remote_calls import RemoteCalls
from parcels.antimeridian import centre_lonlat
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import TransientError
from parcels.arcgis.layer_info import extent_lonlat

# NAIP's resolution, and typical of statewide imagery.
DEFAULT_GSD_M = 0.6
# Servers allow up to 15,000 x 4,100 px. Smaller tiles make a failed request cheap to retry.
MAX_TILE_PX = 2048
_MAX_TILE_BYTES = 32 * 1024 * 1024
_MASK_SAMPLE_PX = 256
_DTYPES = {
    "U8": "uint8",
    "S16": "int16",
    "U16": "uint16",
    "S32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
}


@dataclass(frozen=True, slots=True)
class _ServiceInfo:
    """A service's metadata."""

    bands: tuple[str, ...]
    band_count: int
    pixel_type: str
    tile_px: tuple[int, int]
    footprint: BaseGeometry | None


class ImageServer:
    """An ArcGIS ImageServer, which resamples (bilinear) to a grid of the local UTM zone.

    All chips of a zone are on one grid, so a position always has the same pixels.

    Args:
        url: ends with /ImageServer.
        bands: names of the first bands, in order; by default red, green, blue, near infrared, as
            far as their number allows it.
        gsd_m: the pixel size to request.
        captured_on: an ISO 8601 date or year; the server does not report it.
        nodata: the entry's nodata, which overrules what the images declare.
    """

    def __init__(
        self,
        url: str,
        bands: tuple[str, ...] | None = None,
        gsd_m: float | None = None,
        captured_on: str | None = None,
        client: ArcGISClient | None = None,
        breaker: CircuitBreaker | None = None,
        nodata: Nodata = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._bands = bands
        self._gsd_m = gsd_m or DEFAULT_GSD_M
        self._captured_on = captured_on
        self._nodata = nodata
        self._client = client or ArcGISClient()
        self._calls = RemoteCalls(breaker)
        self._info: _ServiceInfo | None = None
        self._info_lock = Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        """How the bands are named, where the entry does not say so; empty before an answer."""
        info = self._info
        if info is None or self._bands is not None:
            return ()
        said = f"{self.url} does not name its {info.band_count} bands"
        return (f"{said}: taken for {', '.join(info.bands)}; `bands:` overrules it.",)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The UTM grid of a geometry (EPSG:4326).

        Raises:
            NoImagery: outside the service's extent ("missing").
            ImageryUnavailable: the server is temporarily unavailable.
            ImageryError: no such service, a token is required, or too many `bands`.
        """
        footprint = self._service_info().footprint
        if footprint is not None and not footprint.intersects(geometry):
            raise NoImagery("missing", f"{self.url} has no imagery here")
        return PixelGrid(utm_crs(*centre_lonlat(geometry)), self._gsd_m)

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The window's pixels, requested in tiles of a size that the server allows.

        Raises:
            NoImagery: not one valid pixel ("nodata").
            ImageryUnavailable: the server is temporarily unavailable, or fails at this position.
            ImageryError: no such service, a token is required, or a wrong response before the
                first good one.
        """
        service = self._service_info()
        shape = (window.height, window.width)
        pixels = np.zeros((len(service.bands), *shape), _DTYPES[service.pixel_type])
        valid = np.zeros(shape, bool)
        for rows, columns, tile in _tiles(window, service.tile_px):
            found, found_valid = self._export(service, grid, tile)
            pixels[:, rows, columns] = found
            valid[rows, columns] = found_valid
        if not valid.any():
            raise NoImagery("nodata", f"{self.url} has only nodata here")
        return Chip(
            pixels,
            valid,
            grid.transform(window),
            CRS.from_user_input(grid.crs),
            service.bands,
            self._captured_on,
            (self.url,),
        )

    def _service_info(self) -> _ServiceInfo:
        with self._info_lock:
            if self._info is None:
                metadata = self._calls.make(lambda: self._client.get_json(self.url, {}))
                self._info = _parse_service_info(self.url, metadata, self._bands)
            return self._info

    def _export(
        self, service: _ServiceInfo, grid: PixelGrid, tile: PixelWindow
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        srid = grid.crs.removeprefix("EPSG:")
        params = {
            "bbox": ",".join(f"{value:.6f}" for value in grid.bounds(tile)),
            "bboxSR": srid,
            "imageSR": srid,
            "size": f"{tile.width},{tile.height}",
            "format": "tiff",
            "pixelType": service.pixel_type,
            "interpolation": "RSP_BilinearInterpolation",
        }
        if len(service.bands) < service.band_count:
            params["bandIds"] = ",".join(str(i) for i in range(len(service.bands)))

        def decode(body: bytes) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
            pixels, valid = _decode(self.url, body, service, grid, tile, self._nodata)
            if self._bands is None and service.bands[3:] == ("nir",):
                _check_near_infrared(self.url, pixels, valid)
            return pixels, valid

        url = f"{self.url}/exportImage"
        pixels_and_valid = self._calls.make(lambda: self._client.get_image(url, params, decode))
        self._calls.has_served = True
        return pixels_and_valid


def _parse_service_info(
    url: str, metadata: Mapping[str, Any], declared: tuple[str, ...] | None
) -> _ServiceInfo:
    """Parse an ImageServer's metadata.

    Raises:
        ImageryError: not an ImageServer, or unsupported bands or pixels.
    """
    band_count = metadata.get("bandCount")
    if not isinstance(band_count, int) or band_count < 1:
        raise ImageryError(
            f"{url} is not an ImageServer: its metadata has no bandCount. Correct the county's "
            "`imagery: {url: …}`"
        )
    capabilities = str(metadata.get("capabilities") or "Image")
    if "image" not in capabilities.lower():
        raise ImageryError(
            f"{url} does not serve images (its capabilities are {capabilities}). Use another "
            "service in the county's `imagery:`"
        )
    if declared is not None and len(declared) > band_count:
        raise ImageryError(
            f"{url} has {band_count} bands, but `imagery: {{bands: …}}` lists {len(declared)} "
            f"({', '.join(declared)}). List only those it has"
        )
    bands = declared or default_names(band_count)
    if declared is None and bands[3:] == ("nir",) and _is_constant(metadata, 3):
        bands = bands[:3]
    pixel_type = str(metadata.get("pixelType", "U8"))
    if pixel_type not in _DTYPES:
        raise ImageryError(
            f"{url} has pixels of type {pixel_type}. Use a service with one of "
            f"{', '.join(_DTYPES)} in the county's `imagery:`"
        )
    extent = extent_lonlat(metadata.get("extent"))
    side = MAX_TILE_PX
    while side**2 * len(bands) * np.dtype(_DTYPES[pixel_type]).itemsize > _MAX_TILE_BYTES:
        side //= 2
    return _ServiceInfo(
        bands,
        band_count,
        pixel_type,
        (
            min(side, int(metadata.get("maxImageWidth") or side)),
            min(side, int(metadata.get("maxImageHeight") or side)),
        ),
        shapely.box(*extent) if extent else None,
    )


def _is_constant(metadata: Mapping[str, Any], band: int) -> bool:
    """Whether a service's own statistics say that a band (0-based) has one value."""
    least, greatest = metadata.get("minValues"), metadata.get("maxValues")
    if not isinstance(least, list) or not isinstance(greatest, list):
        return False
    return bool(least[band : band + 1] and least[band : band + 1] == greatest[band : band + 1])


def _check_near_infrared(url: str, pixels: NDArray[np.generic], valid: NDArray[np.bool_]) -> None:
    """Refuse a fourth band that is a mask; of a tile, because a service has no places to compare.

    Raises:
        ImageryError: it is one; the message says what to write.
    """
    step = max(1, max(valid.shape) // _MASK_SAMPLE_PX)
    thinned = pixels[:, ::step, ::step].astype(np.float32)
    sample = BandSample(url, thinned, valid[::step, ::step])
    is_byte = pixels.dtype == np.uint8
    peak = float(np.iinfo(np.uint8).max) if is_byte else float(thinned[3].max(initial=1))
    if is_mask(sample, peak):
        raise ImageryError(
            f"{url}: its fourth band would be taken for near infrared, but it has one value, or "
            "two, where the colours vary. Write `bands: [red, green, blue]` in the county's "
            "`imagery:`, or bands: [red, green, blue, nir] if it is near infrared"
        )


def _tiles(
    window: PixelWindow, tile_px: tuple[int, int]
) -> Iterator[tuple[slice, slice, PixelWindow]]:
    """The tiles of a window: (rows, columns) of each in it, and its own window."""
    for top in range(0, window.height, tile_px[1]):
        for left in range(0, window.width, tile_px[0]):
            height = min(tile_px[1], window.height - top)
            width = min(tile_px[0], window.width - left)
            tile = PixelWindow(window.column + left, window.row + top, width, height)
            yield slice(top, top + height), slice(left, left + width), tile


def _decode(
    url: str,
    body: bytes,
    service: _ServiceInfo,
    grid: PixelGrid,
    tile: PixelWindow,
    nodata: Nodata,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Pixels and validity of an exported TIFF.

    Raises:
        TransientError: truncated, or not a TIFF.
        ImageryError: not the image that was requested.
    """
    try:
        with MemoryFile(body) as memory, memory.open(driver="GTiff") as dataset:
            _check_response(url, dataset, service, grid, tile)
            indexes = list(range(1, len(service.bands) + 1))
            pixels = dataset.read(indexes)
            return pixels, valid_pixels(dataset, indexes, pixels, nodata=nodata)
    except RasterioError as error:
        raise TransientError(f"{url}: the TIFF is truncated or damaged; try again later") from error


def _check_response(
    url: str, dataset: DatasetReader, service: _ServiceInfo, grid: PixelGrid, tile: PixelWindow
) -> None:
    """Refuse an image that would silently be placed wrong."""
    requested = (tile.width, tile.height, _DTYPES[service.pixel_type])
    received = (dataset.width, dataset.height, dataset.dtypes[0])
    if received != requested or dataset.count < len(service.bands):
        raise ImageryError(
            f"{url} returned {dataset.count} bands of {received} instead of {len(service.bands)} "
            f"of {requested}. Use another service in the county's `imagery:`"
        )
    off_px = max(np.abs(np.subtract(dataset.bounds, grid.bounds(tile)))) / grid.pixel_size
    if not dataset.transform.is_identity and off_px > 0.5:
        raise ImageryError(
            f"{url} returned an image that is {off_px:.1f} pixels off. Use another service in the "
            "county's `imagery:`"
        )

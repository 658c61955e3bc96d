"""An ArcGIS ImageServer: windows of a local UTM zone, by `exportImage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery.bands import default_names
from detection.imagery.nodata import valid_pixels
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, utm_crs
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import TransientError
from parcels.arcgis.layer_info import extent_lonlat
from parcels.errors import SourceError, SourceMisconfigured, SourceUnavailable

# NAIP's, and about what a whole state is flown with.
DEFAULT_GSD_M = 0.6
# A server allows more or less (15,000 x 4,100 is common); small calls fail and repeat alone.
MAX_TILE_PX = 2048
_MAX_TILE_BYTES = 32 * 1024 * 1024
_DTYPES = {
    "U8": "uint8",
    "S16": "int16",
    "U16": "uint16",
    "S32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Service:
    """What a service says of itself."""

    bands: tuple[str, ...]
    band_count: int
    pixel_type: str
    tile_px: tuple[int, int]
    footprint: BaseGeometry | None


class ImageServer:
    """The pictures of an ArcGIS ImageServer, resampled by it (bilinear) to the local UTM zone.

    Every chip of a zone lies on one grid, so the same place is always asked for alike.

    Args:
        url: ends with /ImageServer.
        bands: names of the first bands, in order; by default those of aerial imagery with as
            many bands (red, green, blue, near infrared).
        gsd_m: the pixel size to ask for.
        captured_on: of the pictures, an ISO 8601 date or year: the server does not say.
    """

    def __init__(
        self,
        url: str,
        bands: tuple[str, ...] | None = None,
        gsd_m: float | None = None,
        captured_on: str | None = None,
        client: ArcGISClient | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._bands = bands
        self._gsd_m = gsd_m or DEFAULT_GSD_M
        self._captured_on = captured_on
        self._client = client or ArcGISClient()
        self._breaker = breaker or CircuitBreaker()
        self._service: _Service | None = None
        self._service_lock = Lock()
        self._has_shown = False

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The UTM grid of a geometry (EPSG:4326).

        Raises:
            NoImagery: the service's extent does not reach it ("missing").
            ImageryUnavailable: the server does not answer now.
            ImageryError: no such service, it wants a token, or `bands` are not its own.
        """
        footprint = self._ask_service().footprint
        if footprint is not None and not footprint.intersects(geometry):
            raise NoImagery("missing", f"{self.url} has no imagery there")
        centre = geometry.centroid
        return PixelGrid(utm_crs(centre.x, centre.y), self._gsd_m)

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The window's pixels, asked for in tiles that the server allows.

        Raises:
            NoImagery: not one valid pixel ("nodata").
            ImageryUnavailable: the server does not answer now, or not for this place.
            ImageryError: no such service, it wants a token, or answers with other pictures,
                and has not shown a good one yet.
        """
        service = self._ask_service()
        shape = (window.height, window.width)
        pixels = np.zeros((len(service.bands), *shape), _DTYPES[service.pixel_type])
        valid = np.zeros(shape, bool)
        for rows, columns, tile in _tiles(window, service.tile_px):
            found, found_valid = self._export(service, grid, tile)
            pixels[:, rows, columns] = found
            valid[rows, columns] = found_valid
        if not valid.any():
            raise NoImagery("nodata", f"{self.url} shows only nodata there")
        return Chip(
            pixels,
            valid,
            grid.transform(window),
            CRS.from_user_input(grid.crs),
            service.bands,
            self._captured_on,
            (self.url,),
        )

    def _ask_service(self) -> _Service:
        with self._service_lock:
            if self._service is None:
                answer = self._ask(lambda: self._client.get_json(self.url, {}))
                self._service = _read_service(self.url, answer, self._bands)
            return self._service

    def _export(
        self, service: _Service, grid: PixelGrid, tile: PixelWindow
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
            return _decode(self.url, body, service, grid, tile)

        url = f"{self.url}/exportImage"
        shown = self._ask(lambda: self._client.get_image(url, params, decode))
        self._has_shown = True
        return shown

    def _ask(self, call: Callable[[], _T]) -> _T:
        try:
            self._breaker.check()
            return self._counted(call)
        except SourceUnavailable as error:
            raise ImageryUnavailable(f"imagery: {error}") from error
        except SourceMisconfigured as error:
            if self._has_shown:
                # A service that has shown pictures is configured rightly: it is this place.
                raise ImageryUnavailable(f"imagery: {error}") from error
            raise ImageryError(
                f"imagery: {error}; mend `imagery: {{url: …}}` of the county"
            ) from error
        except ImageryError as error:
            if self._has_shown:  # one odd picture among good ones says nothing of the others
                raise ImageryUnavailable(f"imagery: {error}") from error
            raise

    def _counted(self, call: Callable[[], _T]) -> _T:
        try:
            answer = call()
        except SourceError as error:
            self._breaker.failed(error)
            raise
        self._breaker.succeeded()
        return answer


def _read_service(
    url: str, answer: Mapping[str, Any], declared: tuple[str, ...] | None
) -> _Service:
    """What an ImageServer's metadata says.

    Raises:
        ImageryError: no ImageServer, or one with other bands or pixels than can be used.
    """
    band_count = answer.get("bandCount")
    if not isinstance(band_count, int) or band_count < 1:
        raise ImageryError(
            f"{url}: says no bandCount, so it is no ImageServer; mend `imagery: {{url: …}}` "
            "of the county"
        )
    capabilities = str(answer.get("capabilities") or "Image")
    if "image" not in capabilities.lower():
        raise ImageryError(
            f"{url}: gives no images (it allows {capabilities}); name another service under "
            "`imagery:` of the county"
        )
    if declared is not None and len(declared) > band_count:
        raise ImageryError(
            f"{url} has {band_count} bands, but `bands:` of the imagery names {len(declared)} "
            f"({', '.join(declared)}): name only those it has"
        )
    bands = declared or default_names(band_count)
    pixel_type = str(answer.get("pixelType", "U8"))
    if pixel_type not in _DTYPES:
        raise ImageryError(
            f"{url}: has pixels of type {pixel_type}; name a service with one of "
            f"{', '.join(_DTYPES)} under `imagery:` of the county"
        )
    extent = extent_lonlat(answer.get("extent"))
    side = MAX_TILE_PX
    while side**2 * len(bands) * np.dtype(_DTYPES[pixel_type]).itemsize > _MAX_TILE_BYTES:
        side //= 2
    return _Service(
        bands,
        band_count,
        pixel_type,
        (
            min(side, int(answer.get("maxImageWidth") or side)),
            min(side, int(answer.get("maxImageHeight") or side)),
        ),
        shapely.box(*extent) if extent else None,
    )


def _tiles(
    window: PixelWindow, tile_px: tuple[int, int]
) -> Iterator[tuple[slice, slice, PixelWindow]]:
    """The tiles of a window: where each lies in it (rows, columns), and its own window."""
    for top in range(0, window.height, tile_px[1]):
        for left in range(0, window.width, tile_px[0]):
            height = min(tile_px[1], window.height - top)
            width = min(tile_px[0], window.width - left)
            tile = PixelWindow(window.column + left, window.row + top, width, height)
            yield slice(top, top + height), slice(left, left + width), tile


def _decode(
    url: str, body: bytes, service: _Service, grid: PixelGrid, tile: PixelWindow
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Pixels and validity of an exported TIFF.

    Raises:
        TryAgain: it is cut off, or no TIFF.
        ImageryError: it shows something else than was asked for.
    """
    try:
        with MemoryFile(body) as memory, memory.open(driver="GTiff") as dataset:
            _check_answer(url, dataset, service, grid, tile)
            indexes = list(range(1, len(service.bands) + 1))
            pixels = dataset.read(indexes)
            return pixels, valid_pixels(dataset, indexes, pixels)
    except RasterioError as error:
        raise TransientError(f"{url}: the TIFF is cut off or damaged; try again later") from error


def _check_answer(
    url: str, dataset: DatasetReader, service: _Service, grid: PixelGrid, tile: PixelWindow
) -> None:
    """Refuse a picture that would be laid in the wrong place without a word."""
    asked = (tile.width, tile.height, _DTYPES[service.pixel_type])
    given = (dataset.width, dataset.height, dataset.dtypes[0])
    if given != asked or dataset.count < len(service.bands):
        raise ImageryError(
            f"{url}: answers with {dataset.count} bands of {given}, but {len(service.bands)} of "
            f"{asked} were asked for; name another service under `imagery:` of the county"
        )
    off_px = max(np.abs(np.subtract(dataset.bounds, grid.bounds(tile)))) / grid.pixel_size
    if not dataset.transform.is_identity and off_px > 0.5:
        raise ImageryError(
            f"{url}: answers with a picture that lies {off_px:.1f} pixels off; name another "
            "service under `imagery:` of the county"
        )

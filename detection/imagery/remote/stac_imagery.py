"""COGs of STAC items, or single addresses, as one mosaic that is opened at the first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar

from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError
from detection.imagery.geotiff import GeoTiff
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.nodata import Nodata
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.imagery.remote.object_store import headers_for, target_of
from detection.imagery.remote.remote_files import is_remote, raising_source_errors, register
from detection.imagery.remote.stac import Asset, Document, load_json, read_assets
from detection.imagery.remote_calls import RemoteCalls
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.exchange import HttpResponse
from parcels.errors import AuthenticationRequired, SourceMisconfigured

_T = TypeVar("_T")


class StacImagery:
    """The imagery of a STAC document, or of one COG. Only ranges of the files are requested.

    Args:
        location: the document (a path or an address), or the address of a COG.
        is_stac: whether it is a document.
        bands, captured_on, crs, nodata: of the registry entry; they take precedence.
        asset: the key of the items' asset.
        licence: shown in reports; by default the items' own.
    """

    def __init__(
        self,
        location: str,
        client: ByteClient,
        *,
        is_stac: bool = True,
        bands: tuple[str, ...] | None = None,
        captured_on: str | None = None,
        crs: str | None = None,
        nodata: Nodata = None,
        asset: str | None = None,
        licence: str | None = None,
    ) -> None:
        self._location, self._client, self._is_stac = location, client, is_stac
        self._bands, self._captured_on, self._crs = bands, captured_on, crs
        self._nodata, self._asset, self._licence = nodata, asset, licence
        self._calls = RemoteCalls()
        self._lock = Lock()
        self._opened: _AssetMosaic | None = None

    @property
    def notes(self) -> Sequence[str]:
        """Those of the files, once they are open, and the licence."""
        with self._lock:
            notes = list(self._opened.notes) if self._opened is not None else []
            licences = self._opened.licences if self._opened is not None else []
        if self._licence or licences:
            where = "as written in the registry" if self._licence else "as its items say"
            text = self._licence or ", ".join(licences)
            notes.append(f"{self._location}: licence {where}: {text}")
        return tuple(notes)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The grid of the files that give most of the pixels in the geometry (EPSG:4326).

        Raises:
            NoImagery: no file covers any of it.
            ImageryUnavailable: a server is temporarily unavailable.
            ImageryError: the document or its files cannot be used.
        """
        return self._reading(lambda mosaic: mosaic.grid_for(geometry))

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The pixels of a window.

        Raises:
            NoImagery: not one valid pixel.
            ImageryUnavailable: a server is temporarily unavailable.
        """
        return self._reading(lambda mosaic: mosaic.read(grid, window))

    def _reading(self, use: Callable[[_AssetMosaic], _T]) -> _T:
        def call() -> _T:
            with raising_source_errors():
                return use(self._mosaic())

        result = self._calls.make(call)
        self._calls.has_served = True
        return result

    def _mosaic(self) -> _AssetMosaic:
        with self._lock:
            if self._opened is None:
                self._opened = _AssetMosaic(
                    self._location,
                    self._assets(),
                    self._bands,
                    self._captured_on,
                    self._crs,
                    self._nodata,
                )
            return self._opened

    def _assets(self) -> list[Asset]:
        if self._is_stac:
            assets = read_assets(self._location, self._load, self._asset)
        else:
            assets = [Asset(self._location, None, None)]
        for asset in assets:
            if is_remote(asset.address):
                register(asset.address, self._client)
        return assets

    def _load(self, location: str) -> Document:
        if is_remote(location):
            target = target_of(location)
            content = self._client.get(target.url, _content, headers=headers_for(target))
            return load_json(content, location)
        try:
            return load_json(Path(location).read_bytes(), location)
        except OSError as error:
            raise ImageryError(
                f"{location} cannot be read ({error.strerror}). Correct the county's "
                "`imagery: {stac: …}`"
            ) from error


class _AssetMosaic(GeoTiffMosaic):
    """Files by their addresses; each with the bands and the date of its item."""

    def __init__(
        self,
        location: str,
        assets: Sequence[Asset],
        bands: tuple[str, ...] | None,
        captured_on: str | None,
        crs: str | None,
        nodata: Nodata,
    ) -> None:
        self._by_address = {asset.address: asset for asset in assets}
        self.licences = sorted({asset.licence for asset in assets if asset.licence})
        listed = {asset.bands for asset in assets}
        own_bands = listed.pop() if len(listed) == 1 else None
        super().__init__(
            location,
            bands or own_bands,
            captured_on,
            crs,
            nodata=nodata,
            paths=list(self._by_address),
        )

    def _open(
        self, path: str, captured_on: str | None, crs: str | None, nodata: Nodata
    ) -> GeoTiff | None:
        day = captured_on or self._by_address[path].captured_on
        if not is_remote(path):
            return super()._open(path, day, crs, nodata)
        try:
            with raising_source_errors():
                return GeoTiff.open(path, day, crs, nodata=nodata)
        except (RasterioError, SourceMisconfigured) as error:
            self._skip(path, error)
            return None


def _content(response: HttpResponse) -> bytes:
    if response.status in (401, 403):
        raise AuthenticationRequired(f"error {response.status}: the STAC document is not public")
    if response.status >= 400:
        raise SourceMisconfigured(f"error {response.status}: no STAC document")
    return response.body

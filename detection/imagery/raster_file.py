"""Opens imagery files, each by the one GDAL driver that its content names.

GDAL alone would detect the format by itself, and so open a file with any name that refers to any
address (SSRF): a WMS description, a VRT, a catalogue. Here only self-contained local formats are
opened, and a VRT after `vrt_check`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from detection.imagery.palette import with_colours
from detection.imagery.remote.remote_files import head_of, is_remote, open_remote
from detection.imagery.sibling_check import (
    HFA_START,
    TIFF_STARTS,
    SiblingRefused,
    check_siblings,
)
from detection.imagery.unsupported_imagery import what_to_do
from detection.imagery.vrt_check import VrtRefused, check_vrt, looks_like_vrt

# What a folder is searched for. VRTs are read where they are named: those in a folder mostly list
# the folder's own files, which would be read twice.
FOLDER_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k", ".img")
_SIGNATURES = (
    *((start, "GTiff") for start in TIFF_STARTS),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),  # a bare codestream
    (HFA_START, "HFA"),
)
_HEAD_BYTES = 4096
# What rasterio lets through of damaged metadata: GDAL's own errors, and texts that are none.
_OF_METADATA = (CPLE_BaseError, UnicodeDecodeError)
_TIFF, _VRT, _IMG = "GTiff", "VRT", "HFA"


class UnreadableRaster(RasterioError):  # type: ignore[misc]  # rasterio is untyped
    """A file that is not opened: its format is not read, or it refers to other data."""


def open_raster(path: str, **options: Any) -> DatasetReader:  # noqa: ANN401 - rasterio's
    """Open a file for reading; close it, or use it as a context manager.

    A palette is expanded: the file has red, green and blue bands.

    Args:
        path: of a file, or an address that `remote_files` knows, which must be a GeoTIFF.
        options: further arguments of `rasterio.open`, such as `overview_level`.

    Raises:
        UnreadableRaster: with what to do instead.
        rasterio.errors.RasterioError: it is missing or damaged.
    """
    if is_remote(path):
        return with_colours(_open_remote(path, **options))
    driver = driver_of(Path(path))
    if driver == _VRT:
        _check_vrt(path, Path(path).stat().st_mtime_ns)
    _check_beside(path)
    try:
        return with_colours(_open(path, driver, **options))
    except _OF_METADATA as error:
        raise UnreadableRaster(f"its metadata are damaged ({error})") from error


def driver_of(path: Path) -> str:
    """The GDAL driver for a file's content.

    Raises:
        UnreadableRaster: none of the formats that are read.
    """
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise UnreadableRaster("it is not a regular file; name a file, or a folder of files")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UnreadableRaster(f"{error.strerror or error}") from error
    driver = _driver_of_head(head)
    if driver is not None:
        return driver
    if looks_like_vrt(head):
        return _VRT
    raise UnreadableRaster(what_to_do(path, head))


def _driver_of_head(head: bytes) -> str | None:
    return next((driver for start, driver in _SIGNATURES if head.startswith(start)), None)


def _open_remote(address: str, **options: Any) -> DatasetReader:  # noqa: ANN401
    head = head_of(address, _HEAD_BYTES)
    if _driver_of_head(head) != _TIFF:
        raise UnreadableRaster(
            "at an address, only GeoTIFF (best a COG) is read; "
            + (what_to_do(Path(urlsplit(address).path), head))
        )
    return _checked(open_remote(address, _TIFF, **options), address)


def _check_beside(path: str) -> None:
    """Check a file's overviews, masks and metadata, and theirs."""
    file = Path(path)
    _check_siblings(path, file.parent.stat().st_mtime_ns, file.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _check_siblings(path: str, _folder_changed_ns: int, _changed_ns: int) -> None:
    try:
        for sibling in check_siblings(Path(path)):
            with _open(str(sibling), driver_of(sibling)):
                pass  # refused here if it refers to other data itself
    except (SiblingRefused, OSError) as error:
        raise UnreadableRaster(str(error)) from error


@lru_cache(maxsize=1024)
def _check_vrt(path: str, _changed_ns: int) -> None:
    try:
        for source in check_vrt(Path(path)):
            try:
                _check_beside(str(source))
                with _open(str(source), driver_of(source)):
                    pass  # refused here if it refers to other data itself
            except RasterioError as error:
                raise UnreadableRaster(f"its file {source.name}: {error}") from error
    except VrtRefused as error:
        raise UnreadableRaster(str(error)) from error


def _open(path: str, driver: str, **options: Any) -> DatasetReader:  # noqa: ANN401
    try:
        dataset = _checked(rasterio.open(path, driver=driver, **options), path)
    except _OF_METADATA as error:
        raise UnreadableRaster(f"its metadata are damaged ({error})") from error
    # An .img may keep its pixels in an .ige that it names.
    if driver == _IMG and any(Path(f).parent != Path(path).parent for f in dataset.files):
        dataset.close()
        raise UnreadableRaster(
            "it refers to a file outside of its folder; copy all its files into one folder"
        )
    return dataset


def _checked(dataset: DatasetReader, path: str) -> DatasetReader:
    if not dataset.count or any(dtype.startswith("complex") for dtype in dataset.dtypes):
        dataset.close()
        raise UnreadableRaster("it has no bands, or complex numbers, as radar has; remove the file")
    # GDAL opens whatever this names as the file's overviews, an address too.
    if dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        dataset.close()
        raise UnreadableRaster(
            "its metadata (OVERVIEW_FILE) refers to another file; save the pixels themselves: "
            f"gdal_translate -of COG {Path(path).name} new.tif"
        )
    return dataset

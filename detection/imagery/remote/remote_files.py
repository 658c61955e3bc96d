"""Opens registered addresses as rasters, through the project's HTTP client and not GDAL's.

So the address guard, rate limits, retries and redirect rules hold for every range, and GDAL asks
no server for files beside a TIFF.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from threading import Lock, local
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from detection.imagery.remote.range_reader import RangeReader, RangeSource
from parcels.arcgis.http.byte_client import ByteClient
from parcels.errors import SourceError

_SCHEMES = ("http", "https", "s3")
_files: dict[str, _RemoteFile] = {}
_lock = Lock()
_thread = local()


class _RemoteFile:
    """An address that may be opened, under a name for GDAL."""

    def __init__(self, address: str, client: ByteClient) -> None:
        self.source = RangeSource(address, client)
        digest = hashlib.sha256(address.encode()).hexdigest()[:16]
        # The file's own name, in a folder that tells addresses apart.
        stem = PurePosixPath(urlsplit(address).path).name or "file"
        self.name = f"/lotline-remote/{digest}/{stem}"

    def open(self, path: str, mode: str = "rb", **_: Any) -> RangeReader:  # noqa: ANN401, ARG002
        """A reader; none for what GDAL looks for beside the file."""
        if path != self.name:
            raise FileNotFoundError(path)
        return _Reader(self.source)


def is_remote(path: str) -> bool:
    """Whether a path is an address."""
    return path.split("://", 1)[0].lower() in _SCHEMES and "://" in path


def register(address: str, client: ByteClient) -> None:
    """Allow an address to be opened, through this client."""
    with _lock:
        _files[address] = _RemoteFile(address, client)


def head_of(address: str, count: int) -> bytes:
    """The first bytes of a registered address.

    Raises:
        RasterioError: it cannot be read; within `raising_source_errors` the true cause.
    """
    try:
        return _file(address).source.read(0, count)
    except SourceError as error:
        _thread.failure = error
        raise RasterioError(str(error)) from error


def open_remote(address: str, driver: str, **options: Any) -> DatasetReader:  # noqa: ANN401
    """Open a registered address; the arguments are those of `rasterio.open`."""
    file = _file(address)
    return rasterio.open(file.name, driver=driver, opener=file.open, **options)


@contextmanager
def raising_source_errors() -> Iterator[None]:
    """Raise why a range could not be read, whatever GDAL and its callers made of it.

    Raises:
        SourceError: a request inside the block failed.
    """
    before, _thread.failure = getattr(_thread, "failure", None), None
    try:
        yield
    finally:
        failure, _thread.failure = _thread.failure, before
        if failure is not None:
            raise failure


class _Reader(RangeReader):
    """Notes a failure for this thread: GDAL's callbacks cannot carry exceptions."""

    def read(self, size: int = -1) -> bytes:
        try:
            return super().read(size)
        except SourceError as error:
            _thread.failure = error
            return b""


def _file(address: str) -> _RemoteFile:
    with _lock:
        file = _files.get(address)
    if file is None:
        raise RasterioError(f"{address} is not registered")
    return file

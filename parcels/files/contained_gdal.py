"""GDAL with the drivers that a file needs and no others, and without its network.

GDAL tries one driver after another until one opens a file, among them drivers for descriptions of
data elsewhere, and pyogrio cannot pass it a choice. So the other drivers are taken off GDAL's list
for the duration of a call. What opens further files within that call is held to the same list.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

from parcels.errors import InstallationError

# Keeps tables in memory, for the others.
_HELPERS = ("MEM",)
_NOWHERE = "/lotline-has-no-network"
# For the thread, so that other users of GDAL in the process keep theirs.
_OPTIONS = {
    # Of all the file systems that are servers, only this file exists.
    "CPL_VSIL_CURL_ALLOWED_FILENAME": _NOWHERE,
    "GDAL_PAM_ENABLED": "NO",
    "GML_DOWNLOAD_SCHEMA": "NO",
    "GML_SKIP_RESOLVE_ELEMS": "ALL",
    "OGR_SQLITE_LOAD_EXTENSIONS": "",
    "OGR_SQLITE_ALLOW_EXTERNAL_ACCESS": "NO",
    "ALLOW_OGR_SQL_FUNCTIONS_FROM_TRIGGER_AND_VIEW": "NO",
    "PROJ_NETWORK": "OFF",
}
_NAMES = tuple(name.encode() for name in _OPTIONS)
_FETCH = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 5)
# GDAL takes a missing answer for a server that is down.
_no_answer = _FETCH(lambda *_: None)
_lock = RLock()


@contextmanager
def contained_gdal(drivers: Sequence[str]) -> Iterator[None]:
    """Let pyogrio open files by these drivers only, and reach no server, until the block ends.

    The block should be one call of pyogrio: its other threads have the same drivers meanwhile.

    Raises:
        InstallationError: pyogrio's GDAL cannot be restricted.
    """
    gdal = _gdal()
    with _lock, _quiet(), _without_network(gdal):
        others = _vector_drivers(gdal)
        wanted = {gdal.GDALGetDriverByName(name.encode()) for name in (*drivers, *_HELPERS)}
        for driver in others:
            if driver not in wanted:
                gdal.GDALDeregisterDriver(driver)
        try:
            yield
        finally:
            # In their order, which is that in which they are tried.
            for driver in others:
                gdal.GDALDeregisterDriver(driver)
            for driver in others:
                gdal.GDALRegisterDriver(driver)


def _vector_drivers(gdal: Any) -> list[int]:  # noqa: ANN401
    """The drivers that may open a file for pyogrio, in the order in which they are tried.

    Drivers of images alone stay: where rasterio shares this GDAL, other threads read by them.
    """
    every = [gdal.GDALGetDriver(number) for number in range(gdal.GDALGetDriverCount())]
    return [
        driver
        for driver in every
        if gdal.GDALGetMetadataItem(driver, b"DCAP_VECTOR", None) == b"YES"
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress GDAL's warnings, for example about the winding of rings: they are handled here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@contextmanager
def _without_network(gdal: Any) -> Iterator[None]:  # noqa: ANN401
    before = {name: gdal.CPLGetThreadLocalConfigOption(name, None) for name in _NAMES}
    for option, wanted in _OPTIONS.items():
        gdal.CPLSetThreadLocalConfigOption(option.encode(), wanted.encode())
    gdal.CPLHTTPPushFetchCallback(_no_answer, None)
    try:
        yield
    finally:
        gdal.CPLHTTPPopFetchCallback()
        for name, value in before.items():
            gdal.CPLSetThreadLocalConfigOption(name, value)


@cache
def _gdal() -> Any:  # noqa: ANN401
    """The GDAL library that pyogrio has loaded."""
    import pyogrio  # noqa: F401 - registers the drivers
    from pyogrio import _ogr

    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    functions = {
        "GDALGetDriverCount": (number, []),
        "GDALGetDriver": (pointer, [number]),
        "GDALGetDriverByName": (pointer, [text]),
        "GDALGetMetadataItem": (text, [pointer, text, text]),
        "GDALRegisterDriver": (number, [pointer]),
        "GDALDeregisterDriver": (None, [pointer]),
        "CPLGetThreadLocalConfigOption": (text, [text, text]),
        "CPLSetThreadLocalConfigOption": (None, [text, text]),
        "CPLHTTPPushFetchCallback": (number, [_FETCH, pointer]),
        "CPLHTTPPopFetchCallback": (number, []),
    }
    try:
        # A symbol is also looked for in the libraries that this one needs.
        library = ctypes.CDLL(os.fspath(_ogr.__file__))
        for name, (result, arguments) in functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise InstallationError(
            f"pyogrio's GDAL cannot be kept to named formats ({error}), so that a parcel file "
            "could open others; type: pip install --force-reinstall pyogrio"
        ) from error
    return library

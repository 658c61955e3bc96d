"""A tile server's response -> pixels and valid mask, or a typed error.

The body decides: servers send errors as pages, XML or JSON with status 200.
"""

from __future__ import annotations

import hashlib
import html
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from parcels.arcgis.http.exchange import HttpResponse
from parcels.arcgis.http.responses import TransientError
from parcels.errors import AuthenticationRequired, SourceMisconfigured
from parcels.untrusted import sanitize_text

_DRIVERS = ((b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"RIFF", "WEBP"), (b"GIF8", "GIF"),
            (b"II*\0", "GTiff"), (b"MM\0*", "GTiff"))  # fmt: skip
# What a complete file ends with: decoders fill a truncated image with grey, without an error.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_NO_TILE = (204, 404, 410)
_HALF_OPAQUE = 128
_filters_lock = Lock()
_ERROR_TEXT = re.compile(
    r"<(?:\w+:)?(?:ServiceException|ExceptionText|title|h1|Message)\b[^>]*>(.*?)</",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, eq=False)
class TileImage:
    """Red, green, blue (3, height, width) uint8, and (height, width) bool: valid pixels."""

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    @cached_property
    def digest(self) -> str:
        """Of the pixels."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()

    @property
    def is_blank(self) -> bool:
        """Whether all pixels have one colour: no photograph, whatever the server means by it."""
        return bool((self.pixels == self.pixels[:, :1, :1]).all())


def parse_tile(url: str, response: HttpResponse, width: int, height: int) -> TileImage | None:
    """The tile of a response; None if the server has none here (404, 204, an empty body).

    Args:
        url: as shown in messages.
        width, height: the expected size in pixels.

    Raises:
        TransientError: truncated or damaged.
        AuthenticationRequired: a key is missing, or it is not accepted.
        SourceMisconfigured: an error page or an exception, with its text; a wrong size.
    """
    body = response.body
    if response.status in _NO_TILE:
        return None
    if response.status in (401, 403):
        raise AuthenticationRequired(
            f"{url}: error {response.status}{error_text(body)}: the server requires a key, or does "
            "not accept it; write {token} in the URL and `token: {env: NAME}`"
        )
    driver = next((name for start, name in _DRIVERS if body.startswith(start)), None)
    if response.status >= 400 or (body and driver is None):
        raise SourceMisconfigured(
            f"{url}: HTTP {response.status} with no image but {_kind(body)}{error_text(body)}"
        )
    if driver is None:
        return None
    end = _ENDS.get(driver)
    if end is not None and end not in body[-64:]:
        raise TransientError(f"{url}: the image is truncated; try again later")
    return _decode(url, body, driver, (height, width))


def _decode(url: str, body: bytes, driver: str, shape: tuple[int, int]) -> TileImage:
    try:
        with MemoryFile(body) as memory, _open(memory, driver) as dataset:
            if dataset.shape != shape:
                raise SourceMisconfigured(
                    f"{url}: the image has {dataset.width} x {dataset.height} pixels instead of "
                    f"{shape[1]} x {shape[0]}; set `tile_px: {dataset.width}` if all tiles have"
                )
            if dataset.dtypes[0] not in ("uint8", "uint16"):
                raise SourceMisconfigured(f"{url}: has pixels of type {dataset.dtypes[0]}")
            return _to_rgb(dataset)
    except RasterioError as error:
        raise TransientError(f"{url}: the image is damaged; try again later") from error


def _open(memory: MemoryFile, driver: str) -> DatasetReader:
    # The filters of warnings are those of the process, not of a thread.
    with _filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the URL says where a tile is
        return memory.open(driver=driver)


def _to_rgb(dataset: DatasetReader) -> TileImage:
    bands = dataset.read()
    if bands.dtype == np.uint16:
        bands = (bands >> 8).astype(np.uint8)
    opaque = np.ones(dataset.shape, bool)
    if dataset.colorinterp[0] == ColorInterp.palette:
        table = np.zeros((256, 4), np.uint8)
        for value, colour in dataset.colormap(1).items():
            table[value] = colour
        expanded = np.moveaxis(table[bands[0]], -1, 0)
        bands, opaque = expanded[:3], expanded[3] >= _HALF_OPAQUE
        if dataset.nodata is not None:
            opaque &= dataset.read(1) != dataset.nodata
    elif dataset.count in (2, 4):
        bands, opaque = bands[:-1], bands[-1] >= _HALF_OPAQUE
    if len(bands) == 1:
        bands = np.repeat(bands, 3, axis=0)
    return TileImage(np.ascontiguousarray(bands[:3], np.uint8), opaque)


def _kind(body: bytes) -> str:
    start = body[:500].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith(b"<"):
        return "an XML error"
    return "text" if body else "nothing"


def error_text(body: bytes) -> str:
    """The text of an error page or exception, in parentheses."""
    text = body[:20_000].decode("utf-8", errors="replace")
    found = [_TAG.sub(" ", match) for match in _ERROR_TEXT.findall(text)]
    shown = "; ".join(found) if found else _TAG.sub(" ", text)
    words = " ".join(html.unescape(shown.replace("<![CDATA[", "").replace("]]>", "")).split())
    return f" ({sanitize_text(words)})" if words and words.isprintable() else ""

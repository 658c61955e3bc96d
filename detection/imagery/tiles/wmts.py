"""WMTS: the tile matrix of a layer from the server's capabilities, or a URL template.

A template ({TileMatrix}, {TileRow}, {TileCol}, as path or query) needs no capabilities: its
matrices are those of GoogleMapsCompatible, named by their zoom level.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from pyproj import CRS
from pyproj.exceptions import CRSError

from detection.errors import ImageryError
from detection.imagery.tiles.tile_grid import TileGrid, TileIndex
from detection.imagery.tiles.tile_image import error_text
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.exchange import HttpResponse
from parcels.errors import SourceMisconfigured
from parcels.untrusted import sanitize_text

# The OGC's standard pixel of 0.28 mm, and metres in a degree of WGS 84's equator.
_STANDARD_PIXEL_M = 0.00028
_METRES_PER_DEGREE = 111_319.49079327358
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# A larger tile would be a picture of a whole county.
_MAX_TILE_PX = 8192
_FORMATS = ("image/png", "image/jpeg", "image/jpg", "image/webp")


class _Level(NamedTuple):
    """One tile matrix, with how to ask for a tile of it."""

    grid: TileGrid
    matrix: str
    template: str


class WmtsTiles:
    """One tile matrix of a layer.

    Attributes:
        label: the URL as shown; without secrets.

    Args:
        url: of the capabilities, or a template.
        layer, matrix_set: names in the capabilities; None is the only one.
        zoom: the identifier of a tile matrix, else its number from the coarsest, 0.
    """

    def __init__(
        self,
        url: str,
        zoom: int,
        client: ByteClient,
        *,
        layer: str | None = None,
        matrix_set: str | None = None,
        tile_px: int | None = None,
        token: str = "",
    ) -> None:
        self.label = url
        self._zoom, self._client, self._token = zoom, client, token
        self._layer, self._matrix_set, self._tile_px = layer, matrix_set, tile_px
        self._lock = Lock()
        self._level: _Level | None = None

    def grid_at(self, latitude: float) -> TileGrid:  # noqa: ARG002 - the protocol
        """The tile matrix; the capabilities are requested at the first call."""
        return self._opened().grid

    def url(self, grid: TileGrid, tile: TileIndex) -> str:  # noqa: ARG002 - the protocol
        """The address of a tile."""
        level = self._opened()
        values = {
            "tilematrix": level.matrix,
            "tilerow": str(tile.row),
            "tilecol": str(tile.column),
            "tilematrixset": self._matrix_set or "GoogleMapsCompatible",
            "layer": self._layer or "",
            "style": "default",
            "token": self._token,
        }
        return _PLACEHOLDER.sub(
            lambda match: quote(values.get(match[1].lower(), ""), safe=":"), level.template
        )

    def _opened(self) -> _Level:
        with self._lock:
            if self._level is None:
                self._level = self._open()
            return self._level

    def _open(self) -> _Level:
        if is_wmts_template(self.label):
            grid = TileGrid.web_mercator(self._zoom, self._tile_px or 256)
            return _Level(grid, str(self._zoom), self.label)
        address = _capabilities_url(self.label).replace("{token}", self._token)
        shown = self._client.redact(address)
        root = self._client.get(address, lambda reply: _parse_capabilities(shown, reply))
        return _level(root, self.label, self._layer, self._matrix_set, self._zoom)


def is_wmts_template(url: str) -> bool:
    """Whether the URL has the placeholders of a WMTS tile."""
    return {"tilematrix", "tilerow", "tilecol"} <= {n.lower() for n in _PLACEHOLDER.findall(url)}


def _capabilities_url(url: str) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    names = {name.lower() for name in query}
    if "service" in names and "request" not in names:
        query["request"] = "GetCapabilities"
    text = urlencode(query, safe="{}/:,")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, text, ""))


def _parse_capabilities(url: str, response: HttpResponse) -> ET.Element:
    root = None
    if response.status < 400 and b"<!ENTITY" not in response.body:
        try:
            root = ET.fromstring(response.body)  # noqa: S314 - without entities
        except ET.ParseError:
            root = None
    if root is None or _name(root) != "Capabilities":
        raise SourceMisconfigured(
            f"{url}: HTTP {response.status} with no WMTS capabilities{error_text(response.body)}"
        )
    for element in root.iter():
        element.tag = _name(element)  # versions differ in their namespaces
    return root


def _level(
    root: ET.Element, url: str, layer: str | None, matrix_set: str | None, zoom: int
) -> _Level:
    layers = {_text(found, "Identifier"): found for found in root.iter("Layer")}
    chosen = _choose(url, "layers", layer, layers)
    links = {_text(link, "TileMatrixSet"): link for link in chosen.iter("TileMatrixSetLink")}
    sets = {_text(s, "Identifier"): s for s in root.findall("Contents/TileMatrixSet")}
    usable = {name: sets[name] for name in links if name in sets}
    if matrix_set is None and len(usable) > 1:
        mercator = [
            name for name, found in usable.items() if "3857" in _text(found, "SupportedCRS")
        ]
        matrix_set = mercator[0] if mercator else None
    found_set = _choose(url, "matrix_set", matrix_set, usable)
    matrix = _matrix(url, found_set, zoom)
    return _Level(
        _grid(url, _text(found_set, "SupportedCRS"), matrix),
        _text(matrix, "Identifier"),
        _template(url, root, chosen, _text(found_set, "Identifier")),
    )


def _choose(url: str, key: str, name: str | None, found: dict[str, ET.Element]) -> ET.Element:
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is not None and name in found:
        return found[name]
    listed = ", ".join(list(found)[:20]) or "none"
    raise ImageryError(
        f"{url}: set `{key}:` in the county's `imagery:` to one of {listed}"
        + (f"; there is no {name}" if name else "")
    )


def _matrix(url: str, found_set: ET.Element, zoom: int) -> ET.Element:
    matrices = sorted(
        found_set.iter("TileMatrix"), key=lambda m: -_number(url, m, "ScaleDenominator")
    )
    names = [_text(matrix, "Identifier") for matrix in matrices]
    for wanted in (str(zoom), f"{zoom:02d}"):
        for name, matrix in zip(names, matrices, strict=True):
            if name == wanted or name.endswith(f":{wanted}"):
                return matrix
    if zoom < len(matrices):
        return matrices[zoom]
    raise ImageryError(
        f"{url}: has no tile matrix for `zoom: {zoom}`; set it to 0 to {len(matrices) - 1}, the "
        f"finest is {names[-1] if names else 'missing'}"
    )


def _grid(url: str, crs_text: str, matrix: ET.Element) -> TileGrid:
    name = _crs_name(crs_text)
    try:
        crs = CRS.from_user_input(name)
    except CRSError as error:
        raise ImageryError(f"{url}: unknown CRS {crs_text}; set `matrix_set:`") from error
    unit_m = (
        _METRES_PER_DEGREE if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor)
    )
    corner = _numbers(url, matrix, "TopLeftCorner", 2)
    is_north_first = crs.axis_info[0].direction.lower() in ("north", "south")
    # Some servers write longitude first in spite of the CRS: 180 is no latitude.
    if crs.is_geographic and abs(corner[0]) > 90:
        is_north_first = False
    left, top = corner[::-1] if is_north_first else corner
    return TileGrid(
        name,
        _number(url, matrix, "ScaleDenominator") * _STANDARD_PIXEL_M / unit_m,
        left,
        top,
        _count(url, matrix, "TileWidth", _MAX_TILE_PX),
        _count(url, matrix, "TileHeight", _MAX_TILE_PX),
        columns=(0, _count(url, matrix, "MatrixWidth") - 1),
        rows=(0, _count(url, matrix, "MatrixHeight") - 1),
    )


def _number(url: str, matrix: ET.Element, name: str) -> float:
    """A positive number of a tile matrix."""
    [number] = _numbers(url, matrix, name, 1)
    if number <= 0:
        raise _odd_value(url, matrix, name)
    return number


def _count(url: str, matrix: ET.Element, name: str, most: float = 2.0**31) -> int:
    """A positive whole number of a tile matrix, at most `most`."""
    number = _number(url, matrix, name)
    if number > most or not number.is_integer():
        raise _odd_value(url, matrix, name)
    return int(number)


def _numbers(url: str, matrix: ET.Element, name: str, count: int) -> list[float]:
    try:
        numbers = [float(value) for value in _text(matrix, name).split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _odd_value(url, matrix, name)
    return numbers


def _odd_value(url: str, matrix: ET.Element, name: str) -> ImageryError:
    value, matrix_name = (sanitize_text(_text(matrix, of)) for of in (name, "Identifier"))
    return ImageryError(
        f"{url}: the tile matrix {matrix_name!r} has the {name} {value!r}; set another `zoom:` or "
        "`matrix_set:`, or use the service's XYZ tiles"
    )


def _template(url: str, root: ET.Element, layer: ET.Element, matrix_set: str) -> str:
    """The URL of a tile with {TileMatrix}, {TileRow}, {TileCol}."""
    styles = [_text(style, "Identifier") for style in layer.iter("Style")]
    default = [
        _text(style, "Identifier")
        for style in layer.iter("Style")
        if style.get("isDefault", "").lower() == "true"
    ]
    style = (default or styles or ["default"])[0]
    formats = [(f.text or "").strip() for f in layer.findall("Format")]
    image = next((f for f in _FORMATS if f in formats), formats[0] if formats else "image/png")
    resources = [r for r in layer.iter("ResourceURL") if r.get("resourceType", "tile") == "tile"]
    resources.sort(key=lambda r: r.get("format") != image)
    if resources:
        template = resources[0].get("template", "")
        written = {"style": style, "tilematrixset": matrix_set, "layer": _text(layer, "Identifier")}
        written |= dict(_dimensions(layer))
        return _PLACEHOLDER.sub(
            lambda m: quote(written[m[1].lower()], safe=":") if m[1].lower() in written else m[0],
            template,
        )
    base = _get_tile_address(root) or url
    query = {
        "service": "WMTS",
        "request": "GetTile",
        "version": "1.0.0",
        "layer": _text(layer, "Identifier"),
        "style": style,
        "format": image,
        "tilematrixset": matrix_set,
        "tilematrix": "{TileMatrix}",
        "tilerow": "{TileRow}",
        "tilecol": "{TileCol}",
        **dict(_dimensions(layer)),
    }
    parts = urlsplit(base)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name.lower() not in {*query, "service", "request"}
    ]
    text = urlencode([*kept, *query.items()], safe="{}/:,")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, text, ""))


def _dimensions(layer: ET.Element) -> Iterable[tuple[str, str]]:
    """The default of each dimension, such as time."""
    for dimension in layer.iter("Dimension"):
        yield _text(dimension, "Identifier").lower(), _text(dimension, "Default")


def _get_tile_address(root: ET.Element) -> str | None:
    for operation in root.iter("Operation"):
        if operation.get("name") == "GetTile":
            for get in operation.iter("Get"):
                address = get.get("{http://www.w3.org/1999/xlink}href")
                if address:
                    return address
    return None


def _crs_name(text: str) -> str:
    """The last code of "urn:ogc:def:crs:EPSG:6.18:3:3857", or "EPSG:3857"."""
    if "CRS84" in text.upper():
        return "OGC:CRS84"
    code = re.search(r"(\d+)\s*$", text)
    number = code[1] if code else text
    return "EPSG:3857" if number in ("900913", "3785", "102100") else f"EPSG:{number}"


def _name(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _text(element: ET.Element, name: str) -> str:
    found = element.find(name)
    return (found.text or "").strip() if found is not None else ""

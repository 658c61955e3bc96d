"""The kind of server that `imagery: {url: …}` is, and which keys it needs.

| the URL                                        | kind        |
| ends with /ImageServer                         | imageserver |
| has {z}, {x}, {y}, or {q}                      | xyz         |
| has {TileMatrix}, or is a WMTS's capabilities  | wmts        |
| service=WMS in it, or `layers:` beside it      | wms         |
| ends with .tif or .tiff, also s3://            | cog         |
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from parcels.registry.validators import arcgis_url, web_address

ImageryKind = Literal["files", "imageserver", "xyz", "wmts", "wms", "cog", "stac"]

_PLACEHOLDER = re.compile(r"\$?\{([^{}]*)\}")
_XYZ_NAMES = ("z", "x", "y", "-y", "q", "s", "r", "token")
_WMTS_NAMES = ("tilematrix", "tilerow", "tilecol", "tilematrixset", "layer", "style", "token")
# A registry is shared and committed, so it must not contain secrets.
_SECRET = re.compile(r"(^|_)(token|key|apikey|sig|signature|secret|password)$", re.IGNORECASE)
_KEYS: Mapping[ImageryKind, tuple[str, ...]] = {
    "files": ("crs",),
    "imageserver": (),
    "xyz": ("zoom", "tile_px", "token"),
    "wmts": ("zoom", "layers", "matrix_set", "tile_px", "token"),
    "wms": ("layers", "styles", "crs", "token"),
    "cog": ("crs",),
    "stac": ("crs", "asset"),
}
_SERVER_KEYS = frozenset(key for keys in _KEYS.values() for key in keys)
_LICENCE = (
    "'licence' is missing; tiles belong to somebody: read their terms, and write what they allow, "
    'for example licence: "CC BY 4.0, Example County 2023"'
)
_NEEDED: Mapping[ImageryKind, Mapping[str, str]] = {
    "xyz": {"zoom": "'zoom' is missing; write the zoom level, for example zoom: 19"},
    "wmts": {"zoom": "'zoom' is missing; write the zoom level or the number of a tile matrix"},
    "wms": {"layers": "'layers' is missing; write the layers of the WMS, for example [ortho]"},
}
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}/[^\x00-\x20\x7f\\?#]+")
_RGB = ("red", "green", "blue")
# Their terms allow pictures in their own maps only.
_CLOSED = (
    (re.compile(r"^(mts?\d*|khms?\d*|maps|www)\.google\.(com|co)(\.[a-z]+)?$"), "Google"),
    (re.compile(r"^(tile|maps|khms?\d*|mts?\d*)\.googleapis\.com$"), "Google"),
    (re.compile(r"(^|\.)virtualearth\.net$"), "Bing"),
    (re.compile(r"(^|\.)mapbox\.com$"), "Mapbox"),
)


def kind_of(url: str, *, has_layers: bool = False) -> ImageryKind | None:
    """The kind of server of a URL; None if the URL does not say."""
    names = {name.lower() for name in _PLACEHOLDER.findall(url)}
    lower = url.lower()
    if {"q", "z", "x", "y", "-y"} & names:
        return "xyz"
    if "tilematrix" in names or "wmtscapabilities" in lower or "service=wmts" in lower:
        return "wmts"
    if urlsplit(url).path.endswith("/ImageServer"):
        return "imageserver"
    if "service=wms" in lower or has_layers or re.search(r"/wms(server)?(\?|$)", lower):
        return "wms"
    if urlsplit(lower).path.endswith((".tif", ".tiff")) and not names:
        return "cog"
    return None


def cog_url(url: str) -> str:
    """The address of a file: https, http, or s3://bucket/key.

    Raises:
        ValueError: it is not one, or it contains a secret.
    """
    if not url.startswith("s3://"):
        _check_secrets(url)
        return web_address(url)
    if not _S3.fullmatch(url):
        raise ValueError(f"{url!r} is not an address in a bucket; write s3://bucket/key")
    return url


def imagery_url(url: str, *, has_layers: bool = False) -> str:
    """A server's URL, of a kind that is read.

    Args:
        has_layers: whether the entry has `layers`, which only a WMS or a WMTS has.

    Raises:
        ValueError: it is not one, with what to write instead.
    """
    kind = kind_of(url, has_layers=has_layers)
    if kind in (None, "imageserver"):
        return _arcgis(url)
    if kind == "cog":
        return cog_url(url)
    plain = web_address(_PLACEHOLDER.sub("0", url))
    _check_owner(urlsplit(plain).hostname or "", url)
    _check_secrets(url)
    names = [name for name in _PLACEHOLDER.findall(url) if not name.startswith("switch:")]
    known: Collection[str] = _XYZ_NAMES if kind == "xyz" else _WMTS_NAMES
    unknown = [name for name in names if name.lower() not in known]
    has_tile = "q" in names or ({"z", "x"} <= set(names) and {"y", "-y"} & set(names))
    if kind == "xyz" and not has_tile:
        raise ValueError(f"write a URL like https://…/{{z}}/{{x}}/{{y}}.png; {url!r} is not one")
    if unknown:
        written = ", ".join(f"{{{name}}}" for name in known)
        raise ValueError(f"{{{unknown[0]}}} is not known in a URL; those known are {written}")
    return url.strip()


def check_keys(kind: ImageryKind, entry: Mapping[str, object]) -> None:
    """Check that an entry has the keys of its kind of source, and no others.

    Raises:
        ValueError: with what to write.
    """
    for key, message in _NEEDED.get(kind, {}).items():
        if key not in entry:
            raise ValueError(message)
    if kind in _NEEDED and "licence" not in entry:
        raise ValueError(_LICENCE)
    unused = sorted((_SERVER_KEYS & entry.keys()) - set(_KEYS[kind]))
    if unused:
        raise ValueError(f"{unused[0]!r} has no meaning for imagery of the kind {kind}; remove it")
    if kind in _NEEDED and entry.get("bands", _RGB) != _RGB:
        raise ValueError("'bands': tiles have red, green and blue only; remove it")
    if kind in _NEEDED and "nodata" in entry:
        raise ValueError("'nodata': tiles are transparent where there is no imagery; remove it")
    layers = entry.get("layers")
    if kind == "wmts" and isinstance(layers, tuple) and len(layers) > 1:
        raise ValueError("'layers': a WMTS has one layer at a time; write one")
    has_place = "{token}" in str(entry.get("url"))
    if ("token" in entry) != has_place:
        raise ValueError(
            "{token} in the URL and `token: {env: NAME}` belong together; write both or none"
        )


def _arcgis(url: str) -> str:
    if "/MapServer" in url and "/ImageServer" not in url:
        service = url.split("/MapServer", maxsplit=1)[0] + "/MapServer"
        raise ValueError(
            "must end with /ImageServer; a MapServer draws maps. If this one serves imagery in "
            f"tiles, write url: {service}/tile/{{z}}/{{y}}/{{x}}, zoom: and licence:"
        )
    return arcgis_url(url, ("ImageServer",))


def _check_owner(host: str, url: str) -> None:
    owner = next((name for pattern, name in _CLOSED if pattern.search(host)), None)
    if owner is None or "{token}" in url:
        return
    raise ValueError(
        f"{owner}'s tiles need a key, and its terms restrict measuring on them; if your contract "
        "allows it, write the key's parameter as …={token} and `token: {env: NAME}`. USGS NAIP "
        "needs no key: leave 'imagery' out"
    )


def _check_secrets(url: str) -> None:
    for name, value in parse_qsl(urlsplit(url).query):
        if _SECRET.search(name) and "{token}" not in value:
            raise ValueError(
                f"contains a secret ({name}=…); write {name}={{token}} there, and "
                "`token: {env: NAME}` with the name of an environment variable that holds it"
            )

"""STAC documents -> the assets that are imagery, with bands and dates.

An item, an item collection (also a search's response, with its pages) or a static catalog: a file
of this machine, or an address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from detection.errors import ImageryError
from detection.imagery.remote.remote_files import is_remote
from parcels.untrusted import mapping, mappings, sanitize_text

# The assets' usual names, best first: NAIP's is `image`, true-colour ones are `visual`.
_ASSET_NAMES = ("image", "visual", "data", "cog", "ortho", "rgb", "analytic")
_TIFF_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/geotiff")
_BANDS = {"red": "red", "green": "green", "blue": "blue", "nir": "nir", "nir08": "nir"}
MAX_ITEMS = 500
_MAX_DOCUMENTS = 1000
_OTHER_STORES = {
    "gs": "write it as https://storage.googleapis.com/BUCKET/KEY",
    "az": "write it as https://ACCOUNT.blob.core.windows.net/CONTAINER/KEY",
    "abfs": "write it as https://ACCOUNT.blob.core.windows.net/CONTAINER/KEY",
    "file": "use `path:` for files of this machine",
}

Document = Mapping[str, Any]
Load = Callable[[str], Document]


@dataclass(frozen=True, slots=True)
class Asset:
    """A COG: its address or path, band names if the item lists them, ISO 8601 date, licence."""

    address: str
    bands: tuple[str, ...] | None
    captured_on: str | None
    licence: str | None = None


def read_assets(location: str, load: Load, asset: str | None = None) -> list[Asset]:
    """One asset of each item that a document leads to, each address once.

    Args:
        location: a path or an address.
        load: a path or an address -> its JSON object.
        asset: the key of the asset; by default one with a usual name, or the only TIFF.

    Raises:
        ImageryError: no item, too many, no asset, or an address of another kind.
    """
    found: dict[str, Asset] = {}
    for base, item in _items(location, load):
        chosen = _asset_of(base, item, asset)
        found[chosen.address] = chosen
        if len(found) > MAX_ITEMS:
            raise ImageryError(
                f"{location} has more than {MAX_ITEMS} items; select those of the county, for "
                "example by a bounding box and a year, and save them as an item collection"
            )
    if not found:
        raise ImageryError(
            f"{location} has no STAC item. Correct the county's `imagery: {{stac: …}}`"
        )
    return list(found.values())


def _items(location: str, load: Load) -> Iterator[tuple[str, Document]]:
    waiting, seen = [location], set[str]()
    while waiting:
        address = waiting.pop(0)
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MAX_DOCUMENTS:
            raise ImageryError(f"{location} leads to more than {_MAX_DOCUMENTS} documents")
        document = load(address)
        kind = document.get("type")
        if kind == "Feature":
            yield address, document
        elif kind == "FeatureCollection":
            for item in mappings(document.get("features")):
                yield address, item
            waiting += _links(address, document, ("next",))
        elif kind in ("Catalog", "Collection"):
            waiting += _links(address, document, ("item", "items", "child"))
        else:
            raise ImageryError(
                f"{address} is not STAC (its type is {sanitize_text(kind)!r}); write the address "
                "of an item, an item collection or a catalog in `imagery: {stac: …}`"
            )


def _links(base: str, document: Document, relations: tuple[str, ...]) -> list[str]:
    found = []
    for link in mappings(document.get("links")):
        if link.get("rel") in relations and isinstance(link.get("href"), str):
            if str(link.get("method", "GET")).upper() != "GET":
                raise ImageryError(
                    f"{base}: its next page needs {link['method']}; save all pages as one item "
                    "collection, for example with pystac-client"
                )
            found.append(_resolve(base, link["href"]))
    return found


def _asset_of(base: str, item: Document, name: str | None) -> Asset:
    assets = {key: mapping(value) for key, value in mapping(item.get("assets")).items()}
    properties = mapping(item.get("properties"))
    key = name if name in assets else None if name else _usual(assets)
    if key is None or not isinstance(assets[key].get("href"), str):
        listed = ", ".join(assets) or "none"
        raise ImageryError(
            f"{sanitize_text(item.get('id'))} in {base}: set `asset:` in the county's "
            f"`imagery:` to one of {listed}"
        )
    chosen = assets[key]
    return Asset(
        _resolve(base, str(chosen["href"])),
        _bands(chosen) or _bands(properties),
        _date(properties),
        _text(properties.get("license") or item.get("license")),
    )


def _usual(assets: Mapping[str, Document]) -> str | None:
    tiffs = [
        key
        for key, asset in assets.items()
        if str(asset.get("type", "")).lower().split(";")[0].strip() in _TIFF_TYPES
        or str(asset.get("href", "")).lower().split("?")[0].endswith((".tif", ".tiff"))
    ]
    named = [key for key in _ASSET_NAMES if key in tiffs]
    if named:
        return named[0]
    return tiffs[0] if len(tiffs) == 1 else None


def _bands(owner: Document) -> tuple[str, ...] | None:
    """The names of an asset's bands, by `eo:bands` (STAC 1.0) or `bands` (1.1)."""
    listed = mappings(owner.get("eo:bands")) or mappings(owner.get("bands"))
    names = []
    for number, band in enumerate(listed, start=1):
        common = str(
            band.get("common_name") or band.get("eo:common_name") or band.get("name") or ""
        )
        names.append(_BANDS.get(common.lower(), f"band{number}"))
    return tuple(names) if names and len(set(names)) == len(names) else None


def _date(properties: Document) -> str | None:
    text = properties.get("datetime") or properties.get("start_datetime")
    return text[:10] if isinstance(text, str) and len(text) >= 10 else None


def _text(value: object) -> str | None:
    return sanitize_text(value) if isinstance(value, str) and value else None


def _resolve(base: str, href: str) -> str:
    """The address or path of a reference; an address never leads to a file of this machine.

    Raises:
        ImageryError: another kind of address.
    """
    scheme = href.split("://", 1)[0].lower() if "://" in href else ""
    if scheme and not is_remote(href):
        advice = _OTHER_STORES.get(scheme, "use https:// or s3://")
        raise ImageryError(f"{base} refers to {sanitize_text(href)}, which is not read; {advice}")
    if scheme:
        return href
    if href.startswith("/vsi") or "\0" in href:
        raise ImageryError(f"{base} refers to {sanitize_text(href)}, which is not read")
    if not is_remote(base):
        return str(Path(base).parent / href)
    if urlsplit(base).scheme == "s3":
        bucket, _, key = base.removeprefix("s3://").partition("/")
        path = urlsplit(urljoin(f"https://x/{key}", href)).path
        return f"s3://{bucket}{path}"
    joined = urljoin(base, href)
    if not is_remote(joined):  # file:/etc/passwd
        raise ImageryError(f"{base} refers to {sanitize_text(href)}, which is not read")
    return joined


def load_json(content: bytes, location: str) -> Document:
    """The JSON object of a document.

    Raises:
        ImageryError: it is not one.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ImageryError(
            f"{location} is not a STAC document (no JSON object). Correct the county's "
            "`imagery: {stac: …}`"
        )
    return document

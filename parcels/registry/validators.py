"""Checks of paths, URLs, headers and host names in a registry entry. Each raises ValueError."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationInfo

_HEADER = re.compile(r"[A-Za-z0-9-]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Set by the HTTP client; a wrong value would allow request smuggling or another host.
_CLIENT_HEADERS = (
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "te",
    "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
# A registry is shared and committed, so it must not contain secrets.
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization", "x-esri-authorization")


def resolve(path: str, info: ValidationInfo) -> Path:
    """The absolute path; a relative one is resolved against the folder of the registry file.

    Raises:
        ValueError: not a local path (a URL, or a GDAL virtual file system).
    """
    if "\0" in path:
        raise ValueError(f"{path!r} is not a valid path; remove the NUL character")
    folder = Path((info.context or {}).get("folder", "."))
    absolute = _tidy((folder / path).absolute())
    # A Path normalises "/./vsicurl/" to a GDAL virtual path too.
    virtual = str(absolute).replace("//", "/").startswith("/vsi")
    if "://" in path or path.startswith("file:") or virtual:
        raise ValueError(f"{path!r} is not a local file; write the path of a file on this machine")
    return absolute


def _tidy(path: Path) -> Path:
    """Without `..`, so that a file has one name, unless a link makes that another place."""
    tidy = os.path.normpath(path)
    return Path(tidy) if os.path.realpath(tidy) == os.path.realpath(path) else path


def web_address(url: str) -> str:
    """An http(s) URL without a trailing slash.

    Raises:
        ValueError: not a URL, or it contains a user name and a password.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError(f"{url!r} is not a web address; write one that starts with https://")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or a password; remove them and use 'token'")
    return url


def arcgis_url(url: str, services: tuple[str, ...]) -> str:
    """The URL of an ArcGIS service of one of these types, without a trailing slash.

    Raises:
        ValueError: it is not one.
    """
    url = web_address(url)
    parts = urlsplit(url)
    endings = " or ".join(f"/{service}" for service in services)
    if parts.query or parts.fragment:
        raise ValueError(f"must end after {endings}; remove the query from {url!r}")
    if parts.path.endswith(tuple(f"/{service}" for service in services)):
        return url
    with_layer = re.fullmatch(rf"(.*/(?:{'|'.join(services)}))/(\d+)", url)
    if with_layer and "ImageServer" not in services:
        service, layer = with_layer.groups()
        raise ValueError(f"ends with a layer number; write url: {service} and layer: {layer}")
    raise ValueError(f"must end with {endings}; {url!r} does not")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that an entry may add to its requests.

    Raises:
        ValueError: a header that is not valid in HTTP, that the client sets, or that is a secret.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid header name; write for example Referer")
        if name.lower() in _SECRET_HEADERS:
            raise ValueError(f"{name!r} is a secret; remove it and use 'token'")
        if name.lower() in _CLIENT_HEADERS or name.lower().startswith("proxy-"):
            raise ValueError(f"{name!r} is set by the HTTP client; remove it")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError(f"{name!r} has a value that is not valid in a header: {value!r}")
    return dict(headers)


def host_name(host: str) -> str:
    """A host name in lower case.

    Raises:
        ValueError: it is not one.
    """
    name = host.lower()
    if not _HOST.fullmatch(name):
        raise ValueError(f"{host!r} is not a host name; write for example gis.county.gov")
    return name


def variable_name(name: str) -> str:
    """The name of an environment variable.

    Raises:
        ValueError: it is not one; perhaps it is the secret.
    """
    if not _VARIABLE.fullmatch(name):
        raise ValueError("write the name of an environment variable, never the secret")
    return name


def text_encoding(name: str) -> str:
    """The standard name of a text encoding, from one of the ways in which people write it.

    Raises:
        ValueError: unknown.
    """
    found = known_encoding(name)
    if found is None:
        raise ValueError(f"{name!r} is not a text encoding; write for example cp1252 or utf-8")
    return found


def known_encoding(name: str) -> str | None:
    """The standard name of "UTF-8", "1252", "ANSI 1252", "88591" and the like."""
    text = name.strip().strip("\0").lower().strip()
    iso = re.fullmatch(r"(?:iso)?[ _-]?8859[ _-]?(\d{1,2})", text)
    page = re.fullmatch(r"(?:ansi|oem|cp|ibm|ms|windows|win|msdos)?[ _-]*(\d{3,5})", text)
    candidates = [f"iso8859-{iso[1]}"] if iso else []
    if page and page[1] not in ("65001",):
        candidates.append(f"cp{page[1]}")
    aliases = {"65001": "utf-8", "cp65001": "utf-8", "utf8": "utf-8", "ansi": "cp1252"}
    candidates += [aliases.get(text, text), text.replace(" ", "-")]
    for candidate in candidates:
        try:
            b"a".decode(candidate)  # a LookupError also for a codec that is not of text (base64)
            return codecs.lookup(candidate).name
        except (LookupError, UnicodeError, ValueError):
            continue
    return None

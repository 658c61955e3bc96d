"""What a URL, a path, a header and a host in a registry entry may be. Each raises ValueError."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationInfo

_HEADER = re.compile(r"[A-Za-z0-9-]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The client's own business; a wrong one cuts a message in two or sends it elsewhere.
_OWN_HEADERS = (
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "te",
    "trailer", "transfer-encoding", "upgrade",
)  # fmt: skip
# A registry is shared and committed: it holds no secrets.
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization", "x-esri-authorization")


def resolve(path: str, info: ValidationInfo) -> Path:
    """The absolute path, relative ones against the registry file's folder.

    Raises:
        ValueError: not a place on this machine (a URL, or a GDAL virtual file system).
    """
    if "\0" in path:
        raise ValueError(f"{path!r} is no path; remove the NUL")
    folder = Path((info.context or {}).get("folder", "."))
    absolute = (folder / path).absolute()
    # "/./vsicurl/" is one too, once it is a Path.
    virtual = str(absolute).replace("//", "/").startswith("/vsi")
    if "://" in path or path.startswith("file:") or virtual:
        raise ValueError(f"{path!r} is not a file on this machine; write the path of one")
    return absolute


def web_address(url: str) -> str:
    """A web address without a closing slash.

    Raises:
        ValueError: it is none, or it carries a name and a password.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError(f"{url!r} is no web address; write one that starts with https://")
    if "@" in parts.netloc:
        raise ValueError("carries a name or a password; remove them, and see 'token'")
    return url


def arcgis_url(url: str, services: tuple[str, ...]) -> str:
    """The URL of a service, without a closing slash.

    Raises:
        ValueError: it does not name an ArcGIS service of one of the kinds.
    """
    url = web_address(url)
    parts = urlsplit(url)
    endings = " or ".join(f"/{service}" for service in services)
    if parts.query or parts.fragment:
        raise ValueError(f"cut it after {endings}; {url!r} carries a query")
    if parts.path.endswith(tuple(f"/{service}" for service in services)):
        return url
    with_layer = re.fullmatch(rf"(.*/(?:{'|'.join(services)}))/(\d+)", url)
    if with_layer and "ImageServer" not in services:
        service, layer = with_layer.groups()
        raise ValueError(f"ends with a layer number; write url: {service} and layer: {layer}")
    raise ValueError(f"must end with {endings}; {url!r} does not")


def sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that an entry may add to its calls.

    Raises:
        ValueError: a name or a value that HTTP does not know, is the client's own, or is a secret.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} is no header's name; write for example Referer")
        if name.lower() in _SECRET_HEADERS:
            raise ValueError(f"{name!r} is a secret, and a registry holds none; see 'token'")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("proxy-"):
            raise ValueError(f"{name!r} is made by the client itself; remove it")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError(f"{name!r} has a value that no header can have: {value!r}")
    return dict(headers)


def host_name(host: str) -> str:
    """A host's bare name, in lower case.

    Raises:
        ValueError: it is none.
    """
    name = host.lower()
    if not _HOST.fullmatch(name):
        raise ValueError(f"{host!r} is no host; write its bare name, for example gis.county.gov")
    return name


def variable_name(name: str) -> str:
    """The name of an environment variable.

    Raises:
        ValueError: it is none; perhaps the secret itself.
    """
    if not _VARIABLE.fullmatch(name):
        raise ValueError("write the name of an environment variable, never the secret itself")
    return name

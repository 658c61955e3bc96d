"""Copies images from addresses to the worker, by the rules against internal addresses.

A job names addresses that the worker requests, from inside a network that the client is not in. So
every request goes through the project's client, which resolves a name once, checks all of its
addresses, IPv4 and IPv6, and tries them in turn; also after a redirect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from detection.imagery.remote.object_store import headers_for, target_of
from parcels.arcgis.http.address_guard import ALLOW_PRIVATE_HINT
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.exchange import HttpResponse, RangesIgnored
from parcels.arcgis.http.responses import TransientError
from parcels.errors import AddressRefused, SourceMisconfigured
from pipeline.serve.job_input import public_address

_PART_BYTES: Final = 32 * 1024 * 1024
_MAX_BYTES: Final = 4 * 1024**3
_SPAN = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+)")
_RETRY_FOR_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _FilePart:
    """Bytes of a file, its whole size, and what tells its versions apart."""

    body: bytes
    size: int
    version: str


def download(
    address: str, folder: Path, *, allow_private: bool, check_stopped: Callable[[], None]
) -> Path:
    """Copy the file at an address into a folder, under its own name.

    Args:
        address: http, https or s3. Of s3, the job names a bucket and a key, and the environment
            the server, which may be private.
        check_stopped: called between the parts of a large file; raises to end the work.

    Raises:
        AddressRefused: an internal address, also behind a name or a redirect.
        SourceUnavailable: the server has no usable answer for now.
        SourceMisconfigured: there is no such file, it is not public, or too large.
        OSError: it cannot be written.
    """
    is_ours = address.startswith("s3://")
    client = ByteClient(
        secrets=(urlsplit(address).query,),
        allow_private=allow_private or is_ours,
        retry_for_s=_RETRY_FOR_S,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _name_of(address)
    try:
        with path.open("wb") as file:
            part = _first(client, address)
            file.write(part.body)
            while (at := file.tell()) < part.size:
                check_stopped()
                following = _part(client, address, at)
                if following.version != part.version:
                    raise TransientError(f"{public_address(address)}: the file changes; try again")
                file.write(following.body)
    except AddressRefused as error:
        raise AddressRefused(_for_jobs(str(error))) from error
    return path


def _first(client: ByteClient, address: str) -> _FilePart:
    """The first part; the whole file from a server that serves no parts."""
    try:
        part = _part(client, address, 0)
    except RangesIgnored:
        part = client.get(target_of(address).url, _Parser(address), headers=_headers(address))
    if part.size > _MAX_BYTES:
        raise SourceMisconfigured(
            f"{public_address(address)} has {part.size:,} bytes, and an image may have "
            f"{_MAX_BYTES:,}: cut it into parts"
        )
    return part


def _part(client: ByteClient, address: str, at: int) -> _FilePart:
    span = (at, at + _PART_BYTES - 1)
    url = target_of(address).url
    return client.get(url, _Parser(address), headers=_headers(address), byte_range=span)


def _headers(address: str) -> dict[str, str]:
    return headers_for(target_of(address))


@dataclass(frozen=True, slots=True)
class _Parser:
    address: str

    def __call__(self, response: HttpResponse) -> _FilePart:
        where = public_address(self.address)
        version = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
        if response.status == 206:
            span = _SPAN.match(response.headers.get("Content-Range", ""))
            if span is None:
                raise SourceMisconfigured(f"{where}: a part without Content-Range")
            if len(response.body) != int(span[2]) - int(span[1]) + 1:
                raise TransientError(f"{where}: a truncated part; try again later")
            return _FilePart(response.body, int(span[3]), version)
        if response.status == 200:
            return _FilePart(response.body, len(response.body), version)
        if response.status == 416:
            raise SourceMisconfigured(f"{where}: the file is empty")
        if response.status in (401, 403):
            raise SourceMisconfigured(
                f"{where}: error {response.status}: not public, or the signature of its URL is "
                "wrong or has expired"
            )
        raise SourceMisconfigured(f"{where}: error {response.status}: no such file")


def _for_jobs(message: str) -> str:
    """The guard's message, which speaks of a county's server and its registry entry, for a job."""
    of_jobs = {
        ALLOW_PRIVATE_HINT: "set LOTLINE_ALLOW_PRIVATE=1 on the worker",
        "which cannot be a county server; correct 'url'": "which no job may request",
    }
    for of_counties, words in of_jobs.items():
        message = message.replace(of_counties, words)
    return message


def _name_of(address: str) -> str:
    """The name of the file, of characters that every disk takes."""
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    return re.sub(r"[^\w.-]+", "_", name)[-120:].lstrip(".-") or "image"

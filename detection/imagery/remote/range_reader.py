"""A remote file of which only the parts that are read are requested, in blocks that are kept."""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from threading import Lock

from detection.imagery.remote.object_store import headers_for, target_of
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.exchange import HttpResponse, RangesIgnored
from parcels.arcgis.http.responses import TransientError
from parcels.errors import AuthenticationRequired, LayerNotFound, SourceMisconfigured
from parcels.untrusted import sanitize_text

# Requests for less cost the same. A COG's header is in the first blocks.
BLOCK_BYTES = 64 * 1024
_CACHE_BYTES = 128 * 1024 * 1024
_TOTAL = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+)")
_S3_TEXT = re.compile(rb"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)


class RangeSource:
    """The bytes of one address; shared by all its readers. Thread-safe."""

    def __init__(self, address: str, client: ByteClient) -> None:
        self.address = address
        self._client = client
        self._target = target_of(address)
        self._size: int | None = None

    @property
    def size(self) -> int:
        """The file's size in bytes; known after the first request."""
        if self._size is None:
            self.read(0, 1)
        return self._size or 0

    def read(self, start: int, count: int) -> bytes:
        """The bytes from `start`, fewer at the end of the file.

        Raises:
            SourceUnavailable: no usable response for now.
            RangesIgnored, SourceMisconfigured: the address is wrong, or the server unsuitable.
        """
        end = start + count if self._size is None else min(start + count, self._size)
        if end <= start:
            return b""
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        blocks = {number: _cache.get((self.address, number)) for number in range(first, last + 1)}
        missing = [number for number, block in blocks.items() if block is None]
        if missing:
            blocks |= self._request(missing[0], missing[-1])
        joined = b"".join(blocks[number] or b"" for number in range(first, last + 1))
        return joined[start - first * BLOCK_BYTES :][: end - start]

    def _request(self, first: int, last: int) -> dict[int, bytes]:
        """Request the blocks from `first` to `last` at once."""
        span = (first * BLOCK_BYTES, (last + 1) * BLOCK_BYTES - 1)
        try:
            body = self._client.get(
                self._target.url, self._parse, headers=headers_for(self._target), byte_range=span
            )
        except RangesIgnored:
            raise RangesIgnored(
                f"{self.address}: the server sends only whole files (no HTTP ranges); copy the "
                "file to this machine and write its `path:`"
            ) from None
        found: dict[int, bytes] = {}
        for number in range(first, last + 1):
            at = (number - first) * BLOCK_BYTES
            found[number] = body[at : at + BLOCK_BYTES]
            _cache.put((self.address, number), found[number])
        return found

    def _parse(self, response: HttpResponse) -> bytes:
        if response.status == 206:
            span = _TOTAL.match(response.headers.get("Content-Range", ""))
            if span is None:
                raise SourceMisconfigured(f"{self.address}: a part without Content-Range")
            if len(response.body) != int(span[2]) - int(span[1]) + 1:
                raise TransientError(f"{self.address}: a truncated part; try again later")
            self._size = int(span[3])
            return response.body
        text = _error_text(response.body)
        if response.status in (401, 403):
            raise AuthenticationRequired(
                f"{self.address}: error {response.status}{text}: not public, or no such file; set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for NAIP's bucket also "
                "AWS_REQUEST_PAYER=requester), or a URL with a valid signature"
            )
        if response.status in (404, 410, 416):
            raise LayerNotFound(f"{self.address}: error {response.status}{text}: no such file")
        if response.status == 301:
            raise SourceMisconfigured(
                f"{self.address}: the bucket is in another region; set AWS_REGION{text}"
            )
        raise SourceMisconfigured(f"{self.address}: error {response.status}{text}")


class RangeReader(io.RawIOBase):
    """A file object over a source, as GDAL's Python openers want it.

    Raises `SourceError` in `read`.
    """

    def __init__(self, source: RangeSource) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self._source.size if base is None else base)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        count = self._source.size - self._position if size < 0 else size
        found = self._source.read(self._position, count)
        self._position += len(found)
        return found


class _BlockCache:
    """The blocks that were read last, of all files."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, int]) -> bytes | None:
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
            return block

    def put(self, key: tuple[str, int], block: bytes) -> None:
        with self._lock:
            self._bytes += len(block) - len(self._blocks.get(key, b""))
            self._blocks[key] = block
            while self._bytes > _CACHE_BYTES:
                _, dropped = self._blocks.popitem(last=False)
                self._bytes -= len(dropped)

    def clear(self) -> None:
        with self._lock:
            self._blocks.clear()
            self._bytes = 0


_cache = _BlockCache()


def forget_blocks() -> None:
    """Empty the cache."""
    _cache.clear()


def _error_text(body: bytes) -> str:
    found = _S3_TEXT.search(body[:4096])
    if found is None:
        return ""
    words = ": ".join(part.decode("utf-8", "replace") for part in found.groups() if part)
    return f" ({sanitize_text(words)})"

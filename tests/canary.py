"""A server and a folder that nobody may touch: what hostile files refer to."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import shapely
from shapely.geometry import mapping

SECRET = "CANARY-7F3A"
_IN_ACCESS, _IN_OPEN, _IN_NONBLOCK = 0x1, 0x20, 0o4000
_LIBC = ctypes.CDLL(None, use_errno=True)


def canary_lots() -> str:
    """GeoJSON with one lot, whose id is the secret."""
    lot = mapping(shapely.box(-90, 35, -89.9992, 35.001))
    feature = {"type": "Feature", "properties": {"APN": SECRET}, "geometry": lot}
    return json.dumps({"type": "FeatureCollection", "name": "lots", "features": [feature]})


@dataclass
class Canary:
    """The bait: `url` of the server, `folder` of the files; `touched` says who was there."""

    url: str
    folder: Path
    _inotify: int
    _connections: list[str] = field(default_factory=list)

    def file(self, name: str, content: str | bytes | None = None) -> Path:
        """A new file in the folder, by default with lots."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        body = canary_lots() if content is None else content
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        self._opened()  # writing it is not a touch
        return path

    @property
    def touched(self) -> list[str]:
        """Connections to the server, and files of the folder that were opened."""
        return [*self._connections, *self._opened()]

    def forget(self) -> None:
        """What was opened so far was the test's own doing."""
        self._opened()

    def _opened(self) -> list[str]:
        try:
            events = os.read(self._inotify, 1 << 16)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(events):
            _, mask, _, length = struct.unpack_from("iIII", events, at)
            name = events[at + 16 : at + 16 + length].rstrip(b"\0").decode()
            found.append(f"opened {name or 'the folder'} ({mask:#x})")
            at += 16 + length
        return found


@contextmanager
def canary(folder: Path) -> Iterator[Canary]:
    """Watch until the block ends."""
    folder.mkdir()
    inotify = _LIBC.inotify_init1(_IN_NONBLOCK)
    if _LIBC.inotify_add_watch(inotify, os.fsencode(folder), _IN_ACCESS | _IN_OPEN) < 0:
        raise OSError(ctypes.get_errno(), "inotify is not available")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        bait = Canary(f"http://127.0.0.1:{port}", folder, inotify)
        thread = threading.Thread(target=_serve, args=(server, bait._connections), daemon=True)
        thread.start()
        yield bait
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    os.close(inotify)


def _serve(server: socket.socket, connections: list[str]) -> None:
    body = canary_lots().encode()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(2)
            try:
                request = connection.recv(4096)
                connections.append(f"connected: {request.split(b' HTTP', 1)[0]!r}")
                connection.sendall(head % len(body) + body)
            except OSError:
                connections.append("connected")

"""An ArcGIS ImageServer for local GeoTIFFs on loopback, with optional faults.

It has the REST contract of `exportImage` (bbox, bboxSR, imageSR, size, pixelType, bandIds,
interpolation, format=tiff, f=image) and of the metadata (f=json). Like ArcGIS it sends most
errors with HTTP 200 and an error body.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

SERVICE = "/arcgis/rest/services/Pictures/ImageServer"
PIXEL_TYPES = {"uint8": "U8", "uint16": "U16", "int16": "S16", "float32": "F32"}


@dataclass
class FakeImageServer:
    """The server's images, its faults, and its requests.

    `faults` has one fault for each request, later requests succeed; `always` is a permanent
    fault. They are "500", "busy" (an error body), "token", "html", "truncated", "hang",
    "shifted" and "small". `requests` has the path and parameters of each request.
    """

    paths: Sequence[Path]
    url: str = ""
    max_size_px: tuple[int, int] = (4100, 4100)
    metadata: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    always: str | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def exports(self) -> list[dict[str, str]]:
        return [params for path, params in self.requests if path == "/exportImage"]

    def describe(self) -> dict[str, Any]:
        bounds = []
        for path in self.paths:
            with rasterio.open(path) as dataset:
                bounds.append(transform_bounds(dataset.crs, 3857, *dataset.bounds))
                count, dtype = dataset.count, dataset.dtypes[0]
        left, bottom = np.min(bounds, axis=0)[:2]
        right, top = np.max(bounds, axis=0)[2:]
        return {
            "currentVersion": 10.91,
            "name": "Pictures",
            "capabilities": "Image,Metadata",
            "bandCount": count,
            "pixelType": PIXEL_TYPES[dtype],
            "extent": {
                "xmin": left,
                "ymin": bottom,
                "xmax": right,
                "ymax": top,
                "spatialReference": {"wkid": 102100, "latestWkid": 3857},
            },
            "maxImageWidth": self.max_size_px[0],
            "maxImageHeight": self.max_size_px[1],
            **self.metadata,
        }

    def export(self, params: dict[str, str], shift_px: int = 0) -> bytes:
        left, bottom, right, top = (float(value) for value in params["bbox"].split(","))
        width, height = (int(value) for value in params["size"].split(","))
        pixel = (right - left) / width
        left, right = left + shift_px * pixel, right + shift_px * pixel
        assert params["bboxSR"] == params["imageSR"]
        assert width <= self.max_size_px[0]
        assert height <= self.max_size_px[1]
        transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
        layers = [self._warp(path, params, transform, width, height) for path in self.paths]
        pixels = layers[0][0]
        for more, shown in layers[1:]:
            pixels = np.where(shown, more, pixels)
        if "bandIds" in params:
            pixels = pixels[[int(band) for band in params["bandIds"].split(",")]]
        profile = {
            "driver": "GTiff",
            "count": len(pixels),
            "width": width,
            "height": height,
            "dtype": pixels.dtype,
            "crs": f"EPSG:{params['imageSR']}",
            "transform": transform,
        }
        with MemoryFile() as memory:
            with memory.open(**profile) as dataset:
                dataset.write(pixels)
            return bytes(memory.read())

    @staticmethod
    def _warp(
        path: Path, params: dict[str, str], transform: Any, width: int, height: int
    ) -> tuple[Any, Any]:
        bilinear = params["interpolation"] == "RSP_BilinearInterpolation"
        with (
            rasterio.open(path) as dataset,
            WarpedVRT(
                dataset,
                crs=f"EPSG:{params['imageSR']}",
                transform=transform,
                width=width,
                height=height,
                resampling=Resampling.bilinear if bilinear else Resampling.nearest,
            ) as warped,
        ):
            pixels = warped.read()
        return pixels, pixels.any(axis=0)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        self._answer(split.path, split.query)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(urlsplit(self.path).path, body)

    def _answer(self, path: str, query: str) -> None:
        fake = self.server.fake
        params = {name: values[-1] for name, values in parse_qs(query).items()}
        fake.requests.append((path.removeprefix(SERVICE), params))
        fault = fake.always or (fake.faults.pop(0) if fake.faults else None)
        if fault == "500":
            self._send(b"", status=500)
        elif fault == "busy":
            self._send_error_body(500, "Error exporting image")
        elif fault == "refused":
            self._send_error_body(400, "Unable to complete operation.")
        elif fault == "token":
            self._send_error_body(499, "Token Required")
        elif fault == "html":
            self._send(b"<html><body>Down for maintenance</body></html>", "text/html")
        elif fault == "hang":
            fake.released.wait(30)  # until the test ends; the client times out before
        elif path == f"{SERVICE}/exportImage":
            self._export(params, fault)
        elif path == SERVICE:
            self._send(json.dumps(fake.describe()).encode(), "application/json")
        else:
            self._send_error_body(404, "Service not found")

    def _export(self, params: dict[str, str], fault: str | None) -> None:
        fake = self.server.fake
        assert params["f"] == "image"
        assert params["format"] == "tiff"
        if fault == "small":
            width, height = params["size"].split(",")
            params = {**params, "size": f"{int(width) // 2},{int(height) // 2}"}
        image = fake.export(params, shift_px=7 if fault == "shifted" else 0)
        if fault == "truncated":
            image = image[: len(image) // 2]
        self._send(image, "image/tiff")

    def _send_error_body(self, code: int, message: str) -> None:
        error = {"error": {"code": code, "message": message, "details": []}}
        self._send(json.dumps(error).encode(), "application/json")

    def _send(self, body: bytes, content_type: str = "text/plain", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeImageServer


@contextmanager
def image_server(*paths: Path) -> Iterator[FakeImageServer]:
    """A running server of these files, later ones on top."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = FakeImageServer(paths)
    server.fake.url = f"http://127.0.0.1:{server.server_address[1]}{SERVICE}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.fake
    finally:
        server.fake.released.set()
        server.shutdown()
        server.server_close()
        thread.join()

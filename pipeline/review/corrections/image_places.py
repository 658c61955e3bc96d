"""Where on Earth the images of a COCO file lie.

A georeferenced image says so itself. For a PNG or JPEG, a world file beside it has the transform,
or a JSON file of its name has "crs" and "transform" (a, b, c, d, e, f: x = a col + b row + c).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError

from detection.errors import DetectionError
from detection.imagery.georeference import crs_of
from detection.imagery.raster_file import FOLDER_SUFFIXES, open_raster
from parcels.crs_definition import crs_of_data
from parcels.untrusted import mapping, sanitize_text
from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.correction import UnusableValue

_MAX_FILES = 1_000_000
_MAX_SIDECAR_BYTES = 1 << 20
# Label Studio puts eight hexadecimal digits, or a whole UUID, before the name of an upload.
_UPLOAD = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){0,3}(?:-[0-9a-f]{12})?-(?=.)")
# Roboflow writes tile_3.png as tile_3_png.rf.0123….jpg
_ROBOFLOW = re.compile(r"^(.+)_(?:jpe?g|png|tiff?|bmp|webp)\.rf\.\w+$", re.IGNORECASE)
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where an image's pixels lie: `transform` from (column, row) to a CRS."""

    transform: Affine
    crs: CRS


class ImagePlaces:
    """The images of a folder, by the names that annotation tools have for them.

    Args:
        declared: the CRS of those that do not name it.
        deep: whether folders in it are searched too.

    Raises:
        CorrectionsFileError: no such folder, or the CRS is not known.
    """

    def __init__(self, folder: Path, declared: str | None, *, deep: bool = True) -> None:
        if not folder.is_dir():
            raise CorrectionsFileError(f"{folder} is not a folder of images")
        try:
            self._declared = None if declared is None else crs_of_data(declared)
        except CRSError as error:
            raise CorrectionsFileError(
                f"--crs {sanitize_text(declared, 60)!r} is not a CRS: write EPSG:CODE"
            ) from error
        self._folder = folder
        self._by_stem: dict[str, list[Path]] = {}
        for number, path in enumerate(folder.rglob("*") if deep else folder.glob("*")):
            if number >= _MAX_FILES:
                raise CorrectionsFileError(f"{folder} has too many files: name a smaller folder")
            self._by_stem.setdefault(path.stem.casefold(), []).append(path)

    def place(self, image: Mapping[str, Any], width: int, height: int) -> ImagePlace:
        """Where an entry of `images` lies.

        Raises:
            UnusableValue: that is not known, with what to do.
        """
        if "transform" in image:
            return self._described(image, "its entry in `images`")
        name = sanitize_text(image.get("file_name"), 120)
        for stem in _stems(image):
            beside = self._by_stem.get(stem.casefold(), [])
            for suffixes, read in (
                (FOLDER_SUFFIXES, self._raster),
                ((".json",), self._sidecar),
                (tuple(_world_suffixes(beside)), self._world_file),
            ):
                found = [path for path in beside if path.suffix.lower() in suffixes]
                if len(found) > 1:
                    raise UnusableValue(
                        f"{len(found)} files are called {sanitize_text(stem, 80)}: pass a folder "
                        "with one of them as --images"
                    )
                if found:
                    return read(found[0], width, height)
        raise UnusableValue(
            f"it is not known where the image {name!r} lies: put the GeoTIFF, or a world file, of "
            f"its name into {self._folder} (--images)"
        )

    def _raster(self, path: Path, width: int, height: int) -> ImagePlace:
        try:
            with open_raster(str(path)) as dataset:
                declared = None if self._declared is None else str(self._declared.to_wkt())
                crs = crs_of_data(crs_of(path.name, dataset, declared if not dataset.crs else None))
                size, transform = (dataset.width, dataset.height), dataset.transform
        except (RasterioError, DetectionError, CRSError, OSError) as error:
            raise UnusableValue(
                f"{path.name} does not say where it lies ({sanitize_text(error, 200)})"
            ) from error
        _require_size(path, size, (width, height))
        return ImagePlace(transform, crs)

    def _sidecar(self, path: Path, width: int, height: int) -> ImagePlace:
        self._check_picture(path, width, height)
        try:
            described = json.loads(_text(path))
        except (ValueError, RecursionError) as error:
            raise UnusableValue(f"{path.name} is not JSON") from error
        return self._described(mapping(described), path.name)

    def _world_file(self, path: Path, width: int, height: int) -> ImagePlace:
        self._check_picture(path, width, height)
        lines = _text(path).split()
        try:
            a, d, b, e, c, f = map(float, lines)
        except ValueError as error:
            raise UnusableValue(f"{path.name} is not a world file: six numbers") from error
        # A world file has the centre of the first pixel, and an image its corner.
        corner = Affine(a, b, c, d, e, f) @ Affine.translation(-0.5, -0.5)
        prj = path.with_suffix(".prj")
        text = _text(prj) if prj.is_file() else None
        return ImagePlace(_usable(corner, path.name), self._crs(text, path.name))

    def _described(self, described: Mapping[str, Any], where: str) -> ImagePlace:
        numbers = described.get("transform")
        try:
            transform = Affine(*map(float, numbers[:6] if isinstance(numbers, list) else ()))
        except (TypeError, ValueError, OverflowError) as error:
            raise UnusableValue(f"{where} has no transform of six numbers") from error
        return ImagePlace(_usable(transform, where), self._crs(described.get("crs"), where))

    def _crs(self, definition: object, where: str) -> CRS:
        if definition is None and self._declared is not None:
            return self._declared
        if definition is None:
            raise UnusableValue(f"{where} does not name a CRS: pass --crs EPSG:CODE")
        try:
            return crs_of_data(definition)
        except CRSError as error:
            raise UnusableValue(f"{where}: its CRS cannot be used: pass --crs EPSG:CODE") from error

    def _check_picture(self, beside: Path, width: int, height: int) -> None:
        """Check the size of the picture that a sidecar is of, where it is there."""
        for path in self._by_stem[beside.stem.casefold()]:
            if path.suffix.lower() in _PICTURES and path.parent == beside.parent:
                size = picture_size(path)
                if size is not None:
                    _require_size(path, size, (width, height))


def _require_size(path: Path, found: tuple[int, int], expected: tuple[int, int]) -> None:
    if found != expected:
        raise UnusableValue(
            f"{path.name} has {found[0]} x {found[1]} pixels, and was annotated with {expected[0]} "
            f"x {expected[1]}: export the annotations without resizing"
        )


def _usable(transform: Affine, where: str) -> Affine:
    if not all(map(math.isfinite, transform[:6])) or transform.determinant == 0:
        raise UnusableValue(f"{where} has a transform that places no pixel")
    return transform


def _stems(image: Mapping[str, Any]) -> Iterator[str]:
    """Names without suffix that the image's file may have, the written one first."""
    extra = mapping(image.get("extra")).get("name")
    for name in (image.get("file_name"), extra):
        if not isinstance(name, str) or not name or len(name) > 4_096:
            continue
        # Label Studio's local files: /data/local-files/?d=folder/tile.png
        base = re.split(r"[/\\]", unquote(name).rpartition("?d=")[2])[-1]
        for plain in (base, _UPLOAD.sub("", base)):
            stem = plain.rpartition(".")[0] or plain
            yield stem
            if (exported := _ROBOFLOW.match(stem)) is not None:
                yield exported[1]


def _world_suffixes(beside: list[Path]) -> Iterator[str]:
    yield ".wld"
    for path in beside:
        letters = path.suffix[1:].lower()
        if len(letters) > 1:
            yield f".{letters[0]}{letters[-1]}w"
    yield from (".pgw", ".jgw", ".tfw")


def picture_size(path: Path) -> tuple[int, int] | None:
    """The width and height of a PNG or JPEG, from its head; None if that does not say."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_MAX_SIDECAR_BYTES)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    at = 2
    while head[:2] == b"\xff\xd8" and at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        # Start of frame; 0xC4, 0xC8 and 0xCC are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        at += 2 + length
    return None


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > _MAX_SIDECAR_BYTES:
        raise UnusableValue(f"{path.name} is not a small text file")
    return path.read_text(encoding="utf-8-sig", errors="replace")

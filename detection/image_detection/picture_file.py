"""Files of pictures: their formats, whether they are complete, and what of them is not used."""

from __future__ import annotations

import zlib
from pathlib import Path

from rasterio.io import DatasetReader

from detection.errors import ImageryError

_DRIVERS = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WEBP",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_PNG_SIGNATURE_BYTES = 8
_MAX_READ_BYTES = 1 << 20


def picture_driver(path: Path) -> str | None:
    """GDAL's driver for a JPEG, PNG, WebP, GIF or BMP, by the file's content; None for others.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
    driver = next((name for start, name in _DRIVERS.items() if head.startswith(start)), None)
    return None if driver == "WEBP" and head[8:] != b"WEBP" else driver


def check_complete(path: Path, driver: str) -> None:
    """Refuse a PNG that is cut or damaged: GDAL reads what is missing as black, without an error.

    Raises:
        ImageryError: it is not complete.
    """
    if driver == "PNG" and not _is_complete_png(path):
        raise ImageryError(
            f"a part of {path} cannot be read: it is damaged or incomplete. Copy or download it "
            "again"
        )


def unused_parts(path: Path, dataset: DatasetReader) -> tuple[str, ...]:
    """What a picture has that is not used, a sentence each."""
    notes = []
    if len(dataset.subdatasets) > 1:
        notes.append(f"It has {len(dataset.subdatasets)} pages; only the first is used.")
    world = _world_file(path)
    if world is not None:
        notes.append(
            f"{world.name} is not used, because it does not say which CRS its numbers are in. For "
            "results in longitude and latitude: gdal_translate -of COG -a_srs EPSG:… "
            f"{path.name} {path.stem}_map.tif"
        )
    if dataset.crs is not None:
        notes.append(
            "It has a CRS, but does not say where in it its corners are: gdal_edit.py -a_ullr LEFT "
            "TOP RIGHT BOTTOM writes them."
        )
    if dataset.tags().get("EXIF_GPSLatitude"):
        notes.append("Its GPS position is that of the camera; it does not place its pixels.")
    return tuple(notes)


def _is_complete_png(path: Path) -> bool:
    """Whether each chunk up to the last one is there with the right checksum."""
    with path.open("rb") as file:
        file.seek(_PNG_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8:
            left = int.from_bytes(head[:4])
            checksum = zlib.crc32(head[4:])
            while left:
                data = file.read(min(left, _MAX_READ_BYTES))
                if not data:
                    return False
                checksum = zlib.crc32(data, checksum)
                left -= len(data)
            if file.read(4) != checksum.to_bytes(4):
                return False
            if head[4:] == b"IEND":
                return True
    return False


def _world_file(path: Path) -> Path | None:
    """The world file beside a picture: .jgw of .jpg, .jpgw, .wld."""
    letters = path.suffix.lower().lstrip(".")
    if len(letters) < 2:
        return None
    names = (f".{letters[0]}{letters[-1]}w", f"{path.suffix}w", ".wld")
    return next((file for name in names if (file := path.with_suffix(name)).is_file()), None)

"""Vector files that hold what they show: GDAL would follow the others to any address."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from parcels.errors import AddressRefused

# How the formats begin that name other data: OGR VRT, an OGR WFS connection, a GDAL pipeline.
_REFERENCES = (b"<ogrvrt", b"<ogrwfs", b"gdal_streamed_alg")
# GDAL knows a format by the first 1,024 bytes, and reads a few more of what looks like JSON.
_HEAD_BYTES = 16 * 1024


def refuse_external_references(path: Path) -> None:
    """Refuse a file, or one inside a zip, that only refers to data elsewhere.

    The name's ending says nothing: GDAL goes by the content.

    Raises:
        AddressRefused: it refers to data elsewhere.
    """
    if not path.is_file():
        return
    heads = [_head_of(path)]
    if zipfile.is_zipfile(path):
        heads += _heads_inside(path)
    if any(words in head.lower() for head in heads for words in _REFERENCES):
        raise AddressRefused(
            f"{path}: only refers to data elsewhere; save the parcels themselves, for example as "
            "a GeoPackage, and set 'path' to that"
        )


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _heads_inside(path: Path) -> list[bytes]:
    heads = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            try:
                with archive.open(member) as file:
                    heads.append(file.read(_HEAD_BYTES))
            except (RuntimeError, EOFError, zlib.error, zipfile.BadZipFile):
                continue  # encrypted, packed in a way of its own or broken: GDAL says so too
    return heads

"""Refuses vector files that refer to other data, as GDAL would open any path or URL (SSRF)."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from parcels.errors import AddressRefused

# Signatures of formats that refer to other data: OGR VRT, OGR WFS, GDAL pipelines.
_REFERENCES = (b"<ogrvrt", b"<ogrwfs", b"gdal_streamed_alg")
# GDAL identifies a format by the first 1,024 bytes, or a few more for JSON.
_HEAD_BYTES = 16 * 1024


def refuse_external_references(path: Path) -> None:
    """Refuse a file, or a file inside a zip, that refers to other data.

    The file name does not matter: GDAL identifies the format by the content.

    Raises:
        AddressRefused: it refers to other data.
    """
    if not path.is_file():
        return
    heads = [_head_of(path)]
    if zipfile.is_zipfile(path):
        heads += _heads_inside(path)
    if any(signature in head.lower() for head in heads for signature in _REFERENCES):
        raise AddressRefused(
            f"{path}: refers to other data; save the parcels themselves, for example as "
            "a GeoPackage, and set 'path' to that file"
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
                continue  # encrypted, unknown compression or damaged: GDAL refuses it too
    return heads

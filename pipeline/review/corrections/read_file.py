"""Reads a file of corrections, whichever program wrote it."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections import coco_file, geojson_file
from pipeline.review.corrections.correction import Correction, require_file

_HEAD_BYTES = 65_536
# What others save, and how they save what is read.
_OTHER = {
    b"PK\3\4": "a zip: unpack it, and name the .json or .geojson in it",
    b"SQLite format 3": "a GeoPackage: in QGIS, Export > Save Features As > GeoJSON",
    b"\0\0'\n": "a shapefile, whose columns lose their names: save the layer as GeoJSON",
    b"PAR1": "Parquet: save the layer as GeoJSON",
    b"<?xml": "XML: in CVAT, export the task as COCO 1.0",
}


def read_corrections(path: Path, images: Path | None, crs: str | None) -> list[Correction]:
    """The corrections of a GeoJSON or COCO file.

    Args:
        images: the folder of a COCO file's images; by default the file's own folder.
        crs: of images whose files do not name it.

    Raises:
        CorrectionsFileError: it is neither, or cannot be read.
    """
    require_file(path, geojson_file.MAX_BYTES)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CorrectionsFileError(f"{path}: {error.strerror or error}") from error
    for start, what in _OTHER.items():
        if head.startswith(start):
            raise CorrectionsFileError(f"{path} is {what}")
    if not head.strip():
        raise CorrectionsFileError(f"{path} is empty")
    if coco_file.looks_like_coco(head):
        return coco_file.read_coco(path, images, crs)
    return geojson_file.read_geojson(path)

"""Which GDAL drivers may open a file: those of the format that its content has, and no others.

GDAL alone would go by the content too, but over 64 formats, some of which are descriptions of data
elsewhere.
"""

from __future__ import annotations

import codecs
import re

from parcels.files.dataset import Dataset
from parcels.files.zip_archive import names_in_zip

GEODATABASE, TOPOJSON, JSON_FG = ("OpenFileGDB",), ("TopoJSON",), ("JSONFG",)
DATABASES, GML, KML, MAPINFO = ("GPKG", "SQLite"), ("GML",), ("LIBKML", "KML"), ("MapInfo File",)
GEOJSON, ESRI_JSON, CSV = ("GeoJSON",), ("ESRIJSON",), ("CSV",)
_SHAPEFILE, _FLATGEOBUF = ("ESRI Shapefile",), ("FlatGeobuf",)

_HEAD_BYTES = 64 * 1024
_SIGNATURES: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    (b"SQLite format 3\0", DATABASES),
    (b"fgb", _FLATGEOBUF),
    (b"\0\0\x27\x0a", _SHAPEFILE),
)
# What may precede the root element: a declaration, comments and processing instructions.
_ROOT = re.compile(rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(?:([\w.-]+):)?([\w.-]+)[\s/>]", re.DOTALL)
_GML_NAMESPACES = (b"http://www.opengis.net/gml", b"http://www.opengis.net/wfs")
_TOPOLOGY = re.compile(rb'"type"\s*:\s*"Topology"')


def drivers_for(dataset: Dataset) -> tuple[str, ...]:
    """The names of the drivers.

    Raises:
        ValueError: it has none of the formats that are read.
    """
    if _is_folder(dataset):
        return GEODATABASE
    with dataset.open() as file:
        head = file.read(_HEAD_BYTES)
    found = next((drivers for start, drivers in _SIGNATURES if head.startswith(start)), None)
    found = found or _drivers_for_text(dataset, _as_ascii(head))
    if found is None:
        raise ValueError(
            "its format is not recognized, or it is damaged; download it again, or export the "
            "parcels as a GeoPackage"
        )
    return found


def _is_folder(dataset: Dataset) -> bool:
    if not dataset.is_zip:
        return (dataset.path / dataset.member).is_dir()
    return dataset.member not in names_in_zip(dataset.path)


def _as_ascii(head: bytes) -> bytes:
    """Text without byte order mark and, if it is UTF-16, without its zeros."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(codecs.BOM_UTF8)


def _drivers_for_text(dataset: Dataset, head: bytes) -> tuple[str, ...] | None:
    text = head.lstrip()
    if text.startswith((b"{", b"[")):
        return TOPOJSON if _TOPOLOGY.search(head) else JSON_FG
    if text[:6].lower() == b"!table":
        return MAPINFO
    if text[:7].lower() == b"version" and dataset.suffix == ".mif":
        return MAPINFO
    root = _ROOT.match(text)
    if root is None:
        return None
    if root[2] == b"kml":
        return KML
    # A collection of any application: its namespaces say that it is GML.
    is_collection = any(name in text for name in _GML_NAMESPACES)
    return GML if is_collection and b"apabilities" not in root[2] else None

"""What to type instead, for imagery that is not read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_CONVERT = "convert it: gdal_translate -of COG {name} {stem}.tif"
_WITH_DRIVER = (
    "is not read here; convert it with a GDAL that has the {driver} driver "
    "(gdalinfo --formats): gdal_translate -of COG {name} {stem}.tif"
)
_BY_SUFFIX = {
    ".ecw": f"ECW {_WITH_DRIVER.replace('{driver}', 'ECW')}",
    ".sid": f"MrSID {_WITH_DRIVER.replace('{driver}', 'MrSID')}; or mrsidgeodecode -i {{name}} "
    "-o {stem}.tif",
    ".pdf": "a GeoPDF is a printed map, not imagery; get the imagery itself, or render it: "
    "gdal_translate -of COG --config GDAL_PDF_DPI 300 {name} {stem}.tif",
    ".gdb": "a raster in a file geodatabase is not read; export it: gdal_translate -of COG "
    "'OpenFileGDB:\"{name}\":RASTER' {stem}.tif",
    ".gdbtable": "a raster in a file geodatabase is not read; export it: gdal_translate -of COG "
    "'OpenFileGDB:\"FOLDER.gdb\":RASTER' {stem}.tif",
    ".zip": "an archive is not read; unpack it, and set `path:` to the folder: "
    "unzip {name} -d {stem}",
    ".tar": "an archive is not read; unpack it, and set `path:` to the folder: tar -xf {name}",
    ".gz": "an archive is not read; unpack it, and set `path:` to what it holds: tar -xf {name}, "
    "or gunzip {name}",
    ".tgz": "an archive is not read; unpack it, and set `path:` to the folder: tar -xf {name}",
    ".7z": "an archive is not read; unpack it, and set `path:` to the folder: 7z x {name}",
    ".ovr": "these are overviews of another file; set `path:` to that file",
    ".gpkg": f"a raster GeoPackage is not read; {_CONVERT}",
    ".mbtiles": f"MBTiles are not read; {_CONVERT}",
    ".kmz": f"KMZ is not read; {_CONVERT}",
    ".las": "this is a point cloud, not imagery",
    ".laz": "this is a point cloud, not imagery",
    ".qgz": "this is a QGIS project; set `path:` to the imagery files that it shows",
    ".qgs": "this is a QGIS project; set `path:` to the imagery files that it shows",
    ".lyr": "this is a layer file; set `path:` to the imagery that it shows",
    ".lyrx": "this is a layer file; set `path:` to the imagery that it shows",
    ".shp": "this is a tile index of vectors; set `path:` to the imagery files",
}
_NITF = f"NITF is not read, because it may refer to other files; {_CONVERT}"
_PICTURE = (
    "a picture without a CRS of its own is not read; convert it and state the CRS of its world "
    "file: gdal_translate -of COG -a_srs EPSG:… {name} {stem}.tif"
)
_SERVICE = (
    "it refers to other data (a service or a catalogue), which files may not; write the service "
    "itself in `imagery: {url: …}`"
)
_BY_SIGNATURE = {
    b"NITF": _NITF,
    b"NSIF": _NITF,
    b"\x89PNG": _PICTURE,
    b"\xff\xd8\xff": _PICTURE,
    b"RIFF": _PICTURE,
    b"GIF8": _PICTURE,
    b"BM": _PICTURE,
    b"<GDAL_WM": _SERVICE,
    b"<WCS_GDAL": _SERVICE,
    b"<GDALTileIndexDataset": _SERVICE,
    b"msid": _BY_SUFFIX[".sid"],
    b"%PDF": _BY_SUFFIX[".pdf"],
    b"PK\x03\x04": _BY_SUFFIX[".zip"],
    b"\x1f\x8b": _BY_SUFFIX[".gz"],
    b"SQLite format 3": _BY_SUFFIX[".gpkg"],
    b"<": "it is an HTML page or XML, not imagery; download the file again",
}
# Formats that are read, or have a signature above.
_NAMED_BY_SUFFIX = {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jp2": "JPEG 2000 image",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WebP image",
    ".gif": "GIF",
    ".bmp": "BMP",
}


def what_to_do(path: Path, head: bytes = b"") -> str:
    """Why a file is not read, and what to type.

    Args:
        head: the first bytes of its content.
    """
    return _advice(path, head).replace("{name}", path.name).replace("{stem}", path.stem)


def first_unsupported(paths: Iterable[Path]) -> Path | None:
    """The first file or geodatabase whose name is that of imagery that is not read."""
    return next((path for path in paths if path.suffix.lower() in _BY_SUFFIX), None)


def _advice(path: Path, head: bytes) -> str:
    start = head.lstrip()
    for signature, advice in _BY_SIGNATURE.items():
        if start.startswith(signature) and path.suffix.lower() not in _BY_SUFFIX:
            return advice
    if path.suffix.lower() in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix.lower()]
    if head[4:8] == b"ftyp":
        return (
            "it is a HEIC or AVIF picture, or a video, which are not read; save it as JPEG or PNG"
        )
    if not head.strip(b"\0"):
        return "it is empty; copy or download it again"
    named = _NAMED_BY_SUFFIX.get(path.suffix.lower())
    if named is not None:
        return f"it is not a {named}, or it is damaged; copy or download it again"
    return f"its format is not read (GeoTIFF, JPEG 2000, ERDAS .img and VRT are); {_CONVERT}"

"""Dataset: one set of parcels in the path of a registry entry, which may be a zip or a folder.

A download has more in it than its parcels: sub-folders, readme files, and what Finder and Windows
add. `find_datasets` leaves those out.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from parcels.errors import SourceMisconfigured
from parcels.files.foreign_links import refuse_foreign_parts
from parcels.files.self_contained import refuse_external_references, refuse_references_in_zip
from parcels.files.unsupported_formats import unsupported
from parcels.files.zip_archive import names_in_zip, open_in_zip, size_in_zip

PARQUET = (".parquet", ".geoparquet")
JSON = (".geojson", ".geojsonl", ".geojsons", ".ndjson", ".jsonl", ".json", ".esrijson")
CSV = (".csv", ".tsv", ".txt")
_FORMATS = (
    ".shp", ".gpkg", ".fgb", ".kml", ".gml", ".tab", ".mif", ".topojson", ".sqlite", *PARQUET,
    *JSON[:-2], ".esrijson",
)  # fmt: skip
# Used if there is nothing else: in a download these are mostly documentation.
_WEAK_FORMATS = (".json", ".csv", ".tsv")
_JUNK = re.compile(r"(^|/)(__macosx|\.[^/]+|thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)
_GEODATABASE = re.compile(r"^(?P<folder>(.*/)?[^/]+\.gdb)/[^/]+$", re.IGNORECASE)
_GEODATABASE_TABLE = re.compile(r"^(?P<folder>.*?)/?a00000001\.gdbtable$", re.IGNORECASE)
_HEAD_BYTES = 16 * 1024
_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: a file, a file geodatabase, or the parts of a Parquet dataset.

    Attributes:
        path: as in the registry entry.
        member: the dataset's name in the zip or folder; empty if the path is the dataset.
        is_zip: whether the path is a zip.
        parts: names of the files of a Parquet dataset, in the zip or folder.
    """

    path: Path
    member: str = ""
    is_zip: bool = False
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file name, without folders."""
        return PurePosixPath(self.member or self.path.name).name

    @property
    def stem(self) -> str:
        """The file name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix in lower case."""
        return ".parquet" if self.parts else PurePosixPath(self.name).suffix.lower()

    @property
    def gdal_path(self) -> str:
        """The path for GDAL."""
        if self.is_zip:
            return f"/vsizip/{{{self.path}}}/{self.member}".rstrip("/")
        return str(self.path / self.member)

    def open(self, name: str | None = None) -> IO[bytes]:
        """The bytes of the file, or of another one of the zip or folder."""
        member = self.member if name is None else name
        if not self.is_zip:
            return (self.path / member).open("rb")
        return open_in_zip(self.path, member)

    def size(self, name: str | None = None) -> int:
        """The bytes of the file, or of another one, after unpacking."""
        member = self.member if name is None else name
        if not self.is_zip:
            return (self.path / member).stat().st_size
        return size_in_zip(self.path, member)

    def names_inside(self) -> list[str]:
        """The names, for `open`, of the files of a file geodatabase."""
        if self.is_zip:
            start = f"{self.member}/" if self.member else ""
            return [name for name in names_in_zip(self.path) if name.startswith(start)]
        folder = self.path / self.member
        return [str(file) for file in folder.iterdir() if file.is_file()]

    def sidecar(self, suffix: str) -> str | None:
        """The name of the file beside this one with another suffix, for `open`; None if missing."""
        for ending in (suffix, suffix.upper()):
            if self.is_zip:
                name = str(PurePosixPath(self.member).with_suffix(ending))
                if name in names_in_zip(self.path):
                    return name
                continue
            file = (self.path / self.member).with_suffix(ending)
            if file.is_file():
                # Joined to a folder, an absolute path stands for itself.
                return str(file)
        return None

    def refusal(self, why: object) -> SourceMisconfigured:
        """The error for a dataset that cannot be used as parcels."""
        inside = f" (its {self.member})" if self.member and self.is_zip else ""
        return SourceMisconfigured(f"{self.path}{inside}: cannot be read as parcels: {why}")


def find_datasets(path: Path) -> list[Dataset]:
    """The datasets in a file, a zip or a folder; at least one.

    Raises:
        SourceMisconfigured: none, or the format is not supported; the message says what to do.
        AddressRefused: a file refers to other data.
    """
    if path.is_dir():
        return _in_folder(path)
    whole = Dataset(path)
    if not path.is_file():
        raise whole.refusal("it is a pipe or a device, not a file; set 'path' to a file")
    refuse_external_references(path)
    refuse_foreign_parts(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    why = unsupported(str(path), head)
    if why is not None:
        raise whole.refusal(why)
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return [whole]
    try:
        names = names_in_zip(path)
        refuse_references_in_zip(path)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError
    ) as error:  # fmt: skip
        raise whole.refusal(
            f"the zip cannot be used ({error}); unpack it and set 'path' to the file inside, or "
            "download it again"
        ) from error
    found = [Dataset(path, member, True, parts) for member, parts in _grouped(names)]
    return found or _refuse_empty(whole, names)


def _in_folder(path: Path) -> list[Dataset]:
    names: list[str] = []
    for file in sorted(path.rglob("*")):
        if file.is_file():
            names.append(file.relative_to(path).as_posix())
        if len(names) > _MAX_FILES:
            raise Dataset(path).refusal("the folder has too many files; set 'path' to one of them")
    found = [Dataset(path, member, False, parts) for member, parts in _grouped(names)]
    if [each.member for each in found] == [""] and not found[0].parts:
        refuse_foreign_parts(path)
        return [Dataset(path)]  # the folder is a geodatabase
    for each in found:
        for member in each.parts or (each.member,):
            refuse_foreign_parts(path / member, path)
            refuse_external_references(path / member)
    return found or _refuse_empty(Dataset(path), names)


def _refuse_empty(whole: Dataset, names: Iterable[str]) -> list[Dataset]:
    useful = [name for name in names if not _JUNK.search(name)]
    for name in useful:
        why = unsupported(name)
        if why is not None:
            raise whole.refusal(f"{PurePosixPath(name).name} inside: {why}")
    inside = ", ".join(useful[:5]) or "nothing"
    raise whole.refusal(
        f"it contains no parcels, but {inside}; supported are shapefile, GeoPackage, file "
        "geodatabase, GeoJSON, GeoParquet, FlatGeobuf, KML and CSV with WKT"
    )


def _grouped(names: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The datasets among these files: name, and the parts of a Parquet dataset."""
    useful = [name for name in names if not _JUNK.search(name)]
    geodatabases = dict.fromkeys(
        match["folder"]
        for name in useful
        for match in (_GEODATABASE.match(name), _GEODATABASE_TABLE.match(name))
        if match
    )
    files = [
        name
        for name in useful
        if not any(name.startswith(f"{folder}/") or not folder for folder in geodatabases)
    ]
    for suffixes in (_FORMATS, _WEAK_FORMATS):
        found = [name for name in files if PurePosixPath(name).suffix.lower() in suffixes]
        parquet = [name for name in found if PurePosixPath(name).suffix.lower() in PARQUET]
        if len(parquet) > 1 and len(parquet) == len(found) and not geodatabases:
            return [("", tuple(parquet))]
        if found or geodatabases:
            return [(name, ()) for name in (*geodatabases, *found)]
    return []

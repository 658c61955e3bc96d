"""What GDAL opens, a path or a content; by which drivers; and that it refers to nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcels.files import gdal_format
from parcels.files.contained_gdal import contained_gdal
from parcels.files.dataset import Dataset
from parcels.files.private_folder import PrivateFolder, folder_with
from parcels.files.self_contained import refuse_grid_paths, refuse_mapinfo_references
from parcels.files.sqlite_schema import refuse_foreign_tables
from parcels.files.xml_content import xml_content

_MAX_BYTES = 512 << 20
_HEAD_BYTES = 64 << 10
# The name of a CRS, as opposed to a path, an address or a PROJ text.
_CRS_NAME = re.compile(r"urn:[\w:.,-]+|[A-Za-z]+:\w+|https?://www\.opengis\.net/[\w/.:#-]+")


@dataclass(frozen=True)
class GdalSource:
    """What GDAL opens.

    Attributes:
        data: a path, or the content.
        drivers: names of the drivers that may open it.
        folder: of the path, kept as long as this object; None for the dataset's own.
        shown: the path for messages.
    """

    data: str | bytes
    drivers: tuple[str, ...]
    folder: PrivateFolder | None = None
    shown: str = ""

    @contextmanager
    def opened(self) -> Iterator[str | bytes]:
        """The data, for calls of pyogrio by this thread."""
        with contained_gdal(self.drivers):
            try:
                yield self.data
            except (RuntimeError, ValueError) as error:
                if self.folder is None or str(self.folder.path) not in str(error):
                    raise
                message = str(error).replace(str(self.folder.path), self.shown)
                raise type(error)(message) from error


def gdal_source(dataset: Dataset, encoding: str | None) -> GdalSource:
    """The source of a dataset for GDAL.

    Args:
        encoding: of the registry entry.

    Raises:
        ValueError: its format is not read, it is too large, or one page of a server's answer.
        AddressRefused: it refers to other data.
    """
    drivers = gdal_format.drivers_for(dataset)
    if drivers in (gdal_format.GML, gdal_format.KML):
        content = xml_content(dataset, encoding, is_gml=drivers == gdal_format.GML)
        return file_alone(dataset, drivers) if content is None else GdalSource(content, drivers)
    if drivers in (gdal_format.TOPOJSON, gdal_format.JSON_FG):
        return GdalSource(_without_links(dataset), drivers)
    if drivers == gdal_format.DATABASES:
        source = file_alone(dataset, drivers) if dataset.is_zip else None
        database = dataset.path / dataset.member if source is None else Path(str(source.data))
        refuse_foreign_tables(database, dataset.path)
        return source or GdalSource(dataset.gdal_path, drivers)
    if drivers == gdal_format.MAPINFO and dataset.suffix == ".tab":
        with dataset.open() as table:
            refuse_mapinfo_references(dataset.path, table.read(_MAX_BYTES))
    for name in _with_crs(dataset, drivers):
        with dataset.open(name) as file:
            refuse_grid_paths(dataset.path, file.read(_HEAD_BYTES))
    return GdalSource(dataset.gdal_path, drivers)


def _with_crs(dataset: Dataset, drivers: tuple[str, ...]) -> list[str]:
    """The files that begin with a definition of the CRS."""
    if drivers == gdal_format.GEODATABASE:
        return [name for name in dataset.names_inside() if name.lower().endswith(".gdbtable")]
    name = dataset.sidecar(".prj") if dataset.suffix == ".shp" else dataset.member
    return [] if name is None else [name]


def file_alone(dataset: Dataset, drivers: tuple[str, ...]) -> GdalSource:
    """The source of a file that GDAL is to open without the files beside it.

    Raises:
        OSError: it cannot be unpacked.
    """
    folder = folder_with(dataset)
    return GdalSource(str(folder.path), drivers, folder, str(dataset.path))


def _without_links(dataset: Dataset) -> bytes:
    with dataset.open() as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError("it is too large for this format; save it as a GeoPackage")
    try:
        return json.dumps(_named_crs_only(json.loads(content))).encode()
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _named_crs_only(value: Any) -> Any:  # noqa: ANN401
    """JSON in which no CRS is a link, a path or a PROJ text; such a CRS is left out."""
    if isinstance(value, list):
        # Arrays of coordinates are by far the most.
        return value if _is_numbers(value) else [_named_crs_only(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _named_crs_only(each)
        for name, each in value.items()
        if name not in ("crs", "coordRefSys", "links") or _is_named_crs(each)
    }


def _is_numbers(values: list[Any]) -> bool:
    return all(isinstance(each, int | float) for each in values)


def _is_named_crs(crs: Any) -> bool:  # noqa: ANN401
    if isinstance(crs, list):
        return all(map(_is_named_crs, crs))
    if isinstance(crs, dict):
        properties = crs.get("properties")
        name = properties.get("name") if isinstance(properties, dict) else None
        return crs.get("type") == "name" and _is_named_crs(name)
    return isinstance(crs, str) and _CRS_NAME.fullmatch(crs.strip("[]")) is not None

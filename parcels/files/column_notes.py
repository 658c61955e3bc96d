"""Aliases and coded values in the system tables of geodatabases and GeoPackages.

GDAL returns the codes and the names of columns only. A polygon of type 2 is a right of way only by
its coded value domain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET  # see `_elements`

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from parcels.column_mapping import meanings_by_code
from parcels.files.table_reader import NO_NOTES, ColumnNotes

# GPKG 1.3, annex F.9 (schema extension).
_GEOPACKAGE_COLUMNS = """
SELECT c.column_name, c.name, c.title, v.value, v.description
FROM gpkg_data_columns c LEFT JOIN gpkg_data_column_constraints v
    ON v.constraint_name = c.constraint_name AND v.constraint_type = 'enum'
WHERE lower(c.table_name) = lower('{layer}')
"""
_HAS_COLUMNS = "SELECT name FROM sqlite_master WHERE lower(name) = 'gpkg_data_columns'"


def read_column_notes(suffix: str, source: str | bytes, layer: str) -> ColumnNotes:
    """What a layer's file says about its columns; nothing for formats other than these two.

    Args:
        suffix: of the file, such as ".gdb".
        source: what GDAL opens.
    """
    try:
        if suffix == ".gdb":
            return _geodatabase_notes(source, layer)
        if suffix == ".gpkg":
            return _geopackage_notes(source, layer)
    except (DataSourceError, DataLayerError):
        pass  # geodatabases before version 10 have other system tables
    return NO_NOTES


def _geopackage_notes(source: str | bytes, layer: str) -> ColumnNotes:
    if not _rows(source, sql=_HAS_COLUMNS):
        return NO_NOTES
    aliases: dict[str, str] = {}
    coded: dict[str, list[tuple[object, object]]] = defaultdict(list)
    for row in _rows(source, sql=_GEOPACKAGE_COLUMNS.format(layer=layer.replace("'", "''"))):
        column = str(row["column_name"])
        if alias := row["title"] or row["name"]:
            aliases[column] = str(alias)
        coded[column].append((row["value"], row["description"]))
    return _column_notes(aliases, coded)


def _geodatabase_notes(source: str | bytes, layer: str) -> ColumnNotes:
    """See Esri's "XML Schema of the Geodatabase": every item is described by an XML document."""
    items = list(_elements(source))
    tables = (item for item in items if item.find("GPFieldInfoExs") is not None)
    table = next((item for item in tables if item.findtext("Name") == layer), None)
    if table is None:
        return NO_NOTES
    domains = {item.findtext("DomainName"): item for item in items}
    aliases: dict[str, str] = {}
    coded: dict[str, list[tuple[object, object]]] = defaultdict(list)
    for field in table.iter("GPFieldInfoEx"):
        column = field.findtext("Name") or ""
        if alias := field.findtext("AliasName"):
            aliases[column] = alias
        domain = domains.get(field.findtext("DomainName"))
        if domain is not None:
            coded[column] += _pairs(domain.iter("CodedValue"), "Code", "Name")
    subtyped = table.findtext("SubtypeFieldName") or ""
    coded[subtyped] += _pairs(table.iter("Subtype"), "SubtypeCode", "SubtypeName")
    return _column_notes(aliases, coded)


def _pairs(
    elements: Iterable[ET.Element], code: str, meaning: str
) -> Iterator[tuple[object, object]]:
    return ((each.findtext(code), each.findtext(meaning)) for each in elements)


def _column_notes(
    aliases: dict[str, str], coded: Mapping[str, Iterable[tuple[object, object]]]
) -> ColumnNotes:
    meanings = {column: meanings_by_code(pairs) for column, pairs in coded.items()}
    return ColumnNotes(aliases, {column: found for column, found in meanings.items() if found})


def _elements(source: str | bytes) -> Iterator[ET.Element]:
    for row in _rows(source, layer="GDB_Items", LIST_ALL_TABLES="YES"):
        definition = row.get("Definition")
        # Without a document type there are no entities to expand.
        if not definition or "<!DOCTYPE" in definition:
            continue
        try:
            yield ET.fromstring(definition)  # noqa: S314
        except ET.ParseError:
            continue


def _rows(source: str | bytes, **query: str) -> list[dict[str, Any]]:
    _, table = pyogrio.read_arrow(source, read_geometry=False, **query)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows

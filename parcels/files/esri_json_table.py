"""EsriJsonTable: saved answers of an ArcGIS server, with the geometry rules of our queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from parcels.column_mapping import meanings_by_code
from parcels.esri import crs_from_esri, polygons_in_own_crs
from parcels.esri.curves import chord_tolerance
from parcels.files.json_stream import Members
from parcels.files.json_table import JsonTable
from parcels.files.table_reader import ColumnNotes
from parcels.untrusted import mapping, mappings


class EsriJsonTable(JsonTable):
    """See `JsonTable`."""

    _is_esri = True

    @staticmethod
    def _attributes(feature: Members) -> Members:
        attributes = feature.get("attributes")
        return attributes if isinstance(attributes, dict) else {}

    @staticmethod
    def _shape(geometry: Any) -> Any:  # noqa: ANN401
        return geometry

    def _geometries(self, shapes: Sequence[Any], crs: CRS) -> NDArray[np.object_]:
        return polygons_in_own_crs(shapes, chord_tolerance(crs))

    def _declared_crs(self, other: Members) -> object | None:
        reference = other.get("spatialReference")
        if not isinstance(reference, dict) or not reference:
            reference = self._first_reference()
        return None if reference is None else crs_from_esri(reference)

    def _column_notes(self, other: Members) -> ColumnNotes:
        aliases = {name: str(alias) for name, alias in mapping(other.get("fieldAliases")).items()}
        coded_values = {}
        for field in mappings(other.get("fields")):
            name = str(field.get("name"))
            if isinstance(field.get("alias"), str):
                aliases.setdefault(name, field["alias"])
            codes = mappings(mapping(field.get("domain")).get("codedValues"))
            coded_values[name] = meanings_by_code((c.get("code"), c.get("name")) for c in codes)
        return ColumnNotes(aliases, coded_values)

    def _first_reference(self) -> dict[str, Any] | None:
        """The spatial reference of the first geometry that has its own."""
        for _, geometry in self._kept if self._kept is not None else self._features():
            reference = geometry.get("spatialReference") if isinstance(geometry, dict) else None
            if isinstance(reference, dict) and reference:
                return reference
        return None

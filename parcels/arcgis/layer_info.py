"""The metadata of an ArcGIS layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from pyproj import Transformer
from pyproj.exceptions import ProjError

from parcels.arcgis.geometry_crs import GeometryCrs, parse_geometry_crs
from parcels.column_mapping import MAX_EXACT, MAX_EXACT_SINGLE, match_column, meanings_by_code
from parcels.crs import WGS84
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.esri import crs_from_esri
from parcels.parcel_source import Extent
from parcels.untrusted import mapping, mappings, sanitize_text

_NUMERIC = (
    "esriFieldTypeOID",
    "esriFieldTypeSmallInteger",
    "esriFieldTypeInteger",
    "esriFieldTypeBigInteger",
    "esriFieldTypeSingle",
    "esriFieldTypeDouble",
)
_MAX_EXACT = {"esriFieldTypeDouble": MAX_EXACT, "esriFieldTypeSingle": MAX_EXACT_SINGLE}


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """The metadata of a polygon layer that queries need.

    Attributes:
        fields: name -> Esri type, in the layer's order.
        aliases: name -> the alias that the layer shows to people, where it differs.
        coded_values: name -> code as text -> its meaning, for columns with a coded value domain.
        extent: (west, south, east, north) in degrees; None if unknown.
        max_record_count: maximum number of rows in a response; None if unknown.
        geometry_crs: the CRS of geometry in queries and responses.
        has_statistics: whether it computes statistics such as a maximum.
        last_edit_ms: time of the last edit, in ms since 1970; None if unknown.
    """

    name: str
    fields: dict[str, str]
    aliases: dict[str, str]
    coded_values: dict[str, dict[str, str]]
    object_id_field: str | None
    extent: Extent | None
    max_record_count: int | None
    geometry_crs: GeometryCrs
    has_statistics: bool
    last_edit_ms: int | None

    def is_numeric(self, field: str) -> bool:
        """Whether SQL literals of the field are unquoted."""
        return self.fields.get(field) in _NUMERIC

    def max_exact(self, field: str) -> float:
        """From here on a number of the field stands for several integers: infinite for integers."""
        return _MAX_EXACT.get(self.fields.get(field, ""), inf)


def parse_layer_info(url: str, metadata: Mapping[str, Any]) -> LayerInfo:
    """The metadata from the response of `<layer>?f=json`.

    Raises:
        SourceMisconfigured: not a polygon layer, or it cannot be queried.
    """
    try:
        return _parse(url, metadata)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SourceMisconfigured(
            f"{url}: the layer's metadata is invalid ({sanitize_text(error)}); is it an ArcGIS "
            "layer? Correct 'url' and 'layer' in the registry entry"
        ) from error


def _parse(url: str, metadata: Mapping[str, Any]) -> LayerInfo:
    kind = metadata.get("geometryType")
    if kind != "esriGeometryPolygon":
        what = sanitize_text(kind or metadata.get("type") or "of unknown type")
        name = sanitize_text(metadata.get("name", "unnamed"))
        raise SourceMisconfigured(
            f"{url}: {name!r} ({what}) is not a polygon layer; correct 'layer' in the registry "
            "entry"
        )
    capabilities = metadata.get("capabilities")
    if capabilities and "query" not in capabilities.lower():
        raise SourceMisconfigured(
            f"{url}: queries are not allowed (capabilities: {sanitize_text(capabilities)}); use "
            "another layer in the registry entry"
        )
    described = {
        name: field
        for field in metadata.get("fields") or []
        # Column names with control characters are not real.
        if (name := str(field["name"])) == sanitize_text(name)
    }
    fields = {name: str(field.get("type")) for name, field in described.items()}
    oid_fields = (name for name, type_ in fields.items() if type_ == "esriFieldTypeOID")
    declared = metadata.get("objectIdField")
    max_rows = as_int64(metadata.get("maxRecordCount"))
    advanced = metadata.get("advancedQueryCapabilities") or {}
    return LayerInfo(
        name=sanitize_text(metadata.get("name", "")),
        fields=fields,
        aliases={
            name: alias
            for name, field in described.items()
            if isinstance(alias := field.get("alias"), str) and alias != name
        },
        coded_values=_coded_values(metadata, described),
        object_id_field=declared
        if isinstance(declared, str) and declared
        else next(oid_fields, None),
        extent=extent_lonlat(metadata.get("extent")),
        max_record_count=max_rows if max_rows is not None and max_rows > 0 else None,
        geometry_crs=parse_geometry_crs(metadata),
        has_statistics=bool(
            metadata.get("supportsStatistics") or advanced.get("supportsStatistics")
        ),
        last_edit_ms=as_int64((metadata.get("editingInfo") or {}).get("lastEditDate")),
    )


def _coded_values(
    metadata: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Column -> code as text -> its meaning, from coded value domains and subtypes."""
    coded = {
        name: _meanings(mappings(mapping(field.get("domain")).get("codedValues")), "code")
        for name, field in fields.items()
    }
    subtypes = _meanings(mappings(metadata.get("types")), "id")
    by_subtype = match_column(str(metadata.get("typeIdField") or ""), list(fields), {})
    if len(by_subtype) == 1 and subtypes:
        coded[by_subtype[0]] = subtypes
    return {name: codes for name, codes in coded.items() if codes}


def _meanings(values: Sequence[Mapping[str, Any]], key: str) -> dict[str, str]:
    """Code as text -> its name."""
    return meanings_by_code((each.get(key), each.get("name")) for each in values)


def as_int64(value: object) -> int | None:
    """A 64-bit integer, which servers also send as 6.4579816E7; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -(2**63) <= value < 2**63 else None


def extent_lonlat(extent: Mapping[str, Any] | None) -> Extent | None:
    """An Esri extent as (west, south, east, north) in degrees.

    None if it is missing, empty or in an unknown CRS: it is only a hint.
    """
    if not extent:
        return None
    try:
        left, bottom, right, top = (float(extent[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
        crs = crs_from_esri(extent.get("spatialReference"))
        to_degrees = Transformer.from_crs(crs, WGS84, always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(left, bottom, right, top)
    except (GeometryError, ProjError, KeyError, OverflowError, TypeError, ValueError):
        return None
    on_earth = np.isfinite([west, south, east, north]).all() and west < east and south < north
    return (west, south, east, north) if on_earth else None

"""What an ArcGIS layer says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import Transformer
from pyproj.exceptions import ProjError

from parcels.arcgis.geometry_crs import GeometryCrs, parse_geometry_crs
from parcels.crs import WGS84
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.esri import crs_from_esri
from parcels.parcel_source import Extent
from parcels.untrusted import sanitize_text

_NUMERIC = (
    "esriFieldTypeOID",
    "esriFieldTypeSmallInteger",
    "esriFieldTypeInteger",
    "esriFieldTypeBigInteger",
    "esriFieldTypeSingle",
    "esriFieldTypeDouble",
)


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """The facts of a polygon layer that a query needs.

    Attributes:
        fields: name -> Esri type, in the layer's order.
        extent: (west, south, east, north) in degrees; None where the layer does not say one.
        max_record_count: rows that it returns at most in one answer; None where it says none.
        reference: in which CRS geometry goes there and comes back.
        has_statistics: whether it reckons a maximum.
        last_edit_ms: when it was last edited, in ms since 1970; None where it says nothing.
    """

    name: str
    fields: dict[str, str]
    object_id_field: str | None
    extent: Extent | None
    max_record_count: int | None
    reference: GeometryCrs
    has_statistics: bool
    last_edit_ms: int | None

    def is_numeric(self, field: str) -> bool:
        """Whether values of the field are written without quotes in a where clause."""
        return self.fields.get(field) in _NUMERIC


def parse_layer_info(url: str, answer: Mapping[str, Any]) -> LayerInfo:
    """The facts in the answer of `<layer>?f=json`.

    Raises:
        SourceMisconfigured: no layer of polygons, or one that cannot be queried.
    """
    try:
        return _read(url, answer)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise SourceMisconfigured(
            f"{url}: what it says of itself makes no sense ({sanitize_text(error)}); is it "
            "an ArcGIS layer? Correct 'url' and 'layer' in the registry entry"
        ) from error


def _read(url: str, answer: Mapping[str, Any]) -> LayerInfo:
    kind = answer.get("geometryType")
    if kind != "esriGeometryPolygon":
        what = sanitize_text(kind or answer.get("type") or "no layer")
        name = sanitize_text(answer.get("name", "unnamed"))
        raise SourceMisconfigured(
            f"{url}: is {name!r}, {what}, not a layer of polygons; "
            "correct 'layer' in the registry entry"
        )
    capabilities = answer.get("capabilities")
    if capabilities and "query" not in capabilities.lower():
        raise SourceMisconfigured(
            f"{url}: may not be queried (it allows {sanitize_text(capabilities)}); name another "
            "layer in the registry entry"
        )
    fields = {
        name: str(field.get("type"))
        for field in answer.get("fields") or []
        # Another name is none of a database.
        if (name := str(field["name"])) == sanitize_text(name)
    }
    of_type = (name for name, type_ in fields.items() if type_ == "esriFieldTypeOID")
    named = answer.get("objectIdField")
    most = as_int64(answer.get("maxRecordCount"))
    advanced = answer.get("advancedQueryCapabilities") or {}
    return LayerInfo(
        name=sanitize_text(answer.get("name", "")),
        fields=fields,
        object_id_field=named if isinstance(named, str) and named else next(of_type, None),
        extent=extent_lonlat(answer.get("extent")),
        max_record_count=most if most is not None and most > 0 else None,
        reference=parse_geometry_crs(answer),
        has_statistics=bool(answer.get("supportsStatistics") or advanced.get("supportsStatistics")),
        last_edit_ms=as_int64((answer.get("editingInfo") or {}).get("lastEditDate")),
    )


def as_int64(value: object) -> int | None:
    """A whole number of 64 bits, which servers write as 6.4579816E7 too; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -(2**63) <= value < 2**63 else None


def extent_lonlat(extent: Mapping[str, Any] | None) -> Extent | None:
    """An Esri extent as (west, south, east, north) in degrees.

    None for one that is missing, empty or in an unknown CRS: it is a hint only.
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

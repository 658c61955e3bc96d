"""GeoJSON of corrections: what `lotline export --format geojson` wrote, as QGIS saves it again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from parcels.crs import WGS84, to_wgs84
from parcels.crs_definition import crs_of_data
from parcels.errors import GeometryError
from parcels.files.json_stream import json_features, without_garbage_collection
from parcels.measure import on_earth
from parcels.untrusted import mapping, sanitize_text
from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.correction import (
    MAX_VERTICES,
    Correction,
    UnusableValue,
    own_text,
    polygons,
    spoken,
    whole_number,
)

MAX_BYTES = 1 << 30
_MAX_FEATURES = 1_000_000
_MAX_FEATURE_BYTES = 64 << 20
# Values that are kept for the file of what was refused.
_MAX_VALUES, _MAX_VALUE = 200, 1_000
# What shapely and numpy raise for coordinates of a wrong form, or numbers of hundreds of digits.
_UNREADABLE = (
    ValueError, TypeError, LookupError, AttributeError, OverflowError, ShapelyError,
)  # fmt: skip


def read_geojson(path: Path) -> list[Correction]:
    """The features of a file, in its order; one that cannot be used has a `problem`.

    Raises:
        CorrectionsFileError: the file is not GeoJSON, its CRS is not known, or nothing is in it.
    """
    found: list[Correction] = []
    around: dict[str, Any] = {}
    try:
        with path.open("rb") as opened, without_garbage_collection():
            file = _OneFeatureAtATime(opened)
            for is_feature, members in json_features(cast(IO[bytes], file)):
                file.read_since = 0
                if not is_feature:
                    around = {**members, **around}
                    continue
                if len(found) == _MAX_FEATURES:
                    raise CorrectionsFileError(
                        f"{path} has more than {_MAX_FEATURES:,} features: save several files"
                    )
                found.append(_correction(f"feature {len(found) + 1}", members))
    except OSError as error:
        raise CorrectionsFileError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CorrectionsFileError(f"{path} is not GeoJSON: {error}") from error
    if not found:
        raise CorrectionsFileError(f"{path} has no features: save the layer as GeoJSON again")
    return _on_earth(found, _crs(path, around), path)


class _OneFeatureAtATime:
    """A file that ends with an error when one of its features takes up the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read_since = 0

    def read(self, size: int) -> bytes:
        self.read_since += size
        if self.read_since > _MAX_FEATURE_BYTES:
            raise ValueError(
                f"one of its objects has more than {_MAX_FEATURE_BYTES >> 20} MiB; draw it with "
                f"at most {MAX_VERTICES:,} vertices"
            )
        return self._file.read(size)


def _correction(where: str, feature: Mapping[str, Any]) -> Correction:
    values = {
        own_text(name, 100) or "": _kept(value)
        for name, value in list(mapping(feature.get("properties")).items())[:_MAX_VALUES]
    }
    # Programs change the case of names.
    by_name = {name.lower(): value for name, value in values.items()}
    outline, problem = None, None
    try:
        outline = _outline(feature.get("geometry"))
    except UnusableValue as error:
        problem = str(error)
    area_m2 = _number(by_name.get("area_m2"))
    common: dict[str, Any] = {
        "where": where,
        "outline": outline,
        "label": own_text(by_name.get("label"), 100),
        "state": own_text(by_name.get("state"), 40),
        "property_id": own_text(by_name.get("property_id"), 300),
        "note": own_text(by_name.get("note")) or "",
        "area_m2": area_m2,
        "values": values,
    }
    try:
        return Correction(
            **common,
            problem=problem,
            detection_id=whole_number("detection_id", by_name.get("detection_id")),
            version=whole_number("version", by_name.get("version")),
            review=spoken(by_name.get("review")),
        )
    except UnusableValue as error:
        return Correction(**common, problem=str(error))


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _kept(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float):
        return value
    return sanitize_text(value, _MAX_VALUE)


def _outline(geometry: object) -> BaseGeometry:
    if not isinstance(geometry, dict):
        raise UnusableValue("it has no geometry: draw its outline, or delete the feature")
    try:
        with np.errstate(invalid="ignore"):  # NaN is refused below
            return polygons(shape(geometry), MAX_VERTICES)
    except UnusableValue:
        raise
    except _UNREADABLE as error:
        raise UnusableValue(f"its geometry cannot be read ({sanitize_text(error)})") from error
    except RecursionError:
        raise UnusableValue("its geometry is nested too deeply") from None


def _crs(path: Path, around: Mapping[str, Any]) -> CRS:
    """The CRS of an old "crs" member; RFC 7946 has none, and means longitude and latitude."""
    if "crs" not in around:
        return WGS84
    crs = around["crs"]
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = mapping(properties).get("name") or mapping(properties).get("code")
    try:
        if name is None:
            raise CRSError("it has no name")
        code = str(name)
        return crs_of_data(f"EPSG:{code}" if code.isdecimal() else code)
    except CRSError as error:
        raise CorrectionsFileError(
            f"{path}: its CRS {sanitize_text(name, 100)!r} cannot be used "
            f"({sanitize_text(error, 150)}): save the layer in EPSG:4326"
        ) from error


def _on_earth(found: list[Correction], crs: CRS, path: Path) -> list[Correction]:
    """The corrections in EPSG:4326."""
    drawn = np.array([each.outline for each in found], dtype=object)
    try:
        placed = to_wgs84(drawn, crs)
    except GeometryError as error:
        raise CorrectionsFileError(f"{path}: {error}: save the layer in EPSG:4326") from error
    has_outline = ~shapely.is_missing(drawn)
    inside = on_earth(placed)
    if has_outline.any() and not inside[has_outline].any():
        raise CorrectionsFileError(
            f"{path}: its coordinates are not on Earth in {crs.name}: save the layer in EPSG:4326"
        )
    return [
        _placed(each, outline, is_inside or not drawn_here)
        for each, outline, is_inside, drawn_here in zip(
            found, placed, inside, has_outline, strict=True
        )
    ]


def _placed(each: Correction, outline: BaseGeometry | None, is_inside: bool) -> Correction:
    if is_inside:
        return replace(each, outline=outline)
    why = "a vertex is not on Earth: save the layer in EPSG:4326, longitude first"
    return replace(each, outline=None, problem=each.problem or why)

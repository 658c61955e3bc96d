"""Geometries as text -> shapely polygons: WKT, EWKT ("SRID=4326;POLYGON …") and hexadecimal WKB."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.curved_wkt import polygons_from_curved_wkt

_SRID = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;\s*", re.IGNORECASE)
_HEX = re.compile(r"\s*(?:\\x|0x)?((?:00|01)(?:[0-9A-Fa-f]{2}){8,})\s*")
_WKT = re.compile(
    r"\s*(?:SRID\s*=\s*\d+\s*;\s*)?(?:POLYGON|MULTIPOLYGON|CURVEPOLYGON|MULTISURFACE|"
    r"GEOMETRYCOLLECTION)\b",
    re.IGNORECASE,
)


# What shapely reads; the rest is parsed by `curved_wkt`.
_PLAIN = re.compile(r"\s*(?:MULTI)?POLYGON\b", re.IGNORECASE)
_SURFACES = (3, 6, 7, 10, 12)  # WKB's types with an area


def geometries_from_texts(values: Sequence[str | None], tolerance: float) -> NDArray[np.object_]:
    """The polygons (n,) in texts; None for what is missing or damaged.

    Args:
        tolerance: maximum distance of a chord from its curve, in units of the CRS.
    """
    wkt = np.array([None if v is None else _SRID.sub("", v, count=1) for v in values], object)
    hexes = [None if v is None else _HEX.fullmatch(v) for v in wkt]
    is_hex = np.array([match is not None for match in hexes], dtype=bool)
    found = np.full(len(wkt), None, dtype=object)
    is_wkt = ~is_hex & np.array([v is not None for v in wkt], dtype=bool)
    plain = is_wkt & np.array([bool(v and _PLAIN.match(v)) for v in wkt], dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers too large, or NaN
        found[plain] = shapely.from_wkt(wkt[plain], on_invalid="ignore")
    if is_hex.any():
        wkb = [bytes.fromhex(match[1]) for match in hexes if match]
        found[is_hex] = geometries_from_wkb(wkb, tolerance)
    for i in np.flatnonzero(is_wkt & shapely.is_missing(found)):
        found[i] = polygons_from_curved_wkt(wkt[i], tolerance)
    return found


def looks_like_polygon(text: str) -> bool:
    """Whether a text is WKT or WKB of a geometry that may have an area."""
    if _WKT.match(text):
        return True
    match = _HEX.fullmatch(text)
    return match is not None and (_wkb_code(match[1]) & 0xFFFF) % 1000 in _SURFACES


def srid_of(text: str) -> str | None:
    """The CRS in EWKT or in hexadecimal EWKB, as "EPSG:4326"; None if it names none."""
    match = _SRID.match(text)
    if match:
        return f"EPSG:{match[1]}" if int(match[1]) else None
    as_hex = _HEX.fullmatch(text)
    if not as_hex:
        return None
    has_srid = _wkb_code(as_hex[1]) & 0x20000000
    srid = _wkb_code(as_hex[1][:2] + as_hex[1][10:18])
    return f"EPSG:{srid}" if has_srid and srid else None


def _wkb_code(hexadecimal: str) -> int:
    """The integer after the byte order."""
    wkb = bytes.fromhex(hexadecimal[:10])
    return int.from_bytes(wkb[1:5], "little" if wkb[0] == 1 else "big")

"""Esri spatial reference -> pyproj CRS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from parcels.crs_definition import crs_of_data
from parcels.errors import GeometryError

# Any other text could be a PROJ string, in which a server could name files to open.
_WKT = re.compile(
    r"\s*(GEOGCS|PROJCS|COMPD_CS|GEOD(ETIC)?CRS|GEOG(RAPHIC)?CRS|PROJ(ECTED)?CRS|COMPOUNDCRS)\s*\[",
    re.IGNORECASE,
)
_FILE_REFERENCE = re.compile(r"PROJ4|PARAMETERFILE|nadgrids|geoidgrids", re.IGNORECASE)


def crs_from_esri(spatial_reference: Mapping[str, Any] | None) -> CRS:
    """The horizontal CRS, from EPSG:latestWkid, EPSG:wkid, ESRI:wkid or the WKT, in this order.

    Vertical parts (vcsWkid, compound WKT) are ignored.

    Raises:
        GeometryError: no spatial reference, or none that is a projected or geographic CRS.
    """
    if not spatial_reference:
        raise GeometryError(
            "the server sends geometry without a spatial reference; use another layer in the "
            "registry entry"
        )
    return _crs(json.dumps(spatial_reference, sort_keys=True))


@lru_cache(maxsize=64)
def _crs(spatial_reference: str) -> CRS:
    for candidate in _candidates(json.loads(spatial_reference)):
        try:
            crs = crs_of_data(candidate)
        except CRSError:
            continue
        if crs.is_projected or crs.is_geographic:
            return crs
    raise GeometryError(
        f"unknown spatial reference {spatial_reference}: not an EPSG or Esri code, and no usable "
        "WKT; use another layer in the registry entry"
    )


def _candidates(given: object) -> Iterator[str]:
    """CRS texts to try, in order. A server may send anything in these keys."""
    if not isinstance(given, dict):
        return
    wkid, latest = given.get("wkid"), given.get("latestWkid")
    for authority, code in (("EPSG", latest), ("EPSG", wkid), ("ESRI", wkid)):
        if _is_code(code):
            yield f"{authority}:{code}"
    for text in (given.get("wkt2"), given.get("wkt")):
        if isinstance(text, str) and _WKT.match(text) and not _FILE_REFERENCE.search(text):
            yield from (text, _first_node(text))


def _is_code(code: object) -> bool:
    if isinstance(code, str):
        return code.isascii() and code.isdigit() and len(code) < 10
    return isinstance(code, int) and not isinstance(code, bool) and 0 < code < 10**9


def _first_node(wkt: str) -> str:
    """The first node of `PROJCS[...],VERTCS[...]`, Esri's form of a compound CRS."""
    depth = 0
    for i, character in enumerate(wkt):
        depth += (character == "[") - (character == "]")
        if character == "]" and depth == 0:
            return wkt[: i + 1]
    return wkt

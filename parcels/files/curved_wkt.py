"""WKT with curves, or with rings that are not closed -> polygons."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from parcels.errors import GeometryError
from parcels.esri.curves import curves_to_points
from parcels.files.ring_arrays import PolygonRings, polygons_of_rings

_TOKEN = re.compile(r"[A-Za-z]+|[(),]|[-+.\dEe]+")
_COLLECTIONS = ("MULTIPOLYGON", "MULTISURFACE", "GEOMETRYCOLLECTION")
_POLYGONS = ("POLYGON", "CURVEPOLYGON")
# Left out of a collection.
_WITHOUT_AREA = (
    "POINT", "MULTIPOINT", "LINESTRING", "MULTILINESTRING", "CIRCULARSTRING", "COMPOUNDCURVE",
    "MULTICURVE",
)  # fmt: skip
# Said of the parts of a collection: each has a name.
_ANY = "ANY"
_MAX_DEPTH = 16


def polygons_from_curved_wkt(wkt: str, tolerance: float) -> BaseGeometry | None:
    """The polygon in a text; None if it is damaged."""
    try:
        polygons = _Wkt(wkt, tolerance).polygons("")
    except (ValueError, LookupError, GeometryError):
        return None
    return polygons_of_rings([polygons])[0]


class _Wkt:
    """One WKT geometry, read from front to back."""

    def __init__(self, wkt: str, tolerance: float) -> None:
        self._tokens = _TOKEN.findall(wkt)
        self._at = 0
        self._tolerance = tolerance

    def polygons(self, default: str, depth: int = 0) -> list[PolygonRings]:
        """The polygons of a geometry; without a name it is a `default`."""
        if depth > _MAX_DEPTH:
            raise ValueError("too many levels")
        kind = self._name() or default
        if self._is_empty():
            return []
        if default == _ANY and kind in _WITHOUT_AREA:
            self._skip()
            return []
        if kind in _COLLECTIONS:
            inner = _ANY if kind == "GEOMETRYCOLLECTION" else "POLYGON"
            return [p for part in self._list(lambda: self.polygons(inner, depth + 1)) for p in part]
        if kind not in _POLYGONS:
            raise ValueError(f"{kind} has no area")
        rings = self._list(lambda: self._curve("LINESTRING", depth))
        return [[np.array(curves_to_points(r, self._tolerance)).reshape(-1, 2) for r in rings]]

    def _skip(self) -> None:
        """Go to the end of a list, with the lists in it."""
        level = 0
        while True:
            sign = self._next()
            level += (sign == "(") - (sign == ")")
            if level <= 0:
                return

    def _curve(self, default: str, depth: int) -> list[Any]:
        """A ring in the form of `parcels.esri.curves`: points, and arcs as objects."""
        if depth > _MAX_DEPTH:
            raise ValueError("too many levels")
        kind = self._name() or default
        if self._is_empty():
            return []
        if kind == "COMPOUNDCURVE":
            pieces = self._list(lambda: self._curve("LINESTRING", depth + 1))
            return [step for n, piece in enumerate(pieces) for step in piece[1 if n else 0 :]]
        points = self._list(self._point)
        if kind == "LINESTRING":
            return points
        if kind != "CIRCULARSTRING" or len(points) % 2 == 0:
            raise ValueError(f"not a curve: {kind}")
        arcs = zip(points[2::2], points[1::2], strict=True)
        return points[:1] + [{"c": [end, middle]} for end, middle in arcs]

    def _name(self) -> str:
        name = ""
        while self._peek().isalpha() and self._peek().upper() not in ("E", "EMPTY"):
            word = self._next().upper()
            name = name or re.sub(r"(ZM|Z|M)$", "", word) if word not in ("Z", "M", "ZM") else name
        return name

    def _is_empty(self) -> bool:
        if self._peek().upper() != "EMPTY":
            return False
        self._next()
        return True

    def _list(self, item: Any) -> list[Any]:  # noqa: ANN401
        if self._next() != "(":
            raise ValueError("a parenthesis is missing")
        items = [item()]
        while (sign := self._next()) == ",":
            items.append(item())
        if sign != ")":
            raise ValueError("a parenthesis is missing")
        return items

    def _point(self) -> tuple[float, float]:
        values = []
        while self._peek() not in (",", ")"):
            values.append(float(self._next()))
        return values[0], values[1]

    def _peek(self) -> str:
        return str(self._tokens[self._at])

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

"""WKB, with the curves of SQL/MM -> polygons whose chords are within a tolerance of the curves.

shapely reads polygons; what it does not read is parsed here: CIRCULARSTRING, COMPOUNDCURVE,
CURVEPOLYGON, MULTISURFACE, TIN, POLYHEDRALSURFACE and TRIANGLE, as ISO WKB (Z: + 1000, M: + 2000)
and as EWKB (flags in the upper bits), polygons with rings that are not closed, and collections, of
which points and lines are left out: KML has a label's point beside a lot.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from parcels.errors import GeometryError
from parcels.esri.curves import curves_to_points
from parcels.files.ring_arrays import PolygonRings, Ring, polygons_of_rings

_POINT, _LINE, _POLYGON, _MULTIPOINT, _MULTILINE, _MULTIPOLYGON, _COLLECTION = range(1, 8)
_CIRCULAR, _COMPOUND, _CURVE_POLYGON, _MULTI_CURVE, _MULTI_SURFACE = range(8, 13)
_POLYHEDRAL, _TIN, _TRIANGLE = 15, 16, 17
_COLLECTIONS = (_MULTIPOLYGON, _COLLECTION, _MULTI_SURFACE, _POLYHEDRAL, _TIN)
_WITHOUT_AREA = (_MULTIPOINT, _MULTILINE, _COMPOUND, _MULTI_CURVE)
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
_MAX_DEPTH = 16


def _plain_headers() -> frozenset[bytes]:
    """The first five bytes of the polygons that shapely reads."""
    kinds = [kind + more for kind in (_POLYGON, _MULTIPOLYGON) for more in (0, 1000, 2000, 3000)]
    flags = [_Z, _M, _Z | _M, _SRID, _SRID | _Z, _SRID | _M, _SRID | _Z | _M]
    kinds += [kind | flag for kind in (_POLYGON, _MULTIPOLYGON) for flag in flags]
    orders = ((b"\x01", "<I"), (b"\x00", ">I"))
    return frozenset(byte + struct.pack(order, kind) for byte, order in orders for kind in kinds)


_PLAIN = _plain_headers()


def geometries_from_wkb(values: Sequence[bytes | None], tolerance: float) -> NDArray[np.object_]:
    """The polygons (n,) in WKB; None for what is missing, damaged, or has no area by its type.

    Args:
        tolerance: maximum distance of a chord from its curve, in units of the CRS.
    """
    plain = np.fromiter((v is not None and v[:5] in _PLAIN for v in values), bool, len(values))
    wkb = np.array(values, dtype=object)
    found = np.full(len(values), None, dtype=object)
    with np.errstate(invalid="ignore"):  # NaN
        found[plain] = shapely.from_wkb(wkb[plain], on_invalid="ignore")
    missing = np.flatnonzero(shapely.is_missing(found)).tolist()
    others = [i for i in missing if values[i] is not None]
    if others:
        found[others] = polygons_of_rings([_polygons(values[i] or b"", tolerance) for i in others])
    return found


def _polygons(wkb: bytes, tolerance: float) -> list[PolygonRings] | None:
    try:
        return list(_Wkb(wkb, tolerance).polygons())
    except (struct.error, ValueError, GeometryError, RecursionError, OverflowError):
        return None


class _Wkb:
    """One WKB geometry, read from front to back."""

    def __init__(self, wkb: bytes, tolerance: float) -> None:
        self._wkb = wkb
        self._at = 0
        self._tolerance = tolerance

    def polygons(self, depth: int = 0, *, may_be_other: bool = True) -> list[PolygonRings]:
        """The polygons of the geometry, in all its parts; none for points and lines.

        Args:
            may_be_other: whether it may be a point or a line, as a part of a collection may be.
        """
        order, kind, dimensions = self._header()
        if depth > _MAX_DEPTH:
            raise ValueError("too many levels of geometries")
        if kind in _COLLECTIONS:
            parts = range(self._count(order))
            is_mixed = kind == _COLLECTION
            return [
                polygon
                for _ in parts
                for polygon in self.polygons(depth + 1, may_be_other=is_mixed)
            ]
        if kind in (_POLYGON, _TRIANGLE):
            count = self._count(order)
            return [[self._points(order, dimensions) for _ in range(count)]]
        if kind == _CURVE_POLYGON:
            rings = [self._curve(depth) for _ in range(self._count(order))]
            return [[np.array(curves_to_points(ring, self._tolerance)) for ring in rings]]
        if depth > 0:
            if not may_be_other:
                raise ValueError(f"geometry of type {kind} among polygons")
            self._skip(order, kind, dimensions, depth)
        return []

    def _skip(self, order: str, kind: int, dimensions: int, depth: int) -> None:
        """Go to the end of a geometry without an area."""
        if kind in _WITHOUT_AREA:
            for _ in range(self._count(order)):
                self.polygons(depth + 1)
        elif kind == _POINT:
            self._at += 8 * dimensions
        elif kind in (_LINE, _CIRCULAR):
            self._points(order, dimensions)
        else:
            raise ValueError(f"unknown type {kind}")

    def _curve(self, depth: int) -> list[Any]:
        """A ring in the form of `parcels.esri.curves`: points, and arcs as objects."""
        order, kind, dimensions = self._header()
        if kind == _COMPOUND:
            if depth > _MAX_DEPTH:
                raise ValueError("too many levels of curves")
            pieces = [self._curve(depth + 1) for _ in range(self._count(order))]
            # Each piece starts where the one before ends.
            return [step for n, piece in enumerate(pieces) for step in piece[1 if n else 0 :]]
        points: list[Any] = self._points(order, dimensions).tolist()
        if kind == _LINE:
            return points
        if kind != _CIRCULAR or (len(points) and len(points) % 2 == 0):
            raise ValueError(f"not a curve: type {kind} with {len(points)} points")
        arcs = zip(points[2::2], points[1::2], strict=True)
        return points[:1] + [{"c": [end, middle]} for end, middle in arcs]

    def _header(self) -> tuple[str, int, int]:
        """The byte order, the type and the number of values of a point."""
        order = "<" if self._wkb[self._at : self._at + 1] == b"\x01" else ">"
        (code,) = struct.unpack_from(f"{order}I", self._wkb, self._at + 1)
        self._at += 5 + (4 if code & _SRID else 0)
        thousands, kind = divmod(code & 0x1FFFFFFF, 1000)
        has_z = bool(code & _Z) or thousands in (1, 3)
        has_m = bool(code & _M) or thousands in (2, 3)
        return order, kind, 2 + has_z + has_m

    def _count(self, order: str) -> int:
        (count,) = struct.unpack_from(f"{order}I", self._wkb, self._at)
        self._at += 4
        if count > len(self._wkb):
            raise ValueError("more parts than bytes")
        return int(count)

    def _points(self, order: str, dimensions: int) -> Ring:
        count = self._count(order)
        values = np.frombuffer(self._wkb, f"{order}f8", count * dimensions, self._at)
        self._at += 8 * count * dimensions
        return values.reshape(count, dimensions)[:, :2].astype(np.float64)

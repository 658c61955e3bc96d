"""The fallback boundary of a point without a lot: a circle with the radius BUFFER_M."""

from __future__ import annotations

from shapely import MultiPolygon, Point

from parcels.lot_selection import circle_around

# Results and exports report this boundary as `buffer_30m` (`parcels.boundary.BoundarySource`).
BUFFER_M = 30.0


def fallback_buffer(point: Point) -> MultiPolygon:
    """The circle of BUFFER_M metres around an EPSG:4326 point; empty at a pole."""
    return circle_around(point, BUFFER_M)

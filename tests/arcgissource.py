"""The real ArcGIS source of a server on loopback; only that nobody waits between its tries."""

from __future__ import annotations

from typing import Any

from faketime import FakeTime

from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient


def source_of(url: str, **entry: Any) -> ArcGISSource:
    """Layer 0 of a service; `entry` are more keys of a registry entry."""
    given = {"key": "test", "url": url, "layer": 0, "allow_private": True}
    county = County.model_validate({**given, **entry})
    time = FakeTime()
    return ArcGISSource(county, ArcGISClient.for_county(county, sleep=time.sleep, clock=time.clock))

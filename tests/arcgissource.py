"""An ArcGIS source for a server on loopback, with fake time for backoff."""

from __future__ import annotations

from typing import Any

from faketime import FakeTime

from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient


def source_of(url: str, **entry: Any) -> ArcGISSource:
    """Layer 0 of a service; `entry` has more keys of the registry entry."""
    given = {"key": "test", "url": url, "layer": 0, "allow_private": True}
    county = County.model_validate({**given, **entry})
    time = FakeTime()
    return ArcGISSource(county, ArcGISClient.for_county(county, sleep=time.sleep, clock=time.clock))

"""Rows of a parcel layer as the database has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import shapely
from sqlalchemy import Row

from parcels.source import Hit, SiteAddress


def columns_of(hits: Sequence[Hit]) -> dict[str, list[Any]]:
    """The rows as arrays for `unnest`: parcel_ids, object_ids, sites (JSON), geoms (WKB)."""
    return {
        "parcel_ids": [hit.parcel_id for hit in hits],
        "object_ids": [hit.object_id for hit in hits],
        "sites": [None if hit.site is None else json.dumps(asdict(hit.site)) for hit in hits],
        "geoms": list(shapely.to_wkb([hit.geometry for hit in hits])) if hits else [],
    }


def hit_of(row: Row[Any]) -> Hit:
    """A row with parcel_id, object_id, site and geom (WKB) as it was kept."""
    return Hit(
        row.parcel_id,
        None if row.geom is None else shapely.from_wkb(row.geom),
        row.object_id,
        None if row.site is None else SiteAddress(**row.site),
    )

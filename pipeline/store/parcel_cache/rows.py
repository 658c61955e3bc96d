"""Rows of a parcel layer as the database has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import shapely
from sqlalchemy import Row

from parcels.addresses.site import SiteAddress
from parcels.parcel_source import ParcelRow


def columns_of(hits: Sequence[ParcelRow]) -> dict[str, list[Any]]:
    """The rows as arrays for `unnest`: parcel_ids, object_ids, sites (JSON), geoms (WKB)."""
    return {
        "parcel_ids": [hit.parcel_id for hit in hits],
        "object_ids": [hit.object_id for hit in hits],
        "sites": [None if hit.site is None else json.dumps(asdict(hit.site)) for hit in hits],
        "geoms": list(shapely.to_wkb([hit.geometry for hit in hits])) if hits else [],
    }


def rows_of(rows: Sequence[Row[Any]]) -> list[ParcelRow]:
    """Rows with parcel_id, object_id, site and geom (WKB) as they were kept."""
    geometries = shapely.from_wkb(np.array([row.geom for row in rows], dtype=object))
    return [
        ParcelRow(
            row.parcel_id,
            geometry,
            row.object_id,
            None if row.site is None else SiteAddress(**row.site),
        )
        for row, geometry in zip(rows, geometries, strict=True)
    ]

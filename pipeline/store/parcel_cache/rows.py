"""Converts rows of a parcel layer from and to the database."""

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


def to_columns(rows: Sequence[ParcelRow]) -> dict[str, list[Any]]:
    """Rows as arrays for `unnest`: ids, object ids, sites (JSON), types, geometries (WKB)."""
    return {
        "parcel_ids": [row.parcel_id for row in rows],
        "object_ids": [row.object_id for row in rows],
        "sites": [None if row.site is None else json.dumps(asdict(row.site)) for row in rows],
        "types": [row.parcel_type for row in rows],
        "lack_ids": [row.lacks_id for row in rows],
        "geoms": list(shapely.to_wkb([row.geometry for row in rows])) if rows else [],
    }


def to_parcel_rows(rows: Sequence[Row[Any]]) -> list[ParcelRow]:
    """Parcel rows from database rows with the columns of a row, and geom as WKB."""
    geometries = shapely.from_wkb(np.array([row.geom for row in rows], dtype=object))
    return [
        ParcelRow(
            row.parcel_id,
            geometry,
            row.object_id,
            None if row.site is None else SiteAddress(**row.site),
            row.parcel_type,
            row.lacks_id or False,
        )
        for row, geometry in zip(rows, geometries, strict=True)
    ]

"""A county's detections and properties as files, and the dictionary that explains them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import pandas as pd
from sqlalchemy import Connection

from detection.results import WHOLE_SHARE
from parcels import County
from pipeline.counties import shown_name
from pipeline.errors import ExportError
from pipeline.export.columns import DETECTIONS, PROPERTIES, dictionary
from pipeline.export.writers import SUFFIX, write_table
from pipeline.store import rows


def export_county(conn: Connection, county: County, out: Path, kind: str) -> dict[Path, int | None]:
    """Write `detections` and `properties` in the format, and DATA_DICTIONARY.md last.

    The dictionary is the sign that the export is complete: it is removed first and written
    when everything else stands.

    Args:
        kind: "geoparquet", "geojson" or "csv".

    Returns:
        The files, with their numbers of rows (None for the dictionary).

    Raises:
        ExportError: the folder cannot be written, or the county has no properties.
    """
    properties = _join(rows.iter_properties(conn, county.key))
    if not len(properties):
        raise ExportError(f"{county.name} has nothing to export: run `lotline batch` first")
    detections = _join(rows.iter_detections(conn, county.key))
    labels = [name.removesuffix("_m2") for name in properties if _is_measured(name)]
    synthetic = county.synthetic is not None
    properties["synthetic"] = detections["synthetic"] = synthetic
    seen = properties["imaged_share"]
    properties["partly_imaged"] = (seen < WHOLE_SHARE).where(seen.notna(), None)
    tables = {
        "detections": detections[[column.name for column in DETECTIONS]],
        "properties": properties[
            [c.name for c in PROPERTIES[:-1]] + [f"{label}_m2" for label in labels] + ["geometry"]
        ],
    }
    name = shown_name(county.name, synthetic=synthetic)
    written: dict[Path, int | None] = {}
    guide = out / "DATA_DICTIONARY.md"
    try:
        out.mkdir(parents=True, exist_ok=True)
        guide.unlink(missing_ok=True)
        for name, table in tables.items():
            path = out / f"{name}{SUFFIX[kind]}"
            write_table(_flat(table), path, kind)
            written[path] = len(table)
        guide.write_text(
            dictionary(name, _notes(kind, synthetic=synthetic), labels), encoding="utf-8"
        )
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror}") from error
    return {**written, guide: None}


def _is_measured(column: str) -> bool:
    return column.endswith("_m2") and column != "boundary_area_m2"


def _join(chunks: Iterator[geopandas.GeoDataFrame]) -> geopandas.GeoDataFrame:
    return pd.concat(list(chunks), ignore_index=True)


def _flat(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Lists of ids as text: CSV and GeoJSON readers know no lists."""
    return table.assign(parcel_ids=[";".join(ids or ()) for ids in table["parcel_ids"]])


def _notes(kind: str, *, synthetic: bool) -> list[str]:
    notes = [
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC as {kind}. Areas are equal-area, within "
        "0.01 % of the geodesic area. Rejected and superseded detections are left out."
    ]
    if kind == "csv":
        notes.append(
            "A spreadsheet runs text that begins with = + - or @ as a formula: such text has an "
            "apostrophe before it here, and nowhere else. Numbers have none."
        )
    if synthetic:
        notes.append("**Synthetic:** generated imagery and lots, not a real place.")
    return notes

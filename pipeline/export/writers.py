"""One table -> one file: GeoParquet 1.1, GeoJSON or CSV, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import geopandas

SUFFIX = {"geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv"}
ROW_GROUP = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(frame: geopandas.GeoDataFrame, path: Path, kind: str) -> None:
    """Write under a temporary name, then rename: a reader never meets half a file.

    Coordinates of GeoJSON have 9 decimals (a tenth of a millimetre); GeoParquet is exact.
    """
    making = path.with_name(f".{path.name}.part")
    if kind == "geoparquet":
        frame.to_parquet(
            making,
            index=False,
            compression="zstd",
            schema_version="1.1.0",
            write_covering_bbox=True,
            row_group_size=ROW_GROUP,
        )
    elif kind == "geojson":
        frame.to_file(making, driver="GeoJSON", COORDINATE_PRECISION=9, RFC7946="YES", index=False)
    else:
        plain = frame.drop(columns="geometry").map(_no_formula)
        plain.to_csv(making, index=False, lineterminator="\n")
    making.replace(path)


def _no_formula(value: object) -> object:
    """Text that a spreadsheet would run as a formula, with an apostrophe before it.

    Numbers are left alone, those that are written as text too: "-90.05" is no formula.
    """
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""One table -> one file: GeoParquet 1.1, GeoJSON or CSV, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import geopandas

SUFFIX = {"geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv"}
ROW_GROUP = 65_536


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
        frame.drop(columns="geometry").to_csv(making, index=False, lineterminator="\n")
    making.replace(path)

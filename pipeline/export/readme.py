"""The README of an export: what is in it, what it adds up to, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.export.export_folder import MARK
from pipeline.export.markdown import table
from pipeline.store.reads.county_status import CountyStatus
from pipeline.units import M2_PER_SQFT


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export: what it holds, how many rows of it, and how large it is."""

    what: str
    rows: int
    size_bytes: int


def readme(
    title: str, notes: list[str], files: Mapping[str, ExportedFile], status: CountyStatus, kind: str
) -> str:
    """The README as Markdown.

    Args:
        status: of the county at the moment of the export.
        kind: the format, by its name.
    """
    found_by = ", ".join(status.segmenters) or "no segmenter"
    parts = [
        f"# {title}\n{MARK}",
        *notes,
        "## Files",
        table(
            ("file", "holds", "rows", "bytes"),
            [
                (f"`{name}`", file.what, f"{file.rows:,}", f"{file.size_bytes:,}")
                for name, file in files.items()
            ],
        ),
        "Beside them `DATA_DICTIONARY.md` says what each column means. `errors.csv` says why a "
        "property is not done; mended, it can be given to the next batch as its properties "
        "(`PROPERTIES=errors.csv`). Any other file in this folder is not of this export.",
        "## Properties",
        table(
            ("state", "reason", "properties"),
            [
                (state, reason, f"{count:,}")
                for (state, reason), count in sorted(status.by_state.items())
            ],
        ),
        "## Measured areas",
        f"Of the properties that are done, found by {found_by}; one that waits to be looked at "
        "again has its last areas in the files, and is in no sum here. Lots and circles of 30 m "
        "are apart, because a circle is no lot: never add the two. Nor do labels add up where they "
        "overlap: `vegetation` has lawns and trees in it, and a tree may hide a roof.",
        table(
            ("label", "boundary", "properties", "polygons", "m²", "sq ft"),
            [
                (
                    area.label,
                    area.source,
                    f"{area.properties:,}",
                    f"{area.detections:,}",
                    f"{area.area_m2:,.1f}",
                    f"{area.area_m2 / M2_PER_SQFT:,.0f}",
                )
                for area in status.areas
            ],
        ),
        "Several properties may lie on one lot (the units of a house); each has all that is on it, "
        "and so these sums count that several times.",
        "## Reading it",
        _READING[kind],
    ]
    return "\n\n".join(parts) + "\n"


_READING = {
    "geoparquet": """What the properties have of each label, lots and circles apart:

```python
import geopandas

properties = geopandas.read_parquet("properties.parquet")
done = properties[properties["state"] == "done"]
print(done.filter(regex="source|_m2$").groupby("source").sum())
```

GeoParquet 1.1. Rows lie along a Hilbert curve and have the box of their geometry in `bbox`: so a
reader skips the row groups that lie elsewhere.

```python
west, south, east, north = properties.total_bounds  # degrees; of a part, to read that alone
part = geopandas.read_parquet("properties.parquet", bbox=(west, south, east, north))
```

```sql
-- DuckDB
SELECT source, count(*) FROM 'properties.parquet'
WHERE bbox.xmin <= $east AND bbox.xmax >= $west AND bbox.ymin <= $north AND bbox.ymax >= $south
GROUP BY source;
```""",
    "geojson": """GeoJSON (RFC 7946), a feature a line: whatever reads one reads it. Coordinates
have nine decimals, a tenth of a millimetre.

What the properties have of each label, lots and circles apart:

```python
import geopandas

properties = geopandas.read_file("properties.geojson")
done = properties[properties["state"] == "done"]
print(done.filter(regex="source|_m2$").groupby("source").sum())
```""",
    "csv": """CSV in UTF-8 with a line of names, without geometry.

What the properties have of each label, lots and circles apart:

```python
import pandas

properties = pandas.read_csv("properties.csv")
done = properties[properties["state"] == "done"]
print(done.filter(regex="source|_m2$").groupby("source").sum())
```""",
}

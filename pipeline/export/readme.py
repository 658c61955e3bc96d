"""The README of an export: what is in it, what it adds up to, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.export.columns import M2_PER_SQFT
from pipeline.export.folder import MARK
from pipeline.store.status import CountyStatus


@dataclass(frozen=True, slots=True)
class Contents:
    """A file of an export: what it holds, how many rows of it, and how large it is."""

    what: str
    rows: int
    size_bytes: int


def readme(
    title: str, notes: list[str], files: Mapping[str, Contents], status: CountyStatus, kind: str
) -> str:
    """The README as Markdown.

    Args:
        status: of the county at the moment of the export.
        kind: the format, by its name.
    """
    return "\n\n".join([
        f"# {title}\n{MARK}",
        *notes,
        "## Files\n\n" + _table(
            ("file", "holds", "rows", "bytes"),
            [(f"`{name}`", file.what, f"{file.rows:,}", f"{file.size_bytes:,}")
             for name, file in files.items()],
        ),
        "Beside them `DATA_DICTIONARY.md` says what each column means. `errors.csv` says why a "
        "property is not done; mended, it can be given to the next batch as its properties. Any "
        "other file in this folder is not of this export.",
        "## Properties\n\n" + _table(
            ("state", "reason", "properties"),
            [(state, reason, f"{count:,}") for (state, reason), count
             in sorted(status.by_state.items())],
        ),
        "## Measured areas\n\nOf the properties that are done. Lots and circles of 30 m are apart, "
        "because a circle is no lot: never add the two.\n\n" + _table(
            ("label", "boundary", "properties", "polygons", "m²", "sq ft"),
            [(area.label, area.source, f"{area.properties:,}", f"{area.detections:,}",
              f"{area.area_m2:,.1f}", f"{area.area_m2 / M2_PER_SQFT:,.0f}")
             for area in status.areas],
        ),
        "Several properties may lie on one lot (the units of a house); each has all that is on it, "
        "and so these sums count that several times.",
        f"## Reading it\n\n{_READING[kind]}",
    ]) + "\n"  # fmt: skip


_READING = {
    "geoparquet": """GeoParquet 1.1. Rows lie along a Hilbert curve and have the box of their \
geometry in `bbox`, so that a
reader skips the row groups that lie elsewhere:

```python
geopandas.read_parquet("properties.parquet", bbox=(west, south, east, north))
```

```sql
-- DuckDB
SELECT * FROM 'properties.parquet'
WHERE bbox.xmin <= $east AND bbox.xmax >= $west AND bbox.ymin <= $north AND bbox.ymax >= $south;
```""",
    "geojson": "GeoJSON (RFC 7946), a feature a line: whatever reads one reads it. Coordinates "
    "have nine decimals, a tenth of a millimetre.",
    "csv": "CSV in UTF-8 with a line of names, without geometry.",
}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

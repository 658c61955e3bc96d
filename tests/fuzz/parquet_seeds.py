"""Sound and odd GeoParquet files: damaged `geo` metadata, and columns of rare types."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.edits import ODD_TEXTS, damaged_json
from fuzz.seeds import lots, parcel_file
from hypothesis import strategies as st


def geoparquets() -> list[bytes]:
    """The same lots as WKB and in GeoArrow's encoding."""
    return [parcel_file(".parquet"), parcel_file(".parquet", geometry_encoding="geoarrow")]


@cache
def _table() -> pa.Table:
    return pq.read_table(io.BytesIO(parcel_file(".parquet")))


_ID_COLUMNS: tuple[pa.Array, ...] = (
    pa.array([[1], [2], None, []]),
    pa.array([{"a": 1}, {"a": None}, None, {"a": 2}]),
    pa.array([b"\xff\x00", b"", None, b"a"]),
    pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("9" * 30), decimal.Decimal(0)],
             pa.decimal128(38, 2)),
    pa.array([0, None, 2**62, -(2**62)], pa.timestamp("ns")),
    pa.array([True, False, None, True]),
    pa.array([1e308, float("nan"), float("inf"), None]),
    pa.array([2**64 - 1, 0, None, 1], pa.uint64()),
    pa.array(["a", "b", "a", None]).dictionary_encode(),
    pa.array([None, None, None, None]),
    pa.array([{}, {}, {}, {}], pa.map_(pa.string(), pa.int32())),
    pa.array(["a\0b", "\x1b[2J", "x" * 100_000, ""]),
    pa.array([datetime.timedelta(1), None, None, None]),
)  # fmt: skip


@st.composite
def odd_geoparquet(draw: st.DrawFn, _sound: bytes) -> bytes:
    """A valid Parquet file of odd metadata, ids, or geometries."""
    table = _table()
    metadata: dict[bytes, bytes] = dict(table.schema.metadata or {})
    kind = draw(st.sampled_from(("geo", "geo", "crs", "ids", "shapes", "empty")))
    if kind == "geo":
        metadata[b"geo"] = draw(damaged_json(metadata[b"geo"]))
    elif kind == "crs":
        geo: Any = json.loads(metadata[b"geo"])
        odd = st.sampled_from((*ODD_TEXTS[:44], None, [], {}, 4326, 1e9, {"type": "GeographicCRS"}))
        geo["columns"]["geometry"]["crs"] = draw(odd)
        metadata[b"geo"] = json.dumps(geo).encode()
    elif kind == "ids":
        column = draw(st.sampled_from(_ID_COLUMNS))
        table = table.set_column(table.schema.get_field_index("apn"), "apn", column)
    elif kind == "shapes":
        shapes: list[bytes | None] = list(lots().geometry.to_wkb())
        shapes[draw(st.integers(0, 3))] = draw(st.none() | st.binary(max_size=40))
        at = table.schema.get_field_index("geometry")
        table = table.set_column(at, "geometry", pa.array(shapes, pa.binary()))
    else:
        table = table.slice(0, 0)
    packed = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), packed)
    return packed.getvalue()

"""Temporary staging tables: a chunk is bulk-copied into them (binary COPY), then merged.

A staging table belongs to one connection and is emptied at the end of the transaction. It has no
statistics, and those of tables that a batch is filling are out of date. So `plan_by_index` makes
the planner go from each staged row through an index: the last chunk of a county costs as much as
the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pipeline.store.disk_full import raise_if_disk_full

# PostGIS reads a binary geometry as WKB; the column's type sets and checks the rest.
_COPY_TYPES = {"geometry(MultiPolygon, 4326)": "bytea"}

_BY_INDEX = text("""
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit']) AS name
""")


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A temporary table.

    Attributes:
        columns: name to type, in the order of the copied rows.
        key: columns of the primary key.
        extra_columns: SQL of columns that are not copied but filled by a later statement.
    """

    name: str
    columns: dict[str, str]
    key: str
    extra_columns: str = ""

    def create_empty(self, conn: Connection) -> None:
        """Create the table if it does not exist, and empty it."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        conn.execute(
            text(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.name} "
                f"({columns}{self.extra_columns}, PRIMARY KEY ({self.key})) ON COMMIT DELETE ROWS"
            )
        )
        conn.execute(text(f"DELETE FROM {self.name}"))  # noqa: S608 (a name of this module's)

    def copy_rows(self, conn: Connection, rows: Iterable[Sequence[object]]) -> None:
        """Replace the table's rows, by binary COPY.

        Raises:
            DBAPIError: the copy failed; driver errors are converted to SQLAlchemy's.
            StoreError: the database's disk is full.
        """
        self.create_empty(conn)
        statement = f"COPY {self.name} ({', '.join(self.columns)}) FROM STDIN (FORMAT BINARY)"
        types = [_COPY_TYPES.get(kind, kind) for kind in self.columns.values()]
        driver = conn.connection.driver_connection
        assert driver is not None  # noqa: S101 (an open Connection has one; for the type checker)
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            if driver.closed:
                conn.invalidate(error)
            raise_if_disk_full(error)
            raise DBAPIError.instance(
                statement, None, error, psycopg.Error, connection_invalidated=driver.closed
            ) from error


LOTS = StagingTable(
    "staged_lot",
    {
        "property_fk": "bigint",
        "source": "text",
        "geom": "geometry(MultiPolygon, 4326)",
        "area_m2": "float8",
        "origin": "text",
        "parcel_ids": "text[]",
        "version": "text",
        "fetched_at": "timestamptz",
        "method": "text",
        "located_by": "text",
        "longitude": "float8",
        "latitude": "float8",
        "confidence": "float8",
        "matched_address": "text",
        "state": "text",
        "reason": "text",
        "detail": "text",
        "chip_sha256": "text",
        "coverage_fraction": "float8",
    },
    key="property_fk",
    extra_columns=", boundary_fk bigint",
)

CHIPS = StagingTable(
    "staged_chip",
    {
        "sha256": "text",
        "sources": "text[]",
        "captured_on": "text",
        "crs": "text",
        "gsd_m": "float8",
        "bands": "text[]",
        "bounds": "float8[]",
        "chip_gsd_m": "float8",
    },
    key="sha256",
)

FINDINGS = StagingTable(
    "staged_finding",
    {
        "finding_index": "int4",
        "property_fk": "bigint",
        "label": "text",
        "prompt": "text",
        "score": "float8",
        "relation": "text",
        "geom": "geometry(MultiPolygon, 4326)",
        "area_m2": "float8",
        "clipped_area_m2": "float8",
        "whole_area_m2": "float8",
        "fingerprint": "text",
    },
    key="property_fk, fingerprint",
)

AREAS = StagingTable(
    "staged_area",
    {
        "property_fk": "bigint",
        "boundary_fk": "bigint",
        "run_fk": "bigint",
        "label": "text",
        "area_m2": "float8",
        "coverage_fraction": "float8",
        "source": "text",
        "segmenter": "text",
        "weights_sha256": "text",
    },
    key="property_fk, label",
)

# The areas that differ from the current measurements, with the detections that they count.
MEASUREMENTS = StagingTable(
    "staged_measurement", {**AREAS.columns, "detections": "bigint[]"}, key=AREAS.key
)


def plan_by_index(conn: Connection) -> None:
    """Join staged rows to stored ones through indexes, until the transaction ends."""
    conn.execute(_BY_INDEX)

"""A layer of a few rows on loopback, whose responses differ from its metadata as real ones do.

SQL conditions are evaluated by SQLite, geometry queries by shapely.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import shapely
from servers.scripted import Call, Reply, ScriptedServer, scripted
from shapely.geometry.base import BaseGeometry


@dataclass
class Table:
    """A layer in EPSG:4326.

    Attributes:
        columns: name -> Esri type.
        rows: the values by column, and "shape".
        respond_as: how responses spell a column; None leaves it out.
        field_details: more metadata of a column, such as its alias.
        max_rows: the most rows of a response.
        says_truncated: whether responses have `exceededTransferLimit`.
    """

    columns: dict[str, str]
    rows: list[dict[str, Any]]
    object_id: str = "OBJECTID"
    respond_as: Callable[[str], str | None] = str
    field_details: dict[str, dict[str, Any]] = field(default_factory=dict)
    max_rows: int = 1_000
    says_truncated: bool = True

    def metadata(self) -> dict[str, Any]:
        west, south, east, north = shapely.total_bounds([row["shape"] for row in self.rows])
        return {
            "name": "Parcels",
            "type": "Feature Layer",
            "geometryType": "esriGeometryPolygon",
            "capabilities": "Query",
            "maxRecordCount": self.max_rows,
            "objectIdField": self.object_id,
            "extent": {
                "xmin": west, "ymin": south, "xmax": east, "ymax": north,
                "spatialReference": {"wkid": 4326},
            },
            "fields": [
                {"name": name, "type": kind, **self.field_details.get(name, {})}
                for name, kind in self.columns.items()
            ],
        }  # fmt: skip

    def reply(self, call: Call) -> Reply:
        params = {**call.query, **call.form}
        found = self.metadata() if not call.path.endswith("/query") else self.query(params)
        return Reply(json.dumps(found).encode())

    def query(self, params: dict[str, str]) -> dict[str, Any]:
        rows = self.matching(params)
        if params.get("returnIdsOnly") == "true":
            ids = [row[self.object_id] for row in rows]
            return {"objectIdFieldName": self.object_id, "objectIds": ids}
        if params.get("returnCountOnly") == "true":
            return {"count": len(rows)}
        start = int(params.get("resultOffset", 0))
        limit = min(self.max_rows, int(params.get("resultRecordCount", self.max_rows)))
        page = rows[start : start + limit]
        wanted = params["outFields"].split(",")
        features = []
        for row in page:
            attributes = {self.respond_as(name): row.get(name) for name in wanted}
            attributes.pop(None, None)
            feature: dict[str, Any] = {"attributes": attributes}
            if params.get("returnGeometry") != "false":
                feature["geometry"] = _rings(row["shape"])
            features.append(feature)
        response = {"spatialReference": {"wkid": 4326}, "features": features}
        if self.says_truncated and start + len(page) < len(rows):
            response["exceededTransferLimit"] = True
        return response

    def matching(self, params: dict[str, str]) -> list[dict[str, Any]]:
        rows = self._where(params.get("where") or "1=1")
        if "objectIds" in params:
            ids = {int(each) for each in params["objectIds"].split(",")}
            rows = [row for row in rows if row[self.object_id] in ids]
        if "geometry" in params:
            place = _place(params["geometryType"], params["geometry"])
            rows = [row for row in rows if row["shape"].intersects(place)]
        return rows

    def _where(self, where: str) -> list[dict[str, Any]]:
        quoted = where
        for name in sorted(self.columns, key=len, reverse=True):
            quoted = re.sub(rf"(?<![\w.\"']){re.escape(name)}(?![\w.\"])", f'"{name}"', quoted)
        with sqlite3.connect(":memory:") as database:
            names = ", ".join(f'"{name}"' for name in self.columns)
            database.execute(f"CREATE TABLE t ({names})")
            marks = ", ".join("?" for _ in self.columns)
            values = [[row.get(name) for name in self.columns] for row in self.rows]
            database.executemany(f"INSERT INTO t VALUES ({marks})", values)
            found = database.execute(f"SELECT rowid - 1 FROM t WHERE {quoted}").fetchall()
        return [self.rows[i] for (i,) in found]


@contextmanager
def table_server(table: Table) -> Iterator[ScriptedServer]:
    with scripted(table.reply) as server:
        yield server


def lots_in_a_row(count: int, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Square lots of about 30 m from west to east, with these columns and an OBJECTID."""
    return [
        {
            "OBJECTID": i + 1,
            "shape": shapely.box(-90 + i * 0.0003, 35.0, -90 + (i + 1) * 0.0003, 35.0003),
            **{name: values[i] for name, values in columns.items()},
        }
        for i in range(count)
    ]


def _rings(shape: BaseGeometry) -> dict[str, Any]:
    parts = shapely.get_parts(shape)
    return {
        "rings": [
            shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(parts).tolist()
        ]
    }


def _place(kind: str, text: str) -> BaseGeometry:
    if kind == "esriGeometryEnvelope":
        return shapely.box(*map(float, text.split(",")))
    content = json.loads(text)
    if kind == "esriGeometryMultipoint":
        return shapely.MultiPoint(content["points"])
    if kind == "esriGeometryPoint":
        return shapely.Point(content["x"], content["y"])
    return shapely.union_all([shapely.Polygon(ring) for ring in content["rings"]])

"""Refuses GeoPackages and SpatiaLite databases whose tables are other files.

SQLite's virtual tables may be anything: with SpatiaLite, which is part of GDAL, text files,
shapefiles and servers.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from parcels.crs_definition import names_paths
from parcels.errors import AddressRefused
from parcels.files.sql_calls import harmful_call

# Indexes, and views on the file's own tables.
_MODULES = frozenset(
    (
        "rtree", "rtree_i32", "geopoly", "fts3", "fts4", "fts5", "virtualspatialindex",
        "virtualelementary", "virtualknn", "virtualknn2", "virtualfdo", "dbstat",
    )
)  # fmt: skip
_VIRTUAL = re.compile(
    r"^\W*create\s+virtual\s+table\s+(?:if\s+not\s+exists\s+)?.+?\susing\s*[\"'`\[]?\s*(\w+)",
    re.IGNORECASE | re.DOTALL,
)
_SRS_TABLES = {
    "gpkg_spatial_ref_sys": ("definition",),
    "spatial_ref_sys": ("srtext", "proj4text"),
    "spatial_ref_sys_aux": (),
}
_PATH = re.compile(r"\s*(/|\.|~|file:|https?:)")


def refuse_foreign_tables(path: Path, shown: Path) -> None:
    """Refuse a database with tables, views or CRSs that open other files.

    Args:
        path: of the database, not in a zip.
        shown: the path for the message.

    Raises:
        AddressRefused: with the table.
        ValueError: it is no database, or damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = next(_foreign(database), None)
    except sqlite3.OperationalError as error:
        raise ValueError(
            f"the database cannot be opened ({error}); copy it to a folder that you may write to"
        ) from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"its format is not recognized, or it is damaged ({error}); download it again"
        ) from error
    if found is not None:
        raise AddressRefused(
            f"{shown}: {found} opens other files; save the parcels alone as a new GeoPackage, and "
            "set 'path' to that file"
        )


def _foreign(database: sqlite3.Connection) -> Iterator[str]:
    database.text_factory = lambda raw: raw.decode("utf-8", "replace")
    tables = set()
    for kind, name, sql in database.execute("SELECT type, name, sql FROM sqlite_master"):
        text = str(sql or "")
        tables.add(str(name).lower())
        if kind == "trigger":
            continue  # nothing is written
        if re.match(r"\W*create\s+virtual", text, re.IGNORECASE):
            module = _VIRTUAL.match(text)
            if module is None or module[1].lower() not in _MODULES:
                yield f"its table {name!r}"
        elif kind in ("view", "table"):
            call = harmful_call(text, in_view=kind == "view")
            if call is not None:
                yield f"its {kind} {name!r} calls {call}(), which perhaps"
    for table, columns in _SRS_TABLES.items():
        if table in tables:
            has = {str(row[1]).lower() for row in database.execute(f"PRAGMA table_info({table})")}
            for column in has.intersection(columns):
                rows = database.execute(f"SELECT {column} FROM {table}")  # noqa: S608
                if any(
                    isinstance(text, str) and (_PATH.match(text) or names_paths(text))
                    for (text,) in rows
                ):
                    yield f"a CRS in its {table}"

"""Says so if the environment points PROJ or GDAL at the data of another installation.

Python's packages bring their own PROJ database. `PROJ_DATA` (before PROJ 9.1 `PROJ_LIB`) of a
system's GIS makes them use an older one, in which they find no CRS: every file seems to be wrong.
"""

from __future__ import annotations

import os
import sqlite3
from importlib.util import find_spec
from pathlib import Path

from parcels.errors import InstallationError

_PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
_PACKAGES = ("pyproj", "pyogrio", "rasterio")
_DATABASE = "proj.db"
_LAYOUT = "SELECT value FROM metadata WHERE key = 'DATABASE.LAYOUT.VERSION.{}'"
# Every GDAL since 2.0 has it.
_GDAL_FILE = "gdalvrt.xsd"


def check_installation() -> None:
    """Check the variables that are set; without any of them nothing is read.

    Raises:
        InstallationError: with the variable, and what to type.
    """
    for variable in _PROJ_VARIABLES:
        if os.environ.get(variable):
            _check_proj(variable, os.environ[variable])
            break  # PROJ uses the first one that is set
    folder = os.environ.get("GDAL_DATA")
    if folder and not Path(folder, _GDAL_FILE).is_file():
        raise InstallationError(
            f"GDAL_DATA={folder} is not a folder with GDAL's data, so that files seem to have no "
            "CRS; type: unset GDAL_DATA"
        )


def _check_proj(variable: str, value: str) -> None:
    folders = [Path(folder) for folder in value.split(os.pathsep) if folder]
    database = next((f / _DATABASE for f in folders if (f / _DATABASE).is_file()), None)
    cure = f"so that every CRS seems to be unknown; type: unset {variable}"
    if database is None:
        raise InstallationError(f"{variable}={value} has no {_DATABASE}, {cure}")
    found = _layout(database)
    needed = max((layout for layout in map(_layout, _bundled()) if layout), default=None)
    if needed is not None and (found is None or found[0] != needed[0] or found < needed):
        shown = "unreadable" if found is None else f"of layout {found[0]}.{found[1]}"
        raise InstallationError(
            f"{variable}={value} is of another PROJ installation (its {_DATABASE} is {shown}, and "
            f"{needed[0]}.{needed[1]} is needed), {cure}"
        )


def _bundled() -> list[Path]:
    """The databases that the packages bring; none where they share the system's."""
    found: list[Path] = []
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            folder = Path(spec.origin).parent
            found += [folder / "proj_data" / _DATABASE, folder / "proj_dir/share/proj" / _DATABASE]
    return [path for path in found if path.is_file()]


def _layout(database: Path) -> tuple[int, int] | None:
    """(major, minor) of a database's layout; None if it is not one."""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            values = [
                connection.execute(_LAYOUT.format(name)).fetchone() for name in ("MAJOR", "MINOR")
            ]
        finally:
            connection.close()
        return int(values[0][0]), int(values[1][0])
    except (sqlite3.Error, TypeError, ValueError):
        return None

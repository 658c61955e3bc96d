"""Where a file says it is: its CRS, or what is missing and what to type."""

from __future__ import annotations

import shlex
from pathlib import Path

import rasterio
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import CRSError as RasterCRSError

from detection.errors import ImageryError
from parcels.crs_definition import crs_of_data

# A remedy of a county's entry; where there is none, callers replace it.
REGISTRY_REMEDY = "or write `imagery: {path: …, crs: EPSG:…}`, for all files"


def crs_of(path: str, dataset: rasterio.DatasetReader, declared: str | None) -> str:
    """The CRS of a georeferenced file, as "EPSG:n" if it is exactly that, else as WKT.

    A CRS is never named by a guess: PROJ takes a UTM zone of an unknown datum for the one of
    Costa Rica, with 70 % confidence.

    Args:
        path: as shown in messages.
        declared: the CRS of the registry entry, which takes precedence over the file's.

    Raises:
        ImageryError: no CRS or no geotransform, an unknown datum; with the command that mends it.
    """
    name = Path(dataset.name).name
    if dataset.transform.is_identity:
        raise ImageryError(
            f"{path} has no CRS or no geotransform, but imagery needs both. {_remedy(dataset)}"
        )
    if declared is not None:
        return declared
    if dataset.crs is None:
        raise ImageryError(
            f"{path} has no CRS or no geotransform, but imagery needs both: the CRS is missing"
            f"{_world_file(Path(path))}. Set the one in which it was delivered: "
            f"gdal_edit.py -a_srs EPSG:… {shlex.quote(name)}, {REGISTRY_REMEDY}"
        )
    try:
        crs = crs_of_data(dataset.crs.to_wkt())
    except (CRSError, RasterCRSError) as error:
        raise ImageryError(f"{path}: its CRS cannot be read ({error}). {_set_crs(name)}") from error
    if is_unknown_datum(crs):
        raise ImageryError(
            f"{path}: its CRS cannot be transformed to longitude and latitude: {crs.name} has an "
            f"unknown datum, and may be 100 m off or more. {_set_crs(name)}"
        )
    return crs_name(crs)


def crs_name(crs: CRS) -> str:
    """EPSG:n if the CRS is exactly that, else its WKT."""
    code = crs.to_epsg(min_confidence=100)
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def is_unknown_datum(crs: CRS) -> bool:
    """Whether the file does not say which datum its coordinates have, nor how to shift them."""
    if crs.is_bound or crs.datum is None:
        return False
    name = crs.datum.name.lower().removeprefix("d_").replace("_", " ")
    return name.startswith(("unknown", "unspecified", "not specified", "user defined", "unnamed"))


def _set_crs(name: str) -> str:
    return (
        f"Set the CRS in which it was delivered: gdal_edit.py -a_srs EPSG:… {shlex.quote(name)}, "
        f"{REGISTRY_REMEDY}"
    )


def _remedy(dataset: rasterio.DatasetReader) -> str:
    name = shlex.quote(Path(dataset.name).name)
    new = shlex.quote(f"{Path(dataset.name).stem}_utm.tif")
    points, points_crs = dataset.gcps
    if points:
        source = "" if points_crs else "-s_srs EPSG:… "
        return (
            f"It has {len(points)} ground control points, which only a warp can apply: gdalwarp "
            f"{source}-t_srs EPSG:326ZZ -r bilinear -of COG {name} {new} (ZZ is the UTM zone)"
        )
    if dataset.rpcs is not None:
        return (
            "It has RPCs of a satellite image, which need terrain heights: gdalwarp -rpc -to "
            f"RPC_DEM=dem.tif -t_srs EPSG:326ZZ -r bilinear -of COG {name} {new} (ZZ is the UTM "
            "zone)"
        )
    world = f"{Path(dataset.name).stem}.{_world_suffix(Path(dataset.name).suffix)}"
    return (
        f"If it was delivered with a world file, put {world} beside it; else write its corners: "
        f"gdal_edit.py -a_ullr LEFT TOP RIGHT BOTTOM -a_srs EPSG:… {name}"
    )


def _world_file(path: Path) -> str:
    """That the place comes from a world file, which has no CRS."""
    suffix = _world_suffix(path.suffix)
    names = (path.with_suffix(f".{suffix}"), path.with_suffix(".wld"), Path(f"{path}w"))
    found = next((name for name in names if name.is_file()), None)
    return "" if found is None else f"; {found.name} gives its place, but no CRS"


def _world_suffix(suffix: str) -> str:
    """Tfw for .tif, j2w for .jp2."""
    letters = suffix.lstrip(".").lower()
    return f"{letters[0]}{letters[-1]}w" if len(letters) > 1 else "wld"

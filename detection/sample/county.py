"""Generate the sample county as files: lots, imagery, properties CSV, truth, manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from detection.sample.layout import CRS
from detection.sample.materials import BANDS
from detection.sample.paint import grid, paint
from detection.sample.palette import DEFAULT_STYLE, palette_of
from detection.sample.scene import GSD_M, SyntheticScene, build_scene
from detection.sample.truth import lot_truth, to_degrees

# Raise it whenever the output of a seed changes, so that stale folders are regenerated.
GENERATOR = "2"
CAPTURED_ON = "2024-06-15"
DEFAULT_SEED = 20_26
DEFAULT_LOTS = 200
_TILE_PX = 640
# Two processes can conflict once; further retries are for more processes.
_MAX_SWAPS = 4
_NOTICE = "Synthetic aerial image made by the lotline sample generator; not a real place"


@dataclass(frozen=True, slots=True)
class SampleCounty:
    """The paths of a generated county."""

    folder: Path
    seed: int
    lots: int
    style: str = DEFAULT_STYLE

    @property
    def parcels(self) -> Path:
        """Lots: GeoPackage, EPSG:4326, with parcel_id, house_number, address."""
        return self.folder / "parcels.gpkg"

    @property
    def imagery(self) -> str:
        """A glob of GeoTIFFs: red, green, blue, near infrared at 0.3 m, EPSG:26916."""
        return str(self.folder / "imagery" / "*.tif")

    @property
    def properties(self) -> Path:
        """CSV of property_id, parcel_id, longitude, latitude, address."""
        return self.folder / "properties.csv"

    @property
    def truth(self) -> Path:
        """GeoPackage, EPSG:4326: the visible labels of each lot; see `detection.sample.truth`."""
        return self.folder / "truth.gpkg"

    @property
    def manifest(self) -> Path:
        """JSON: seed, size, generator version, content hashes, a notice that it is synthetic."""
        return self.folder / "manifest.json"


def generate(
    folder: Path, seed: int = DEFAULT_SEED, lots: int = DEFAULT_LOTS, style: str = DEFAULT_STYLE
) -> SampleCounty:
    """Generate the synthetic county of a seed in `folder`, replacing an older one.

    The same seed, size and style (`detection.sample.palette`) give the same pixels and geometry.
    The folder is replaced atomically; if another process generates the same county at the same
    time, that one stays.

    Raises:
        ValueError: fewer than 4 lots, no such style, or a folder with other content.
    """
    palette_of(style)
    if lots < 4:
        raise ValueError(
            f"a sample county of {lots} lots is too small for streets. Use 4 or more lots"
        )
    folder = Path(folder)
    _check_replaceable(folder)
    was_current = is_current(folder, seed, lots, style)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        generated = SampleCounty(draft, seed, lots, style)
        _write(generated)
        _replace(folder, generated, accept=not was_current)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return SampleCounty(folder, seed, lots, style)


def load(folder: Path) -> SampleCounty:
    """The generated county in `folder`.

    Raises:
        FileNotFoundError: there is none of this generator version.
    """
    manifest = _read_manifest(Path(folder))
    if manifest is None:
        raise FileNotFoundError(
            f"{folder} has no sample county of this version. Generate one with "
            "detection.sample.generate(folder)"
        )
    return SampleCounty(
        Path(folder), int(manifest["seed"]), int(manifest["lots"]), _style_of(manifest)
    )


def is_current(
    folder: Path, seed: int = DEFAULT_SEED, lots: int = DEFAULT_LOTS, style: str = DEFAULT_STYLE
) -> bool:
    """Whether `folder` has the complete output of `generate` for this seed, size and style."""
    manifest = _read_manifest(Path(folder))
    return manifest is not None and (
        (manifest["seed"], manifest["lots"], _style_of(manifest)) == (seed, lots, style)
    )


def _style_of(manifest: dict[str, Any]) -> str:
    return str(manifest.get("style", DEFAULT_STYLE))  # before there were styles


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest, if the generator version and the sizes of all listed files match."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or manifest["generator"] != GENERATOR:
            return None
        for name, size in manifest["bytes"].items():
            if (folder / name).stat().st_size != size:
                return None
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError):
        return None
    return manifest


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "manifest.json").exists()):
        raise ValueError(
            f"{folder} is not a sample county and is not overwritten. Choose a new folder"
        )


def _replace(folder: Path, generated: SampleCounty, *, accept: bool) -> None:
    """Move the generated county to `folder`; a reader sees the old one, none, or the new one.

    With `accept`, a folder that has the same county by now stays, as it may be in use.
    """
    for retries_left in reversed(range(_MAX_SWAPS)):
        if accept and is_current(folder, generated.seed, generated.lots, generated.style):
            return
        try:
            _swap(folder, generated.folder)
            return
        except OSError:  # another process has moved or filled the folder
            if not retries_left:
                raise
            accept = True


def _swap(folder: Path, new: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write(county: SampleCounty) -> None:
    scene = build_scene(county.seed, county.lots, county.style)
    image = paint(scene)
    parcels, truth = _parcels(scene), lot_truth(scene)
    properties = _properties(scene)
    _write_tiles(county.folder / "imagery", image, grid(scene))
    parcels.to_file(county.parcels, layer="parcels_synthetic", driver="GPKG")
    truth.to_file(county.truth, layer="truth_synthetic", driver="GPKG")
    county.properties.write_text(properties, encoding="utf-8")
    manifest = {
        "synthetic": True,
        "notice": _NOTICE,
        "generator": GENERATOR,
        "seed": county.seed,
        "lots": county.lots,
        "style": county.style,
        "gsd_m": GSD_M,
        "crs": CRS,
        "captured_on": CAPTURED_ON,
        # Hashes of the content, because GeoPackages contain their time of writing.
        "sha256": {
            "pixels": hashlib.sha256(image.tobytes()).hexdigest(),
            "parcels": _geodataframe_sha256(parcels),
            "truth": _geodataframe_sha256(truth),
            "properties": hashlib.sha256(properties.encode()).hexdigest(),
        },
        "bytes": {
            str(path.relative_to(county.folder)): path.stat().st_size
            for path in sorted(county.folder.rglob("*"))
            if path.is_file()
        },
    }
    county.manifest.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _geodataframe_sha256(frame: geopandas.GeoDataFrame) -> str:
    columns = frame.drop(columns="geometry").to_csv(index=False)
    digest = hashlib.sha256(columns.encode())
    for wkb in shapely.to_wkb(frame.geometry.to_numpy(), byte_order=1):
        digest.update(wkb)
    return digest.hexdigest()


def _parcels(scene: SyntheticScene) -> geopandas.GeoDataFrame:
    plans = [yard.plan for yard in scene.yards]
    return geopandas.GeoDataFrame(
        {
            "parcel_id": [plan.parcel_id for plan in plans],
            "house_number": [plan.house_number for plan in plans],
            "address": [plan.address for plan in plans],
        },
        geometry=[to_degrees(plan.polygon) for plan in plans],
        crs="EPSG:4326",
    )


def _properties(scene: SyntheticScene) -> str:
    """A row per lot with a point in its house, then points without a lot, then one not imaged."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["property_id", "parcel_id", "longitude", "latitude", "address"])
    for number, yard in enumerate(scene.yards, start=1):
        plan = yard.plan
        writer.writerow(
            [f"synthetic-{number:04d}", plan.parcel_id, *_degrees(*yard.door_xy_m), plan.address]
        )
    for number, (x, y) in enumerate(_points_without_a_lot(scene), start=1):
        writer.writerow([f"synthetic-no-lot-{number}", "", *_degrees(x, y), ""])
    left, bottom, _, _ = scene.bounds
    writer.writerow(["synthetic-no-imagery", "", *_degrees(left - 400.0, bottom - 400.0), ""])
    return text.getvalue()


def _points_without_a_lot(scene: SyntheticScene) -> list[tuple[float, float]]:
    """Five points: in the park if there is one, and on the streets."""
    image = shapely.box(*scene.bounds)
    lots = shapely.union_all([yard.plan.polygon for yard in scene.yards])
    points = [common.representative_point() for common in scene.plan.commons[:1]]
    # Where imagery covers the 30 m buffers completely; a small county has no such street.
    inner = scene.plan.street_lines.intersection(image.buffer(-35.0))
    streets = scene.plan.street_lines.intersection(image) if inner.is_empty else inner
    parts = sorted(getattr(streets, "geoms", [streets]), key=lambda part: -part.length)
    fractions = [0.5, 0.25, 0.75, 0.4, 0.6]
    points += [
        parts[number % len(parts)].interpolate(fraction, normalized=True)
        for number, fraction in enumerate(fractions)
    ]
    return [(point.x, point.y) for point in points if not lots.contains(point)][:5]


def _degrees(x: float, y: float) -> tuple[str, str]:
    point = to_degrees(shapely.Point(x, y))
    return f"{point.x:.7f}", f"{point.y:.7f}"


def _write_tiles(folder: Path, image: NDArray[np.uint8], transform: Affine) -> None:
    """Adjacent GeoTIFFs on one pixel grid."""
    folder.mkdir()
    _, height, width = image.shape
    for row, top in enumerate(range(0, height, _TILE_PX)):
        for column, left in enumerate(range(0, width, _TILE_PX)):
            pixels = image[:, top : top + _TILE_PX, left : left + _TILE_PX]
            corner = (transform.c + left * GSD_M, transform.f - top * GSD_M)
            path = folder / f"synthetic_{row}_{column}.tif"
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=len(BANDS),
                height=pixels.shape[1],
                width=pixels.shape[2],
                crs=CRS,
                transform=Affine(GSD_M, 0, corner[0], 0, -GSD_M, corner[1]),
                tiled=True,
                blockxsize=256,
                blockysize=256,
                compress="deflate",
                predictor=2,
                interleave="pixel",
                photometric="RGB",
                alpha="NO",
            ) as target:
                target.write(pixels)
                target.colorinterp = [
                    ColorInterp.red,
                    ColorInterp.green,
                    ColorInterp.blue,
                    ColorInterp.undefined,
                ]
                for band, name in enumerate(BANDS, start=1):
                    target.set_band_description(band, name)
                target.update_tags(
                    TIFFTAG_IMAGEDESCRIPTION=_NOTICE,
                    TIFFTAG_DATETIME=f"{CAPTURED_ON.replace('-', ':')} 12:00:00",
                )

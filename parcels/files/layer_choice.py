"""Which layer of a file, zip or folder has the parcels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyogrio
import shapely

from parcels.errors import SourceMisconfigured
from parcels.files.csv_table import csv_has_polygons
from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.dataset import CSV, JSON, PARQUET, Dataset
from parcels.files.gdal_source import GdalSource, gdal_source
from parcels.files.shapefile_check import DamagedShapefile, check_shapefile

Kind = Literal["gdal", "parquet", "csv", "geojson", "esri"]

_SURFACES = ("Polygon", "Surface", "TIN", "Triangle")
_HEAD_BYTES = 64 * 1024
_PROBED = 1_000
_ESRI = re.compile(
    rb'"geometryType"\s*:\s*"esri|"attributes"\s*:\s*\{|"spatialReference"\s*:\s*\{'
    rb'|"(curveR|r)ings"\s*:|"objectIdFieldName"\s*:|"exceededTransferLimit"\s*:'
)
_GEOJSON = re.compile(rb'"type"\s*:\s*"Feature(Collection)?"')
_TITLE = re.compile(rb'"name"\s*:\s*"([^"\\]+)"')
_OTHER_JSON = re.compile(rb'"type"\s*:\s*"Topology"|"conformsTo"\s*:')


@dataclass(frozen=True, slots=True)
class FileLayer:
    """A layer that may have the parcels.

    Attributes:
        name: in its dataset.
        source: what GDAL opens; None for other readers.
        has_polygons: whether it may have them; a table or a layer of lines has none.
        is_unknown: whether only its features show that, as in KML.
        title: another name, which the file has inside.
    """

    dataset: Dataset
    name: str
    kind: Kind
    source: GdalSource | None = None
    has_polygons: bool = True
    is_unknown: bool = False
    title: str = ""

    def is_named(self, wanted: str) -> bool:
        """Whether an entry may call it so: by layer, file, or file without suffix.

        Also without what a database puts before the name ("dbo.Parcels").
        """
        names = {self.name, self.dataset.name, self.dataset.stem, self.dataset.member, self.title}
        names.add(self.name.rpartition(".")[2])
        return wanted.strip().casefold() in {name.casefold() for name in names if name}


def choose_layer(
    datasets: Sequence[Dataset], wanted: int | str | None, encoding: str | None
) -> FileLayer:
    """The layer with the parcels: the wanted one, by name or number from 0, else the only one.

    Args:
        encoding: of the registry entry.

    Raises:
        SourceMisconfigured: there is none, or there are several; the message lists them.
    """
    layers: list[FileLayer] = []
    unreadable: list[SourceMisconfigured] = []
    for dataset in datasets:
        try:
            layers += _layers(dataset, encoding)
        except SourceMisconfigured as error:
            if wanted is None and isinstance(error, DamagedShapefile):
                raise  # it may be the one with the parcels
            unreadable.append(error)
    if unreadable and not any(layer.has_polygons for layer in layers):
        raise unreadable[0]
    if wanted is None:
        found = [layer for layer in layers if layer.has_polygons]
        if len(layers) == 1 and layers[0].kind != "gdal":
            return layers[0]  # opening it says what is wrong
        if len(found) > 1:
            found = [layer for layer in found if not layer.is_unknown or _shows_polygons(layer)]
        if len(found) != 1:
            raise _not_one(datasets[0], layers, found)
        return found[0]
    named = [layer for layer in layers if isinstance(wanted, str) and layer.is_named(wanted)]
    exact = [layer for layer in named if layer.name == wanted]
    number = int(wanted) if str(wanted).strip().isdecimal() else -1
    if not named and 0 <= number < len(layers):
        named = [layers[number]]
    for found in (named, exact, [layer for layer in named if layer.has_polygons]):
        if len(found) == 1:
            return _with_polygons(found[0])
    problem = f"has no layer {wanted!r}" if not named else f"has {len(named)} layers {wanted!r}"
    raise _refusal(
        datasets[0],
        f"{problem}; set 'layer:' in the registry entry to one of: {_listed(layers)}"
        f"{_compressed(datasets[0])}",
    )


def _with_polygons(layer: FileLayer) -> FileLayer:
    if layer.has_polygons:
        return layer
    raise _refusal(layer.dataset, f"layer {layer.name!r} has no polygons; correct 'layer:'")


def _not_one(
    first: Dataset, layers: Sequence[FileLayer], found: Sequence[FileLayer]
) -> SourceMisconfigured:
    names = ", ".join(_labels(found)) or "none"
    has = f"it has {len(found)} polygon layers ({names})"
    if found:
        return _refusal(
            first,
            f"{has}; set 'layer:' in the registry entry to the one with the parcels, for example "
            f"layer: {_labels(found)[0]}",
        )
    others = f"; its other layers are {_listed(layers)}" if layers else ""
    return _refusal(
        first, f"{has}{others}; set 'path' to a file with the lots' polygons{_compressed(first)}"
    )


def _compressed(dataset: Dataset) -> str:
    """A remark on a file geodatabase whose tables GDAL cannot read."""
    if dataset.is_zip:
        from parcels.files.zip_archive import names_in_zip

        is_compressed = any(name.lower().endswith(".cdf") for name in names_in_zip(dataset.path))
    else:
        folder = dataset.path / dataset.member
        is_compressed = folder.is_dir() and any(folder.glob("*.cdf"))
    if not is_compressed:
        return ""
    return (
        ". It is a compressed file geodatabase: uncompress it in ArcGIS, or export the parcels "
        "as a GeoPackage"
    )


def _refusal(dataset: Dataset, why: str) -> SourceMisconfigured:
    return Dataset(dataset.path).refusal(why)


def _listed(layers: Sequence[FileLayer]) -> str:
    shown = [f"{number}: {label}" for number, label in enumerate(_labels(layers)[:20])]
    return ", ".join(shown) + (", …" if len(layers) > 20 else "") or "none"


def _layers(dataset: Dataset, encoding: str | None) -> list[FileLayer]:
    kind = _kind(dataset)
    if kind == "csv":
        return [FileLayer(dataset, dataset.stem, kind, has_polygons=csv_has_polygons(dataset))]
    if kind is None or kind != "gdal":
        title = _title_in_json(dataset) if kind == "geojson" else ""
        has_polygons = kind is not None
        return [
            FileLayer(
                dataset, dataset.stem, kind or "geojson", has_polygons=has_polygons, title=title
            )
        ]
    if dataset.suffix == ".shp":
        check_shapefile(dataset)
    try:
        source = gdal_source(dataset, encoding)
    except ValueError as error:
        raise dataset.refusal(f"{error}{_compressed(dataset)}") from error
    try:
        with source.opened() as data:
            found = pyogrio.list_layers(data)
    except pyogrio.errors.DataSourceError as error:
        raise dataset.refusal(
            f"its format is not recognized, or it is damaged ({_first_sentence(error)}); "
            f"download it again, or export the parcels as a GeoPackage{_compressed(dataset)}"
        ) from error
    return [
        FileLayer(dataset, str(name), "gdal", source, _may_hold_polygons(shape), _is_any(shape))
        for name, shape in found
    ]


def _labels(layers: Sequence[FileLayer]) -> list[str]:
    """The names; of layers with one name, those of their files."""
    names = [layer.name for layer in layers]
    return [
        layer.dataset.member or layer.name if names.count(layer.name) > 1 else layer.name
        for layer in layers
    ]


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].split(".;")[0][:200]


def _may_hold_polygons(kind: str | None) -> bool:
    if kind is None:
        return False
    return _is_any(kind) or any(surface in kind for surface in _SURFACES)


def _is_any(kind: str | None) -> bool:
    return kind is not None and ("Unknown" in kind or "GeometryCollection" in kind)


def _shows_polygons(layer: FileLayer) -> bool:
    """Whether there is a polygon among the first features."""
    if layer.source is None:
        return False
    with layer.source.opened() as data:
        wkb = pyogrio.raw.read(data, layer.name, columns=[], max_features=_PROBED)[2]
    found = geometries_from_wkb(list(wkb), 1.0)
    return bool((shapely.get_dimensions(found) == 2).any())


def _kind(dataset: Dataset) -> Kind | None:
    """The reader of a dataset; None for JSON of an unknown kind."""
    if dataset.suffix in PARQUET:
        return "parquet"
    if not dataset.is_zip and (dataset.path / dataset.member).is_dir():
        return "gdal"
    if dataset.is_zip and dataset.suffix not in (*JSON, *CSV):
        return "gdal"
    with dataset.open() as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[2:].replace(b"\0", b"")
    text = text.lstrip(b" \t\r\n\x1e")
    if text[:1] in (b"{", b"["):
        return _kind_of_json(text)
    return "csv" if dataset.suffix in CSV else "gdal"


def _title_in_json(dataset: Dataset) -> str:
    """The "name" of a feature collection, which GIS software shows as its layer."""
    with dataset.open() as file:
        head = file.read(_HEAD_BYTES).split(b'"features"', 1)[0]
    match = _TITLE.search(head)
    return match[1].decode("utf-8", "replace") if match else ""


def _kind_of_json(text: bytes) -> Kind | None:
    if _GEOJSON.search(text):
        return "gdal" if _OTHER_JSON.search(text) else "geojson"
    if _OTHER_JSON.search(text):
        return "gdal"
    return "esri" if _ESRI.search(text) else None

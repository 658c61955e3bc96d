"""What OpenAddresses says of US parcel layers: a tree of source files, or a table made of one.

The format of a source file: https://github.com/openaddresses/openaddresses/blob/master/CONTRIBUTING.md
Schema 2 has layers of parcels; schema 1 has one layer, which may be of parcels.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcels.errors import RegistryError
from parcels.untrusted import mapping, mappings, sanitize_text

_COLUMNS = (
    "source", "state", "county", "city", "geoid", "census_name", "layer_name", "url", "pid_field",
    "addr_number", "addr_street", "addr_unit", "addr_city", "addr_postcode", "skip", "request",
)  # fmt: skip


# The largest of OpenAddresses' own has some 20 KB.
_MOST_BYTES = 5_000_000
# Longer than any URL that is asked.
_LONGEST_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """What a source says of one layer, as it says it; empty where it says nothing.

    Attributes:
        source: the file in the tree, "co/montrose.json".
        geoid: the Census code of a county (5 digits), a place (7) or a state (2).
        kind: "county", "city", "state", ….
        number, street, unit, city, postcode: the columns of an address.
        parcels: whether it is said to be a layer of parcels on an ArcGIS server; else `problem`
            says what it is.
    """

    source: str
    state: str
    county: str = ""
    municipality: str = ""
    geoid: str = ""
    census_name: str = ""
    kind: str = ""
    url: str = ""
    parcel_id: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    street: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    city: tuple[str, ...] = ()
    postcode: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def read_source(source: Path) -> list[SourceLayer]:
    """The layers of a source tree or of a table (CSV), in the order of their files.

    Raises:
        RegistryError: there is no such place, or nothing in it is of OpenAddresses.
    """
    if not source.exists():
        raise RegistryError(f"{source}: there is no such file or folder; check the path")
    return list(_tree(source) if source.is_dir() else _table(source))


def _table(file: Path) -> Iterator[SourceLayer]:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = csv.DictReader(opened)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise RegistryError(
                    f"{file}: is no table of parcel layers: it has no column {missing[0]!r}; name "
                    "a folder of OpenAddresses source files, or a table with the columns "
                    f"{', '.join(_COLUMNS)}"
                )
            yield from (_of_row(row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RegistryError(f"{file}: cannot be read as a UTF-8 CSV: {error}") from error


def _of_row(row: Mapping[str, str | None]) -> SourceLayer:
    def said(name: str) -> str:
        return _text(row[name])

    def columns(name: str) -> tuple[str, ...]:
        return tuple(part for part in said(name).split("+") if part)

    return SourceLayer(
        source=said("source"),
        state=said("state").upper(),
        county=said("county"),
        municipality=said("city"),
        geoid=said("geoid"),
        census_name=said("census_name"),
        kind=said("layer_name"),
        url=said("url"),
        parcel_id=columns("pid_field"),
        number=columns("addr_number"),
        street=columns("addr_street"),
        unit=columns("addr_unit"),
        city=columns("addr_city"),
        postcode=columns("addr_postcode"),
        headers=_headers(said("request")),
        problem="is marked to be skipped" if said("skip") else "",
    )


def _headers(request: str) -> tuple[tuple[str, str], ...]:
    try:
        content = json.loads(request) if request else {}
    except (ValueError, RecursionError):
        return ()
    return _headers_of(content)


def _headers_of(request: object) -> tuple[tuple[str, str], ...]:
    headers = mapping(mapping(request).get("headers"))
    return tuple((str(name), str(value)) for name, value in headers.items())


def _tree(folder: Path) -> Iterator[SourceLayer]:
    root = next((f for f in (folder / "sources" / "us", folder / "us") if f.is_dir()), folder)
    files = sorted(root.glob("[a-z][a-z]/*.json"))
    if not files:
        raise RegistryError(
            f"{folder}: has no OpenAddresses source files (sources/us/co/montrose.json, …); name "
            "a folder that does, or a table"
        )
    for file in files:
        yield from _of_file(file, folder)


def _of_file(file: Path, tree: Path) -> list[SourceLayer]:
    name = sanitize_text(f"{file.parent.name}/{file.name}")
    state = file.parent.name.upper()
    try:
        return list(_layers(name, state, _content(file, tree)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return [SourceLayer(name, state, problem=f"cannot be read: {sanitize_text(error)}")]


def _content(file: Path, tree: Path) -> dict[str, Any]:
    """The JSON object in a file of the tree; no pipe or device, which a link may lead to."""
    if not file.is_file() or not file.resolve().is_relative_to(tree.resolve()):
        raise ValueError("no file of the tree")
    with file.open("rb") as opened:
        read = opened.read(_MOST_BYTES + 1)
    if len(read) > _MOST_BYTES:
        raise ValueError(f"longer than {_MOST_BYTES // 10**6} MB")
    content = json.loads(read.decode("utf-8"))
    if not isinstance(content, dict):
        raise TypeError("no JSON object")
    return content


def _layers(name: str, state: str, content: Mapping[str, Any]) -> Iterator[SourceLayer]:
    coverage = mapping(content.get("coverage"))
    census = mapping(coverage.get("US Census"))
    if "layers" in content:
        said = content["layers"].get("parcels", []) if isinstance(content["layers"], dict) else None
        layers = mappings(said)
        if not isinstance(said, list) or len(layers) < len(said):
            raise ValueError("its layers are no list of JSON objects")
    else:
        layers = [{**content, "protocol": content.get("type")}]
    for layer in layers:
        conform = mapping(layer.get("conform"))
        yield SourceLayer(
            source=name,
            state=state,
            county=_text(coverage.get("county")),
            municipality=_text(coverage.get("city")) or _text(coverage.get("town")),
            geoid=_text(census.get("geoid")),
            census_name=_text(census.get("name")),
            kind=_text(layer.get("name")) or ("city" if coverage.get("city") else "county"),
            url=_text(layer.get("data")),
            parcel_id=_columns(conform.get("pid") or conform.get("id")),
            number=_columns(conform.get("number")),
            street=_columns(conform.get("street")),
            unit=_columns(conform.get("unit")),
            city=_columns(conform.get("city")),
            postcode=_columns(conform.get("postcode")),
            headers=_headers_of(layer.get("request")),
            problem=_problem(content, layer, conform),
        )


def _problem(
    content: Mapping[str, Any], layer: Mapping[str, Any], conform: Mapping[str, Any]
) -> str:
    if layer.get("skip") or content.get("skip"):
        return "is marked to be skipped"
    if _text(layer.get("protocol")).upper() != "ESRI":
        return f"is no ArcGIS layer, but {_text(layer.get('protocol')) or 'something unsaid'}"
    # Schema 1 knows addresses only; some are taken from the layer of parcels.
    of_parcels = "pid" in conform or "parcel" in _text(layer.get("data")).lower()
    return "" if "layers" in content or of_parcels else "is said to hold addresses, not parcels"


def _columns(said: object) -> tuple[str, ...]:
    """The columns that a value is made of: a name, several, or a function of some."""
    if isinstance(said, str):
        return (_text(said),) if _text(said) else ()
    if isinstance(said, list):
        return tuple(name for part in said for name in _columns(part))
    if not isinstance(said, dict):
        return ()
    return _columns(said.get("field") or said.get("fields"))


def _text(value: object) -> str:
    return sanitize_text(value.strip(), _LONGEST_TEXT) if isinstance(value, str) else ""

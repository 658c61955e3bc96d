"""Reads the US parcel layers of OpenAddresses: a tree of source files, or a table made from one.

The format of a source file: https://github.com/openaddresses/openaddresses/blob/master/CONTRIBUTING.md
Schema 2 has parcel layers; schema 1 has a single layer, which may be of parcels.
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


# The largest source file of OpenAddresses has about 20 KB.
_MAX_BYTES = 5_000_000
# Longer than any URL that is requested.
_MAX_TEXT_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """One layer as described by its source file; empty for what is not given.

    Attributes:
        source: the file in the tree, "co/montrose.json".
        geoid: the Census code of a county (5 digits), a place (7) or a state (2).
        kind: "county", "city", "state", ….
        number, street, unit, city, postcode: the columns of an address.
        problem: why it cannot be used; empty for a parcel layer on an ArcGIS server.
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
    """The layers of a source tree or of a table (CSV), in file order.

    Raises:
        RegistryError: it does not exist, or is not from OpenAddresses.
    """
    if not source.exists():
        raise RegistryError(f"{source}: no such file or folder; check the path")
    return list(_read_tree(source) if source.is_dir() else _read_table(source))


def _read_table(file: Path) -> Iterator[SourceLayer]:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = csv.DictReader(opened)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise RegistryError(
                    f"{file}: is not a table of parcel layers: column {missing[0]!r} is missing; "
                    "use a folder of OpenAddresses source files, or a table with the columns "
                    f"{', '.join(_COLUMNS)}"
                )
            yield from (_layer_of_row(row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RegistryError(f"{file}: cannot be read as a UTF-8 CSV: {error}") from error


def _layer_of_row(row: Mapping[str, str | None]) -> SourceLayer:
    def text(name: str) -> str:
        return _text(row[name])

    def columns(name: str) -> tuple[str, ...]:
        return tuple(part for part in text(name).split("+") if part)

    return SourceLayer(
        source=text("source"),
        state=text("state").upper(),
        county=text("county"),
        municipality=text("city"),
        geoid=text("geoid"),
        census_name=text("census_name"),
        kind=text("layer_name"),
        url=text("url"),
        parcel_id=columns("pid_field"),
        number=columns("addr_number"),
        street=columns("addr_street"),
        unit=columns("addr_unit"),
        city=columns("addr_city"),
        postcode=columns("addr_postcode"),
        headers=_parse_headers(text("request")),
        problem="is marked as skipped" if text("skip") else "",
    )


def _parse_headers(request: str) -> tuple[tuple[str, str], ...]:
    try:
        content = json.loads(request) if request else {}
    except (ValueError, RecursionError):
        return ()
    return _headers_of(content)


def _headers_of(request: object) -> tuple[tuple[str, str], ...]:
    headers = mapping(mapping(request).get("headers"))
    return tuple((str(name), str(value)) for name, value in headers.items())


def _read_tree(folder: Path) -> Iterator[SourceLayer]:
    root = next((f for f in (folder / "sources" / "us", folder / "us") if f.is_dir()), folder)
    files = sorted(root.glob("[a-z][a-z]/*.json"))
    if not files:
        raise RegistryError(
            f"{folder}: has no OpenAddresses source files (sources/us/co/montrose.json, …); use a "
            "folder with source files, or a table"
        )
    for file in files:
        yield from _read_file(file, folder)


def _read_file(file: Path, tree: Path) -> list[SourceLayer]:
    name = sanitize_text(f"{file.parent.name}/{file.name}")
    state = file.parent.name.upper()
    try:
        return list(_layers(name, state, _read_json(file, tree)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return [SourceLayer(name, state, problem=f"cannot be read: {sanitize_text(error)}")]


def _read_json(file: Path, tree: Path) -> dict[str, Any]:
    """The JSON object in a regular file inside the tree; a link could lead to a device."""
    if not file.is_file() or not file.resolve().is_relative_to(tree.resolve()):
        raise ValueError("not a regular file inside the tree")
    with file.open("rb") as opened:
        read = opened.read(_MAX_BYTES + 1)
    if len(read) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES // 10**6} MB")
    content = json.loads(read.decode("utf-8"))
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    return content


def _layers(name: str, state: str, content: Mapping[str, Any]) -> Iterator[SourceLayer]:
    coverage = mapping(content.get("coverage"))
    census = mapping(coverage.get("US Census"))
    if "layers" in content:
        layers_of = content["layers"]
        given = layers_of.get("parcels", []) if isinstance(layers_of, dict) else None
        layers = mappings(given)
        if not isinstance(given, list) or len(layers) < len(given):
            raise ValueError("its layers are not a list of JSON objects")
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
        return "is marked as skipped"
    if _text(layer.get("protocol")).upper() != "ESRI":
        return f"is not an ArcGIS layer; protocol: {_text(layer.get('protocol')) or 'not given'}"
    # Schema 1 describes address layers only, but some of them are parcel layers.
    of_parcels = "pid" in conform or "parcel" in _text(layer.get("data")).lower()
    return "" if "layers" in content or of_parcels else "holds addresses, not parcels"


def _columns(value: object) -> tuple[str, ...]:
    """The columns that a value is made from: a name, a list of names, or a function of them."""
    if isinstance(value, str):
        return (_text(value),) if _text(value) else ()
    if isinstance(value, list):
        return tuple(name for part in value for name in _columns(part))
    if not isinstance(value, dict):
        return ()
    return _columns(value.get("field") or value.get("fields"))


def _text(value: object) -> str:
    return sanitize_text(value.strip(), _MAX_TEXT_LENGTH) if isinstance(value, str) else ""

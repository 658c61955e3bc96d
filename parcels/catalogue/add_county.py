"""A new registry entry for a layer: what it is, and which of its columns are worth mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.layer_info import LayerInfo, as_int64
from parcels.arcgis.query import LayerQuery
from parcels.catalogue.column_guess import ColumnGuess, candidates, guess_columns
from parcels.catalogue.county_names import compact, read_name
from parcels.catalogue.edit_registry import add_entry
from parcels.catalogue.us_counties import box_of, boxes_intersect, county_named
from parcels.catalogue.us_states import states_as_written
from parcels.catalogue.write_registry import write_text
from parcels.errors import QueryRefused, RegistryError
from parcels.registry.county import ArcGISLayerEntry, County, ParcelFields
from parcels.registry.entry import validate_entry
from parcels.registry.yaml_file import read_entries
from parcels.untrusted import mapping, mappings, sanitize_text

_ROWS = 50
_SERVICE = re.compile(r"(.*/(?:MapServer|FeatureServer))(?:/(\d{1,12}))?(?:/query)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AddedEntry:
    """An entry that was written: its lines, and what the layer said."""

    county: County
    lines: tuple[str, ...]
    layer_name: str


def add_county(
    name: str,
    url: str,
    file: Path,
    *,
    allow_private: bool = False,
    client: ArcGISClient | None = None,
) -> AddedEntry:
    """Look at a layer and write an entry for it; three small calls.

    `url` is of a layer, or of a service with one layer of polygons. A file that does not exist is
    made.

    Raises:
        RegistryError: the name is none or taken, or the service has several layers of polygons;
            it lists them.
        SourceUnavailable, SourceMisconfigured: the layer does not answer, or is not of polygons.
    """
    if file.exists() and name in read_entries(file):
        raise RegistryError(f"{file}: county {name!r} is there already; take another name")
    service, number = _service_and_layer(url)
    there = {"url": service, "layer": number or 0, "allow_private": allow_private}
    try:
        county = validate_entry(name, there)
    except RegistryError as error:
        raise RegistryError(f"county {name!r}: {error}") from error
    client = client or ArcGISClient.for_county(county)
    if number is None:
        number = _only_layer(service, client.get_json(service, {}))
    query = LayerQuery(
        ArcGISLayerEntry(url=service, layer=number), ParcelFields(), None, client, CircuitBreaker()
    )
    info = query.info
    guessed = _guess(query, info, client)
    lines = _lines(_whereabouts(name, info), service, number, allow_private, guessed, info)
    if not file.exists():
        write_text("counties:\n", file)
    add_entry(file, name, lines)
    entry = read_entries(file)[name]
    return AddedEntry(validate_entry(name, entry, file), tuple(lines), info.name)


def _service_and_layer(url: str) -> tuple[str, int | None]:
    found = _SERVICE.fullmatch(url.strip().partition("?")[0].rstrip("/"))
    if found is None:
        raise RegistryError(
            f"{url!r} names no layer; write one like "
            "https://gis.county.gov/arcgis/rest/services/Parcels/MapServer/0"
        )
    return found[1], int(found[2]) if found[2] is not None else None


def _only_layer(service: str, answer: Mapping[str, Any]) -> int:
    """The number of the service's layer of polygons.

    Raises:
        RegistryError: it has none or several; those are listed.
    """
    # Servers of before 10 do not say of what a layer is; groups have no geometry.
    may_be = [
        (number, layer)
        for layer in mappings(answer.get("layers"))
        if (number := as_int64(layer.get("id"))) is not None
        and number >= 0
        and layer.get("geometryType", "esriGeometryPolygon") == "esriGeometryPolygon"
        and not layer.get("subLayerIds")
    ]
    if len(may_be) == 1:
        return may_be[0][0]
    listed = "".join(
        f"\n  {service}/{number}  {sanitize_text(layer.get('name'))}" for number, layer in may_be
    )
    if not may_be:
        raise RegistryError(f"{service}: has no layer of polygons; name another service")
    raise RegistryError(f"{service}: has several layers of polygons; name one of them:{listed}")


def _guess(query: LayerQuery, info: LayerInfo, client: ArcGISClient) -> ColumnGuess:
    columns = list(info.fields)
    asked = candidates(columns, info.object_id_field)
    if not asked:
        return ColumnGuess()
    sample = {
        "where": "1=1",
        "outFields": ",".join(asked),
        "returnGeometry": "false",
        "resultRecordCount": str(_ROWS),
    }
    try:
        features = mappings(client.get_json(f"{query.origin}/query", sample).get("features"))
    except QueryRefused:
        features = []  # a server without pages: the names must do
    rows = [mapping(feature.get("attributes")) for feature in features[:_ROWS]]
    return guess_columns(columns, info.object_id_field, rows)


def _whereabouts(name: str, info: LayerInfo) -> list[str]:
    """The lines that a name like `travis-tx` gives: of the county, else of the state alone."""
    base, state = read_name(name, states_as_written())
    if state is None:
        return []
    place = county_named(state, base)
    if place is not None and compact(place.name) == compact(base):
        full_name = f"name: {_scalar(place.full_name)}"
        return [full_name, f"state: {_scalar(state)}", f'fips: "{place.fips}"']
    box = box_of(state, None)
    # A name may end like a state's code: built-in lies where it does.
    is_there = info.extent is None or box is None or boxes_intersect(info.extent, box)
    return [f"state: {_scalar(state)}"] if is_there else []


def _lines(
    whereabouts: list[str],
    service: str,
    number: int,
    allow_private: bool,
    guessed: ColumnGuess,
    info: LayerInfo,
) -> list[str]:
    lines = [f"# The layer {sanitize_text(info.name)}; the columns are guessed."]
    lines += [*whereabouts, f"url: {service}", f"layer: {number}"]
    if allow_private:
        lines.append("allow_private: true")
    if guessed.fields:
        lines.append("fields:")
        lines += [f"  {key}: {_columns(value)}" for key, value in guessed.fields.items()]
    lines += [f"# {sanitize_text(name)} {why}." for name, why in guessed.refused.items()]
    if not guessed.has_addresses:
        lines.append(
            "# Addresses are not mapped: set address, or house_number and street, under fields."
        )
    used = {name for value in guessed.fields.values() for name in _names(value)}
    rest = [name for name in info.fields if name not in used]
    if rest:
        lines.append(f"# Other columns: {', '.join(map(sanitize_text, rest))}")
    return lines


def _columns(value: str | list[str]) -> str:
    if isinstance(value, str):
        return _scalar(value)
    return f"[{', '.join(map(_scalar, value))}]"


def _names(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _scalar(text: str) -> str:
    """A text as YAML reads it back, also inside brackets."""
    dumped: str = yaml.safe_dump([text], default_flow_style=True, width=100_000, allow_unicode=True)
    return dumped.strip()[1:-1]

"""`lotline registry add`: a new registry entry for a layer, with a guessed column mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.layer_info import LayerInfo, as_int64
from parcels.arcgis.query import LayerQuery
from parcels.catalogue.column_guess import ColumnGuess, candidates, guess_columns
from parcels.catalogue.edit_registry import add_entry
from parcels.catalogue.write_registry import write_text
from parcels.column_mapping import match_column
from parcels.errors import QueryRefused, RegistryError
from parcels.registry.county import ArcGISLayerEntry, County, ParcelFields
from parcels.registry.county_names import compact, parse_county_name
from parcels.registry.entry import validate_entry
from parcels.registry.us_counties import box_of, boxes_intersect, county_named
from parcels.registry.us_states import states_as_written
from parcels.registry.yaml_file import read_entries
from parcels.untrusted import mapping, mappings, sanitize_text

_SAMPLE_ROWS = 50
_SERVICE = re.compile(r"(.*/(?:MapServer|FeatureServer))(?:/(\d{1,12}))?(?:/query)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AddedEntry:
    """An entry that was written: the county, its lines, and the name of the layer."""

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
    """Inspect a layer with three small requests and write an entry for it.

    `url` is that of a layer, or of a service with exactly one polygon layer. A missing registry
    file is created.

    Raises:
        RegistryError: the name is not valid or exists, or the service has several polygon
            layers; the message lists them.
        SourceUnavailable, SourceMisconfigured: the layer is unavailable, or has no polygons.
    """
    if file.exists() and name in read_entries(file):
        raise RegistryError(f"{file}: county {name!r} already exists; choose another name")
    service, number = _service_and_layer(url)
    probe = {"url": service, "layer": number or 0, "allow_private": allow_private}
    try:
        county = validate_entry(name, probe)
    except RegistryError as error:
        raise RegistryError(f"county {name!r}: {error}") from error
    client = client or ArcGISClient.for_county(county)
    if number is None:
        number = _only_layer(service, client.get_json(service, {}))
    query = LayerQuery(
        ArcGISLayerEntry(url=service, layer=number), ParcelFields(), None, client, CircuitBreaker()
    )
    info = query.info
    guess = _guess_columns(query, info, client)
    lines = _entry_lines(_place_lines(name, info), service, number, allow_private, guess, info)
    if not file.exists():
        write_text("counties:\n", file)
    add_entry(file, name, lines)
    entry = read_entries(file)[name]
    return AddedEntry(validate_entry(name, entry, file), tuple(lines), info.name)


def _service_and_layer(url: str) -> tuple[str, int | None]:
    found = _SERVICE.fullmatch(url.strip().partition("?")[0].rstrip("/"))
    if found is None:
        raise RegistryError(
            f"{url!r} is not the URL of a layer; write for example "
            "https://gis.county.gov/arcgis/rest/services/Parcels/MapServer/0"
        )
    return found[1], int(found[2]) if found[2] is not None else None


def _only_layer(service: str, response: Mapping[str, Any]) -> int:
    """The number of the only polygon layer of a service.

    Raises:
        RegistryError: it has none or several; the message lists them.
    """
    # Servers before ArcGIS 10 report no geometry type; group layers have no geometry.
    layers = [
        (number, layer)
        for layer in mappings(response.get("layers"))
        if (number := as_int64(layer.get("id"))) is not None
        and number >= 0
        and layer.get("geometryType", "esriGeometryPolygon") == "esriGeometryPolygon"
        and not layer.get("subLayerIds")
    ]
    if len(layers) == 1:
        return layers[0][0]
    listed = "".join(
        f"\n  {service}/{number}  {sanitize_text(layer.get('name'))}" for number, layer in layers
    )
    if not layers:
        raise RegistryError(f"{service}: has no polygon layer; use another service")
    raise RegistryError(f"{service}: has several polygon layers; choose one of them:{listed}")


def _guess_columns(query: LayerQuery, info: LayerInfo, client: ArcGISClient) -> ColumnGuess:
    columns = list(info.fields)
    sampled = candidates(columns, info.object_id_field)
    if not sampled:
        return ColumnGuess()
    sample = {
        "where": "1=1",
        "outFields": ",".join(sampled),
        "returnGeometry": "false",
        "resultRecordCount": str(_SAMPLE_ROWS),
    }
    try:
        features = mappings(client.get_json(f"{query.origin}/query", sample).get("features"))
    except QueryRefused:
        features = []  # no pagination: guess from the names alone
    rows = [
        _as_listed(mapping(feature.get("attributes")), sampled, info)
        for feature in features[:_SAMPLE_ROWS]
    ]
    return guess_columns(columns, info.object_id_field, rows)


def _as_listed(
    attributes: Mapping[str, Any], columns: Sequence[str], info: LayerInfo
) -> dict[str, Any]:
    """The values of a row by column as the layer lists it; a response may spell it otherwise."""
    spelled = {name: match_column(name, list(attributes), {}) for name in columns}
    return {
        name: info.coded_values.get(name, {}).get(str(value), value)
        for name, found in spelled.items()
        if found
        for value in [attributes[found[0]]]
    }


def _place_lines(name: str, info: LayerInfo) -> list[str]:
    """Name, state and FIPS code derived from a name like `travis-tx`; the state alone if unsure."""
    base, state = parse_county_name(name, states_as_written())
    if state is None:
        return []
    place = county_named(state, base)
    if place is not None and compact(place.name) == compact(base):
        full_name = f"name: {_scalar(place.full_name)}"
        return [full_name, f"state: {_scalar(state)}", f'fips: "{place.fips}"']
    box = box_of(state, None)
    # A name may end like a state code by chance ("built-in"): the extent decides.
    in_state = info.extent is None or box is None or boxes_intersect(info.extent, box)
    return [f"state: {_scalar(state)}"] if in_state else []


def _entry_lines(
    place_lines: list[str],
    service: str,
    number: int,
    allow_private: bool,
    guess: ColumnGuess,
    info: LayerInfo,
) -> list[str]:
    lines = [f"# Layer {sanitize_text(info.name)}; the columns are guessed."]
    lines += [*place_lines, f"url: {service}", f"layer: {number}"]
    if allow_private:
        lines.append("allow_private: true")
    if guess.fields:
        lines.append("fields:")
        lines += [f"  {key}: {_columns_yaml(value)}" for key, value in guess.fields.items()]
    lines += [f"# {sanitize_text(name)} {why}." for name, why in guess.refused.items()]
    if not guess.has_addresses:
        lines.append(
            "# No address columns found: set address, or house_number and street, under fields."
        )
    used = {name for value in guess.fields.values() for name in _column_names(value)}
    unused = [name for name in info.fields if name not in used]
    if unused:
        lines.append(f"# Other columns: {', '.join(map(sanitize_text, unused))}")
    return lines


def _columns_yaml(value: str | list[str]) -> str:
    if isinstance(value, str):
        return _scalar(value)
    return f"[{', '.join(map(_scalar, value))}]"


def _column_names(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _scalar(text: str) -> str:
    """The text as a YAML scalar, also valid inside brackets."""
    dumped: str = yaml.safe_dump([text], default_flow_style=True, width=100_000, allow_unicode=True)
    return dumped.strip()[1:-1]

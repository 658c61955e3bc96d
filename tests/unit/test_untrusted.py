"""Untrusted data of servers and source files: no terminal escapes, no crash."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Reply, scripted

from parcels.addresses.house_number import numbers_in, parse_house_number
from parcels.addresses.matching import format_site, may_match
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import parse_address, try_parse_address
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import parse_response
from parcels.arcgis.layer_info import extent_lonlat, parse_layer_info
from parcels.catalogue.add_county import add_county
from parcels.catalogue.import_layers import import_layers
from parcels.catalogue.openaddresses import read_source
from parcels.catalogue.openaddresses_entries import entries_of
from parcels.errors import (
    AddressRefused,
    ParcelsError,
    PropertyError,
    QueryRefused,
    RegistryError,
    SourceMisconfigured,
)
from parcels.geocode.census import CensusGeocoder
from parcels.geocode.geocode_server import GeocodeServer
from parcels.untrusted import mapping, mappings, sanitize_text

SERVICE = "https://gis.example.gov/arcgis/rest/services/P/MapServer"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\nok  here\u2028\u202e\x85\ud800"
MANY_DIGITS = "9" * 5_000
WANTED = parse_address("123 N Main St, Memphis, TN 38103")
LAYER: dict[str, Any] = {
    "name": f"Parcels{ESCAPES}",
    "geometryType": "esriGeometryPolygon",
    "capabilities": "Query",
    "objectIdField": "OBJECTID",
    "fields": [{"name": name, "type": "esriFieldTypeString"} for name in ("OBJECTID", "PIN")],
}


class Canned(ArcGISClient):
    """Canned responses by the end of the URL."""

    def __init__(self, responses: Mapping[str, dict[str, Any]]) -> None:
        super().__init__()
        self._responses = responses

    def get_json(self, url: str, params: Any, **_: float) -> dict[str, Any]:  # noqa: ARG002
        return self._responses[url.rsplit("/", 1)[1]]


def test_untrusted_text_becomes_one_short_printable_line() -> None:
    assert sanitize_text("Grünfläche, 5 m²") == "Grünfläche, 5 m²"
    assert sanitize_text(ESCAPES).isprintable()
    assert sanitize_text("x" * 10**6) == "x" * 300 + "…"
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert sanitize_text(deep) == "list"
    assert (mapping([1]), mappings({"a": 1}), mappings([1, {}, "b"])) == ({}, [], [{}])


@pytest.mark.parametrize("message", [ESCAPES, "A" * 10**6, [[ESCAPES]], {"a": ESCAPES}])
def test_an_error_quotes_a_server_in_one_short_line(message: object) -> None:
    body = {"error": {"code": 400, "message": message, "details": [ESCAPES] * 1_000}}
    with pytest.raises(QueryRefused) as caught:
        parse_response(SERVICE, 400, json.dumps(body).encode())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_layer_and_column_names_are_sanitized() -> None:
    odd = {"name": f"PIN2{ESCAPES}", "type": "esriFieldTypeString"}
    info = parse_layer_info(SERVICE, {**LAYER, "fields": [*LAYER["fields"], odd]})
    assert info.name.isprintable()
    assert list(info.fields) == ["OBJECTID", "PIN"]
    for wrong in ({"geometryType": ESCAPES}, {"capabilities": ESCAPES}):
        with pytest.raises(SourceMisconfigured) as caught:
            parse_layer_info(SERVICE, {**LAYER, **wrong})
        assert str(caught.value).isprintable()


def test_an_invalid_extent_is_ignored() -> None:
    edges = {"xmin": -(10**400), "ymin": 0, "xmax": 10**400, "ymax": 1}
    assert extent_lonlat({**edges, "spatialReference": {"wkid": 4326}}) is None


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://[::1", "\x1b[2J://x/"]
)
def test_an_invalid_redirect_is_refused_with_a_sanitized_message(location: str) -> None:
    client = ArcGISClient(allow_private=True, sleep=lambda _: None)
    to = Reply(status=302, headers={"Location": location})
    with scripted(lambda _: to) as server, pytest.raises(ParcelsError) as caught:
        client.get_json(server.url, {})
    assert isinstance(caught.value, AddressRefused | SourceMisconfigured)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "header",
    ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2300", MANY_DIGITS + "x"],
)
def test_an_invalid_retry_after_is_ignored(header: str) -> None:
    client = ArcGISClient(allow_private=True, sleep=lambda _: None)
    with scripted(lambda _: Reply(b'{"a": 1}', headers={"Retry-After": header})) as server:
        assert client.get_json(server.url, {}) == {"a": 1}


def test_thousands_of_digits_are_not_a_house_number() -> None:
    for text in (MANY_DIGITS, f"{MANY_DIGITS}A", f"{MANY_DIGITS} 1/2", f"1-{MANY_DIGITS}"):
        assert parse_house_number(text) is None
    assert list(numbers_in(f"{MANY_DIGITS} Main St 12-14, {MANY_DIGITS}-7")) == [12, 14, 7]
    assert try_parse_address(f"{MANY_DIGITS} Main St") is None
    with pytest.raises(PropertyError, match="is too long") as caught:
        parse_address(f"123 {'Main ' * 200_000}St")
    assert len(str(caught.value)) < 1_000
    for site in (
        SiteAddress(house_number=MANY_DIGITS, street="N MAIN ST"),
        SiteAddress(line=f"{MANY_DIGITS} N Main St"),
    ):
        assert not may_match(site, WANTED)
    zip_code = SiteAddress(house_number="123", street="N MAIN ST", postcode=MANY_DIGITS)
    assert may_match(zip_code, WANTED)
    assert format_site(SiteAddress(line=ESCAPES)).isprintable()


def candidate(**keys: Any) -> dict[str, Any]:
    place = {"address": "123 N MAIN ST, MEMPHIS, TN, 38103", "location": {"x": -90, "y": 35}}
    kind = {"Addr_type": "PointAddress", "ResultID": 0}
    return {**place, "score": 100, "attributes": kind, **keys}


ODD_SERVICES: list[dict[str, Any]] = [
    {"addressFields": [1]},
    {"addressFields": "abc"},
    {"addressFields": 5},
    {"addressFields": [{"name": ["Address"]}, {"name": "\x1b[2J"}]},
    {"singleLineAddressField": {"name": None}, "addressFields": [{"name": "Street"}]},
    {"locatorProperties": [1]},
    {"locatorProperties": {"SuggestedBatchSize": MANY_DIGITS}},
    {"locatorProperties": {"SuggestedBatchSize": "٣"}},
    {"locatorProperties": {"SuggestedBatchSize": -1}},
    {"capabilities": ["Geocode"]},
]


@pytest.mark.parametrize("keys", ODD_SERVICES)
def test_an_invalid_geocode_server_description_is_handled(keys: dict[str, Any]) -> None:
    service = {"singleLineAddressField": {"name": "SingleLine"}, **keys}
    found = {"candidates": [candidate()], "locations": [candidate()]}
    responses = {"G": service, "geocodeAddresses": found, "findAddressCandidates": found}
    [finding] = GeocodeServer("https://x/G", Canned(responses)).locate([WANTED])
    assert getattr(finding, "longitude", None) == -90


def test_a_geocode_server_without_address_fields_is_refused() -> None:
    service = {"singleLineAddressField": [1], "addressFields": [{"name": "\x1b[2J"}]}
    [finding] = GeocodeServer("https://x/G", Canned({"G": service})).locate([WANTED])
    assert isinstance(finding, SourceMisconfigured)
    assert str(finding).isprintable()


@pytest.mark.parametrize(
    "locations",
    [
        5,
        {"a": 1},
        [1],
        [candidate(score=10**400)],
        [candidate(score=float("nan"))],
        [candidate(location={"x": "NaN", "y": float("nan")})],
        [candidate(location={"x": 10**400, "y": [1]})],
        [candidate(address=f"{MANY_DIGITS} Main St")],
        [candidate(address=f"123 {ESCAPES}")],
        [candidate(attributes=[1])],
    ],
)
def test_invalid_geocode_candidates_are_skipped(locations: Any) -> None:
    service = {"singleLineAddressField": {"name": "SingleLine"}}
    responses = {"G": service, "geocodeAddresses": {"locations": locations}}
    [finding] = GeocodeServer("https://x/G", Canned(responses)).locate([WANTED])
    assert not hasattr(finding, "longitude")
    assert getattr(finding, "detail", str(finding)).isprintable()


@pytest.mark.parametrize(
    "body",
    [b'"0","' + b"x" * 200_000 + b'","Match"\n', b"0,x,Match\r1,x", f'"0","x","Match","Exact",'
     f'"{MANY_DIGITS} MAIN ST, MEMPHIS","-90,35","1","L"\n'.encode()],
)  # fmt: skip
def test_an_invalid_census_table_finds_nothing(body: bytes) -> None:
    client = ArcGISClient(allow_private=True, sleep=lambda _: None, calls_per_second=100)
    with scripted(lambda _: Reply(body)) as server:
        [finding] = CensusGeocoder(client, server.url).locate([WANTED])
    assert not hasattr(finding, "longitude")


@pytest.mark.parametrize(
    "layers",
    [
        5, {"a": 1}, [1], [{"id": "abc"}], [{"id": -1}], [{"name": "no id"}], [{"id": 1e999}],
        [{"id": 1, "name": ESCAPES}, {"id": 2, "name": [ESCAPES]}],
    ],
)  # fmt: skip
def test_invalid_layer_lists_have_no_layer(tmp_path: Path, layers: Any) -> None:
    client = Canned({"MapServer": {"layers": layers}})
    with pytest.raises(RegistryError, match=r"polygon layers?") as caught:
        add_county("here", SERVICE, tmp_path / "r.yaml", client=client)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


@pytest.mark.parametrize("features", [{"a": 1}, [1, 2], [{"attributes": [1]}], 5])
def test_invalid_sample_rows_are_ignored(tmp_path: Path, features: Any) -> None:
    client = Canned({"0": LAYER, "query": {"features": features}})
    added = add_county("here", f"{SERVICE}/0", tmp_path / "r.yaml", client=client)
    assert all(line.isprintable() for line in added.lines)


def test_a_url_with_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is not the URL of a layer"):
        add_county("here", f"{SERVICE}/{MANY_DIGITS}", tmp_path / "r.yaml")


def source(url: str = f"{SERVICE}/0", **keys: Any) -> dict[str, Any]:
    layer = {"name": "county", "protocol": "ESRI", "data": url, **keys}
    return {"coverage": {"county": "Knox"}, "layers": {"parcels": [layer]}}


def tree(folder: Path) -> Path:
    """A source tree with one valid source; returns the folder of its state."""
    state = folder / "us" / "tn"
    state.mkdir(parents=True)
    good = source("https://gis.shelby.example/arcgis/rest/services/P/MapServer/0")
    (state / "shelby.json").write_text(json.dumps({**good, "coverage": {"county": "Shelby"}}))
    return state


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (source("http://[x/MapServer/0"), "is not a web address"),
        (source(f"{SERVICE}/{MANY_DIGITS}"), "is not a layer of a MapServer"),
        ({"coverage": [1], "layers": [1]}, "its layers are not a list"),
        (
            {"coverage": {"US Census": 5}, "layers": {"parcels": {"a": 1}}},
            "its layers are not a list",
        ),
        ({"layers": {"parcels": [5]}}, "its layers are not a list"),
        (source(protocol=ESCAPES), "is not an ArcGIS layer; protocol: "),
        (source(request={"headers": {"X": "a\nb"}}), "has a value that is not valid in a header"),
        (source(request={"headers": {"X": "\ud800"}}), "'headers.X'"),
    ],
)
def test_an_invalid_source_is_dropped_with_a_reason(
    tmp_path: Path, content: dict[str, Any], reason: str
) -> None:
    (tree(tmp_path) / "knox.json").write_text(json.dumps(content))
    done = import_layers(tmp_path, tmp_path / "out.yaml")
    assert done.keys == ("shelby-tn",)
    [drop] = done.dropped
    assert reason in drop.reason
    assert drop.reason.isprintable()


def test_an_invalid_statewide_url_is_dropped(tmp_path: Path) -> None:
    (tree(tmp_path) / "statewide.json").write_text(json.dumps(source("http://[x/MapServer/0")))
    assert import_layers(tmp_path, tmp_path / "out.yaml").keys == ("shelby-tn",)


@pytest.mark.parametrize(
    "content",
    [
        {"coverage": [1], "layers": {"parcels": []}},
        source(conform={"number": [1, {"field": 5}], "pid": 7}, request=[1]),
        source(conform=[1], name=5),
    ],
)
def test_invalid_types_in_a_source_do_not_stop_the_import(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    (tree(tmp_path) / "knox.json").write_text(json.dumps(content))
    assert "shelby-tn" in import_layers(tmp_path, tmp_path / "out.yaml").keys


def test_unencodable_file_names_do_not_stop_the_import(tmp_path: Path) -> None:
    odd = source(conform={"pid": f"A{ESCAPES}"})
    odd["coverage"] = {"county": f"Knox{ESCAPES}"}
    (tree(tmp_path) / "knox.json").write_text(json.dumps(odd))
    out = tmp_path / "out.yaml"
    assert import_layers(tmp_path, out).keys == ("knox-tn", "shelby-tn")
    assert all(line.isprintable() for line in out.read_text().split("\n"))


def test_only_regular_files_of_the_tree_are_read(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree")
    outside = tmp_path / "secret.json"
    outside.write_text(json.dumps(source()))
    os.mkfifo(folder / "a.json")
    (folder / "b.json").symlink_to("/dev/zero")
    (folder / "c.json").symlink_to(folder / "d.json")
    (folder / "d.json").symlink_to(folder / "c.json")
    (folder / "e.json").symlink_to(outside)
    (folder / "f.json").mkdir()
    with (folder / "g.json").open("wb") as large:
        large.truncate(5_000_001)
    entries, dropped = entries_of(read_source(tmp_path / "tree"))
    assert list(entries) == ["shelby-tn"]
    reasons = {drop.source: drop.reason for drop in dropped}
    assert reasons.pop("tn/g.json") == "cannot be read: longer than 5 MB"
    assert reasons == dict.fromkeys(
        [f"tn/{name}.json" for name in "abcdef"],
        "cannot be read: not a regular file inside the tree",
    )

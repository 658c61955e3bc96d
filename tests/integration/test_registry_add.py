"""`lotline registry add` against a real FeatureServer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from servers.koop import FeatureServer, feature_server, synthetic_lots

from parcels import load_registry
from parcels.arcgis.http.client import ArcGISClient
from parcels.catalogue.add_county import add_county
from parcels.errors import RegistryError, SourceMisconfigured
from pipeline.cli.app import lotline

PUBLIC = "https://gis.example.gov/arcgis/rest/services/P/MapServer"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    lots = synthetic_lots().assign(
        PIN="0",
        SITUS_NUM=[float(100 + n) for n in range(121)],
        SITUS_STREET="MAIN ST",
        OWNER="NOBODY",
    )
    with feature_server(lots, tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


class Canned(ArcGISClient):
    """Responses that Koop cannot give: services with several layers, point layers."""

    def __init__(self, responses: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self._responses = responses

    def get_json(self, url: str, params: Any, **limits: float) -> dict[str, Any]:  # noqa: ARG002
        return self._responses[url]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(lotline, ["registry", "add", *map(str, args)])


def test_a_layer_is_inspected_and_its_entry_written(server: FeatureServer, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    done = run("shelby-tn", f"{server.url}/0", "--allow-private", "--registry", file)
    assert done.exit_code == 0, done.output
    county = load_registry(file)["shelby-tn"]
    assert (county.name, county.state, county.fips) == ("Shelby County", "TN", "47157")
    assert (county.url, county.layer, county.allow_private) == (server.url, 0, True)
    assert county.fields.columns == ("APN", "SITUS_NUM", "SITUS_STREET")
    text = file.read_text()
    assert "    # Other columns: OBJECTID, PIN, OWNER" in text
    assert len(server.calls) <= 3
    assert not any("OWNER" in call["url"] for call in server.calls)
    assert done.stdout.startswith("shelby-tn:\n  # Layer ")
    verify = f"lotline registry verify shelby-tn --registry {file}"
    assert done.stderr == f"added to {file}; next: {verify}\n"


@pytest.mark.parametrize(
    ("name", "state"), [("parcels-tn", "TN"), ("parcels-ca", None), ("parcels", None)]
)
def test_a_state_in_the_name_counts_if_the_layer_is_there(
    server: FeatureServer, tmp_path: Path, name: str, state: str | None
) -> None:
    file = tmp_path / "mine.yaml"
    add_county(name, f"{server.url}/0", file, allow_private=True)
    assert load_registry(file)[name].state == state


def test_an_entry_without_address_columns_has_a_comment(tmp_path: Path) -> None:
    url = f"{PUBLIC}/0"
    described = {
        "name": "Lots",
        "geometryType": "esriGeometryPolygon",
        "fields": [{"name": "PIN", "type": "esriFieldTypeString"}],
    }
    client = Canned({url: described, f"{url}/query": {"features": []}})
    added = add_county("riv-ca", url, tmp_path / "r.yaml", client=client)
    assert added.county.state == "CA"
    assert (
        "# No address columns found: set address, or house_number and street, under fields."
        in added.lines
    )


@pytest.mark.parametrize("tail", ["", "/", "?f=pjson", "/0/", "/0?f=json", "/0/query?where=1=1"])
def test_urls_as_people_copy_them_are_accepted(
    server: FeatureServer, tmp_path: Path, tail: str
) -> None:
    client = ArcGISClient(allow_private=True)
    file = tmp_path / "mine.yaml"
    add_county("here", f"{server.url}{tail}", file, allow_private=True, client=client)
    assert load_registry(file)["here"].layer == 0


def test_other_entries_stay_unchanged(server: FeatureServer, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    before = "# Mine.\ncounties:\n    a: {path: x}  # lots\n    # no more\n"
    file.write_text(before)
    add_county("b", f"{server.url}/0", file, allow_private=True)
    assert file.read_text().startswith(before)
    assert set(load_registry(file)) == {"a", "b"}


def test_without_a_sample_the_names_decide(server: FeatureServer, tmp_path: Path) -> None:
    server.fail("refused", on="resultRecordCount")
    file = tmp_path / "mine.yaml"
    add_county("here", f"{server.url}/0", file, allow_private=True)
    assert load_registry(file)["here"].fields.parcel_id == "APN"


def test_an_existing_name_is_refused_before_any_request(
    server: FeatureServer, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("counties:\n  here: {path: x}\n")
    with pytest.raises(RegistryError, match="'here' already exists; choose another name"):
        add_county("here", f"{server.url}/0", file, allow_private=True)
    assert server.calls == []


@pytest.mark.parametrize("name", ["Travis County", "../x", "a;rm", "", "-x", "a\nb: {path: x}"])
def test_an_invalid_name_is_refused_before_any_request(
    server: FeatureServer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(RegistryError, match="write the county's name with a-z"):
        add_county(name, f"{server.url}/0", tmp_path / "mine.yaml", allow_private=True)
    assert server.calls == []
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize(
    "url", ["https://gis.example.gov/portal", "file:///MapServer/0", "MapServer/0", ""]
)
def test_an_invalid_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(RegistryError, match=r"is not the URL of a layer|is not a web address"):
        add_county("here", url, tmp_path / "mine.yaml")


def test_a_private_address_needs_allow_private(server: FeatureServer, tmp_path: Path) -> None:
    with pytest.raises(SourceMisconfigured, match="allow_private: true"):
        add_county("here", f"{server.url}/0", tmp_path / "mine.yaml")
    done = run("here", f"{server.url}/0", "--registry", tmp_path / "mine.yaml")
    assert str(done.exception) == (
        f"{server.url}/0: 127.0.0.1 is not a public address; add --allow-private if intended"
    )
    assert server.calls == []


def test_several_polygon_layers_are_listed(tmp_path: Path) -> None:
    def layer(number: int, kind: str, **more: Any) -> dict[str, Any]:
        return {"id": number, "name": f"L{number}", "geometryType": f"esriGeometry{kind}", **more}

    layers = [layer(0, "Point"), layer(3, "Polygon"), layer(5, "Polygon"), {"id": 7, "name": "G",
              "subLayerIds": [3, 5]}]  # fmt: skip
    with pytest.raises(RegistryError) as caught:
        add_county("here", PUBLIC, tmp_path / "r.yaml", client=Canned({PUBLIC: {"layers": layers}}))
    assert str(caught.value) == (
        f"{PUBLIC}: has several polygon layers; choose one of them:\n  {PUBLIC}/3  L3\n"
        f"  {PUBLIC}/5  L5"
    )
    with pytest.raises(RegistryError, match="has no polygon layer; use another service"):
        add_county("here", PUBLIC, tmp_path / "r.yaml", client=Canned({PUBLIC: {}}))


def test_a_point_layer_is_refused(tmp_path: Path) -> None:
    points = {"name": "Hydrants", "geometryType": "esriGeometryPoint"}
    with pytest.raises(SourceMisconfigured, match=r"'Hydrants' .*Point. is not a polygon"):
        add_county(
            "here", f"{PUBLIC}/0", tmp_path / "r.yaml", client=Canned({f"{PUBLIC}/0": points})
        )
    assert not (tmp_path / "r.yaml").exists()


def test_server_text_cannot_leave_its_comment(tmp_path: Path) -> None:
    url = f"{PUBLIC}/0"
    described = {
        "name": "Lots\n  evil:\n    path: /etc",
        "geometryType": "esriGeometryPolygon",
        "fields": [
            {"name": "PIN", "type": "esriFieldTypeString"},
            {"name": "x\n    allow_private: true", "type": "esriFieldTypeString"},
        ],
    }
    client = Canned({url: described, f"{url}/query": {"features": []}})
    add_county("here", url, tmp_path / "r.yaml", client=client)
    registry = load_registry(tmp_path / "r.yaml")
    assert set(registry) == {"here"}
    assert not registry["here"].allow_private

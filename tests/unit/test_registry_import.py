"""OpenAddresses -> registry entries: every dropped value has a reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from parcels import load_registry
from parcels.catalogue.import_layers import import_layers
from parcels.catalogue.openaddresses import SourceLayer, read_source
from parcels.catalogue.openaddresses_entries import DroppedLayer, entries_of
from parcels.catalogue.write_registry import dropped_beside
from parcels.errors import RegistryError
from parcels.registry.shipped_layers import SHIPPED

TABLE = Path(__file__).resolve().parents[3] / "shared/reference/openaddresses_us_parcel_layers.csv"
URL = "https://gis.example.gov/arcgis/rest/services/Parcels/MapServer"


@pytest.fixture(scope="module")
def table() -> Path:
    if not TABLE.exists():
        pytest.skip("the table of layers is missing (../shared/reference)")
    return TABLE


def layer(source: str = "co/montrose.json", **given: Any) -> SourceLayer:
    keys: dict[str, Any] = {"kind": "county", "url": f"{URL}/0", **given}
    return SourceLayer(source, source[:2].upper(), **keys)


def entry_of(given: SourceLayer) -> tuple[str, dict[str, Any], list[DroppedLayer]]:
    entries, dropped = entries_of([given])
    [(key, entry)] = entries.items()
    return key, entry, dropped


def tree(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        file = folder / "sources" / "us" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def source_file(**parcels: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "coverage": {
            "US Census": {"geoid": "08085", "name": "Montrose County", "state": "Colorado"},
            "country": "us",
            "state": "co",
            "county": "Montrose",
        },
        "layers": {
            "addresses": [{"name": "county", "data": f"{URL}/9", "protocol": "ESRI"}],
            "parcels": [{"name": "county", "data": f"{URL}/0", "protocol": "ESRI", **parcels}],
        },
    }


def test_the_shipped_layers_equal_an_import_of_the_table(table: Path, tmp_path: Path) -> None:
    import_layers(table, tmp_path / "made.yaml")
    assert (tmp_path / "made.yaml").read_text() == SHIPPED.read_text()
    assert (tmp_path / "made.dropped.csv").read_text() == dropped_beside(SHIPPED).read_text()


def test_every_row_of_the_table_is_shipped_or_dropped(table: Path) -> None:
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with dropped_beside(SHIPPED).open(newline="") as file:
        dropped = list(csv.DictReader(file))
    shipped = {
        f"{c.url}/{c.layer}".lower() for c in load_registry(SHIPPED).values() if c.url is not None
    }
    dropped_sources = {drop["source"] for drop in dropped if drop["what"] == "layer"}
    for row in rows:
        url = f"{row['service_url']}/{int(row['layer_id'])}".lower()
        assert (url in shipped) or row["source"] in dropped_sources, row["source"]
    assert len(shipped) + len(dropped_sources) == len(rows)
    assert all(drop["reason"] for drop in dropped)


def test_known_mistakes_of_the_table_are_corrected(table: Path) -> None:
    entries, dropped = entries_of(read_source(table))
    assert entries["thurston-wa"]["fips"] == "53067"
    assert entries["wood-wv"]["fips"] == "54107"
    assert entries["deuel-sd"]["fips"] == "46039"
    assert entries["houston-al"]["fips"] == "01069"
    assert entries["trumbull-oh"]["fips"] == "39155"
    assert "statewide-oh" not in entries
    assert [key for key, entry in entries.items() if "headers" in entry] == [
        "champaign-il", "kane-il", "piatt-il",
    ]  # fmt: skip
    corrected = {drop.key for drop in dropped if drop.what == "fips" and len(drop.given) == 5}
    assert len(corrected) > 25
    useless = {drop.given for drop in dropped if drop.what == "fields.parcel_id"}
    assert {"OBJECTID", "FID", "Name", "ANGLE", "STR", "ll_uuid"} <= useless
    for entry in entries.values():
        fields = entry.get("fields", {})
        assert not {"OBJECTID", "FID", "NAME"} & {str(fields.get("parcel_id")).upper()}
        assert not any(str(column).upper().startswith("OWN") for column in fields.values())


def test_a_source_tree_is_imported(tmp_path: Path) -> None:
    conform = {
        "format": "geojson",
        "pid": "ASSESSOR_ID",
        "number": {"function": "prefixed_number", "field": "SITUS"},
        "street": {"function": "postfixed_street", "field": "SITUS"},
        "unit": {"function": "postfixed_unit", "field": "SITUS"},
        "city": "SITUS_CITY",
    }
    headers = {"headers": {"Referer": "https://maps.example.gov/"}}
    source = tree(tmp_path, {"co/montrose.json": source_file(conform=conform, request=headers)})
    done = import_layers(source, tmp_path / "out" / "layers.yaml")
    assert done.keys == ("montrose-co",)
    county = load_registry(done.file)["montrose-co"]
    assert (county.name, county.state, county.fips) == ("Montrose County", "CO", "08085")
    assert (county.url, county.layer) == (URL, 0)
    assert county.headers == headers["headers"]
    assert county.fields.columns == ("ASSESSOR_ID", "SITUS", "SITUS_CITY")
    assert county.fields.address == "SITUS"
    assert [drop.what for drop in done.dropped] == ["fields.unit"]


@pytest.mark.parametrize("inside", ["sources/us", "sources", "."])
def test_a_source_tree_may_be_given_by_any_of_its_folders(tmp_path: Path, inside: str) -> None:
    source = tree(tmp_path, {"co/montrose.json": source_file()})
    assert [given.source for given in read_source(source / inside)] == ["co/montrose.json"]


def test_schema_1_layers_are_used_if_they_are_parcels(tmp_path: Path) -> None:
    old = {"coverage": source_file()["coverage"], "type": "ESRI", "data": f"{URL}/0"}
    conform = {"type": "geojson", "number": "HOUSE_NO", "street": ["DIR", "NAME", "TYPE"]}
    points = "https://gis.example.gov/arcgis/rest/services/AddressPoints/MapServer/0"
    files = {
        "co/delta.json": {**old, "data": points},
        "co/mesa.json": {**old, "type": "http", "data": "https://example.gov/parcels.zip"},
        "co/montrose.json": {**old, "conform": conform},
    }
    entries, dropped = entries_of(read_source(tree(tmp_path, files)))
    assert list(entries) == ["montrose-co"]
    assert entries["montrose-co"]["fields"] == {
        "house_number": "HOUSE_NO",
        "street": ["DIR", "NAME", "TYPE"],
    }
    assert [(drop.source, drop.reason) for drop in dropped] == [
        ("co/delta.json", "holds addresses, not parcels"),
        ("co/mesa.json", "is not an ArcGIS layer; protocol: http"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (source_file(skip=True), "is marked as skipped"),
        (source_file(protocol="http"), "is not an ArcGIS layer; protocol: http"),
        (source_file(data=f"{URL}/0/query"), "is not a layer of a MapServer or FeatureServer"),
        (
            source_file(data="https://me:pw@h/MapServer/0"),
            "'url': contains a user name or a password",
        ),
        (source_file(request={"headers": {"Cookie": "a"}}), "'headers': 'Cookie' is a secret"),
        ("{not json", "cannot be read: "),
        ("[]", "cannot be read: not a JSON object"),
    ],
)
def test_an_unusable_layer_is_dropped_with_a_reason(
    tmp_path: Path, content: object, reason: str
) -> None:
    entries, dropped = entries_of(read_source(tree(tmp_path, {"co/montrose.json": content})))
    assert entries == {}
    [drop] = dropped
    assert (drop.source, drop.what) == ("co/montrose.json", "layer")
    assert drop.reason.startswith(reason)


@pytest.mark.parametrize(
    ("given", "key", "name"),
    [
        (layer(), "montrose-co", "Montrose County"),
        (layer("fl/st-lucie.json", county="St. Lucie"), "st-lucie-fl", "St. Lucie County"),
        (layer("al/dekalb.json"), "dekalb-al", "DeKalb County"),
        (layer("la/jefferson_parish.json"), "jefferson-la", "Jefferson Parish"),
        (layer("ak/city_of_bethel.json", kind="city"), "bethel-city-ak", "City of Bethel"),
        (layer("ca/culver_city.json", kind="city"), "culver-city-ca", "City of culver city"),
        (layer("va/city_of_richmond.json", kind="city"), "richmond-city-va", "Richmond"),
        (layer("va/norfolk.json", kind="city"), "norfolk-va", "Norfolk"),
        (layer("wa/asotin.json", kind="city", geoid="53003"), "asotin-wa", "Asotin County"),
        (layer("va/warrenton.json", kind="town"), "warrenton-town-va", "Town of Warrenton"),
        (layer("ut/statewide.json", kind="state", geoid="49"), "statewide-ut", "Utah"),
        (layer("sd/tripp_and_todd.json", county="Tripp and Todd"), "tripp-and-todd-sd",
         "Tripp and Todd"),
        (layer("wv/pocohontas.json", geoid="54075"), "pocahontas-wv", "Pocahontas County"),
    ],
)  # fmt: skip
def test_keys_and_names_of_entries(given: SourceLayer, key: str, name: str) -> None:
    made, entry, _ = entry_of(given)
    assert (made, entry["name"].lower()) == (key, name.lower())


def test_a_wrong_fips_code_is_corrected() -> None:
    _, entry, dropped = entry_of(layer("wv/wood.json", county="Wood", geoid="53107"))
    assert entry["fips"] == "54107"
    assert dropped == [
        DroppedLayer(
            "wv/wood.json", "wood-wv", "fips", "53107",
            "is the code of no county; used is 54107 of Wood County, WV",
        )
    ]  # fmt: skip


def test_a_url_of_two_sources_belongs_to_the_one_named_in_it() -> None:
    url = "https://gis.mesacounty.example/arcgis/rest/services/P/MapServer/0"
    entries, dropped = entries_of([layer(url=url), layer("co/mesa.json", url=url)])
    assert list(entries) == ["mesa-co"]
    assert dropped[0].reason == "has the URL of co/mesa.json, whose name is in it"
    entries, dropped = entries_of([layer(), layer("co/mesa.json")])
    assert entries == {}
    assert {drop.source for drop in dropped} == {"co/montrose.json", "co/mesa.json"}


def test_a_second_layer_of_a_county_is_dropped() -> None:
    entries, dropped = entries_of([layer(), layer(url=f"{URL}/7")])
    assert entries["montrose-co"]["layer"] == 0
    assert dropped[0].reason == "is a second layer of montrose-co; the first is used"


@pytest.mark.parametrize(
    ("number", "street", "fields"),
    [
        ("SITUS", "SITUS", {"address": "SITUS"}),
        ("NUM", "DIR NAME", {"house_number": "NUM", "street": ["DIR", "NAME"]}),
        ("NUM", "SITUS", {"address": "SITUS", "house_number": "NUM"}),
        ("MSADD", "MSSTREET", {}),
        ("OWN_NUM", "OWN_STREET", {}),
        ("pstladdress", "pstladdress", {}),
        ("NUM", "STREET_MAIL", {}),
        ("ADDR_1", "ADDR_1", {}),
        ("NUM SUFFIX", "STREET", {}),
        ("NUM", "STREET NUM", {}),
        ("NUM", "", {}),
        ("NUM", "oa:street_wip", {}),
        ("TOWN_NUM", "DOWNTOWN_ST", {"house_number": "TOWN_NUM", "street": ["DOWNTOWN_ST"]}),
    ],
)
def test_address_columns_are_mapped(number: str, street: str, fields: dict[str, Any]) -> None:
    given = layer(number=tuple(number.split()), street=tuple(street.split()))
    _, entry, dropped = entry_of(given)
    assert entry.get("fields", {}) == fields
    assert bool(dropped) is not bool(fields)


def test_a_shared_city_and_postcode_column_is_left_out() -> None:
    given = layer(number=("S",), street=("S",), city=("CSZ",), postcode=("CSZ",), unit=("U", "N"))
    _, entry, dropped = entry_of(given)
    assert entry["fields"] == {"address": "S"}
    assert {drop.what for drop in dropped} == {"fields.city", "fields.postcode", "fields.unit"}


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n1,2\n", "column 'source' is missing"), ("", "column 'source' is missing")],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(RegistryError, match=message):
        import_layers(tmp_path / "t.csv", tmp_path / "out.yaml")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(RegistryError, match="cannot be read as a UTF-8 CSV"):
        import_layers(tmp_path / "t.csv", tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such file or folder"):
        import_layers(tmp_path / "no", tmp_path / "out.yaml")
    with pytest.raises(RegistryError, match="has no OpenAddresses source files"):
        import_layers(tmp_path, tmp_path / "out.yaml")
    source = tree(tmp_path, {"co/montrose.json": source_file(skip=True)})
    with pytest.raises(RegistryError, match=r"no usable parcel layer .co/montrose.json: is marked"):
        import_layers(source, tmp_path / "out.yaml")


def test_a_file_not_written_by_import_is_not_overwritten(tmp_path: Path) -> None:
    source = tree(tmp_path, {"co/montrose.json": source_file()})
    mine = tmp_path / "registry.yaml"
    mine.write_text("# Mine.\ncounties:\n  here: {path: lots.gpkg}\n")
    with pytest.raises(RegistryError, match=r"registry.yaml: exists.*choose another file.*--out"):
        import_layers(source, mine)
    assert mine.read_text() == "# Mine.\ncounties:\n  here: {path: lots.gpkg}\n"
    assert not (tmp_path / "registry.dropped.csv").exists()
    for written in (tmp_path / "layers.yaml", tmp_path / "layers.yaml"):
        assert import_layers(source, written).keys == ("montrose-co",)


def test_a_write_error_is_reported(tmp_path: Path) -> None:
    source = tree(tmp_path, {"co/montrose.json": source_file()})
    (tmp_path / "taken").write_text("")
    with pytest.raises(RegistryError, match="cannot be written"):
        import_layers(source, tmp_path / "taken" / "out.yaml")

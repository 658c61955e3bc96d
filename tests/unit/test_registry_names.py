"""County names and keys, and registry entries merged over shipped layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from detection.registry.county import DetectionCounty
from parcels import load_registry
from parcels.errors import RegistryError
from parcels.registry.county_names import compact, slug
from parcels.registry.entry import validate_entry
from parcels.registry.shipped_layers import SHIPPED, shipped_layers
from parcels.registry.us_counties import box_of, county_named, us_counties
from parcels.registry.yaml_file import read_entries


def registry_with(folder: Path, entries: str = "") -> Path:
    file = folder / "registry.yaml"
    file.write_text(f"counties:\n{entries}")
    return file


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("shelby", "shelby"),
        ("Shelby", "shelby"),
        ("shelby-tn", "shelby"),
        ("Shelby County, Tennessee", "shelby"),
        ("47157", "shelby"),
        ("shelby-al", "shelby-al"),
        ("Shelby County, AL", "shelby-al"),
        ("montrose", "montrose-co"),
        (" Montrose County, CO ", "montrose-co"),
        ("MONTROSE CO", "montrose-co"),
        ("08085", "montrose-co"),
        ("Saint Clair County, AL", "st-clair-al"),
        ("St. Clair, Alabama", "st-clair-al"),
        ("De Kalb, AL", "dekalb-al"),
        ("City of Mobile", "mobile-city-al"),
        ("Ohio, West Virginia", "ohio-wv"),
        ("statewide-ut", "statewide-ut"),
        ("baltimore", "baltimore-md"),
        ("Baltimore city, MD", "baltimore-city-md"),
    ],
)
def test_names_codes_and_keys_find_a_county(written: str, key: str) -> None:
    registry = load_registry()
    assert registry.key_of(written) == key
    assert registry.county(written).key == key


def test_an_ambiguous_name_lists_the_counties() -> None:
    with pytest.raises(RegistryError) as caught:
        load_registry().county("Montgomery")
    message = str(caught.value)
    assert "6 counties are called 'Montgomery': montgomery-al, montgomery-ga, " in message
    assert message.endswith("; write one of these keys")


@pytest.mark.parametrize(
    "written",
    ["", " ", "../../x", "../shelby", "shelby;rm", "a;rm", "$(montrose)", "montrose/", "shelby..",
     "montrose\0", "\u0661\u0662\u0663\u0664\u0665", "x" * 100_000],
)  # fmt: skip
def test_paths_and_commands_are_not_county_names(written: str) -> None:
    with pytest.raises(RegistryError, match="no county") as caught:
        load_registry().county(written)
    assert len(str(caught.value)) < 800


def test_an_unknown_fips_code_is_reported() -> None:
    with pytest.raises(RegistryError, match=r"no layer with FIPS 99999\. The counties are"):
        load_registry().county("99999")


def test_a_misspelt_name_suggests_close_matches() -> None:
    with pytest.raises(RegistryError, match="did you mean 'montrose-co'"):
        load_registry().county("montrse")


def test_a_county_without_a_layer_suggests_the_statewide_one() -> None:
    with pytest.raises(RegistryError, match="'statewide-ut' has parcels of all of UT"):
        load_registry().county("Piute County, Utah")


def test_the_file_takes_precedence_over_shipped_layers(tmp_path: Path) -> None:
    file = registry_with(
        tmp_path,
        "  montrose: {path: lots.gpkg, state: CO, fips: '08085'}\n  rio_in: {path: x, state: TX}\n",
    )
    registry = load_registry(file)
    for written in ("montrose", "Montrose County", "08085", "Montrose, Colorado"):
        assert registry.county(written).key == "montrose"
    assert registry.county("montrose-co").url is not None
    # The end of a key is a state only if the entry has that state.
    assert registry.county("Rio In, TX").key == "rio_in"


def test_an_entry_without_parcels_is_merged_over_the_shipped_one(tmp_path: Path) -> None:
    file = registry_with(
        tmp_path,
        "  antrim-mi:\n    imagery: {path: a.tif}\n    fields: {city: null, address: SITE}\n"
        "    verified: 2026-05-31\n",
    )
    shipped = load_registry(registry_with(tmp_path / "..")).county("antrim-mi")
    laid = load_registry(file, DetectionCounty)["antrim-mi"]
    assert (laid.url, laid.layer, laid.fips) == (shipped.url, shipped.layer, "26009")
    assert laid.imagery.path == str(tmp_path / "a.tif")
    assert laid.verified is not None
    assert shipped.fields.city == "P_CITY"
    assert (laid.fields.city, laid.fields.address) == (None, "SITE")
    assert laid.fields.parcel_id == shipped.fields.parcel_id


def test_an_entry_with_parcels_replaces_the_shipped_one(tmp_path: Path) -> None:
    file = registry_with(tmp_path, "  antrim-mi: {path: lots.gpkg}\n")
    county = load_registry(file)["antrim-mi"]
    assert (county.url, county.fips, county.fields.parcel_id) == (None, None, None)


def test_a_mistake_in_a_merged_entry_names_the_file(tmp_path: Path) -> None:
    file = registry_with(tmp_path, "  antrim-mi: {imagry: {}}\n")
    with pytest.raises(RegistryError) as caught:
        load_registry(file)
    assert str(caught.value) == (
        f"{file}: county 'antrim-mi': 'imagry' is not a key; did you mean 'imagery'?"
    )


def test_every_shipped_entry_is_valid_and_parsed_alone_as_in_the_file() -> None:
    entries = read_entries(SHIPPED)
    one_by_one = {key: shipped_layers()[key] for key in shipped_layers()}
    assert one_by_one == entries
    counties = [validate_entry(key, entry, None, DetectionCounty) for key, entry in entries.items()]
    assert len(counties) > 1_000
    codes = [county.fips for county in counties if county.fips is not None]
    assert len(codes) == len(set(codes)) > 850
    for county in counties:
        assert county.state is not None
        assert county.key.endswith(f"-{county.state.lower()}")
        if county.fips is not None:
            place = us_counties()[county.fips]
            assert place.state == county.state
            assert compact(place.name) in compact(county.key[:-3])


def test_shipped_counties_of_a_state(tmp_path: Path) -> None:
    registry = load_registry(registry_with(tmp_path, "  mesa-co: {path: x}\n"))
    of_colorado = {county.key for county in registry.shipped("CO")}
    assert "montrose-co" in of_colorado
    assert "mesa-co" in shipped_layers()
    assert "mesa-co" not in of_colorado  # the file has it
    assert all(key.endswith("-co") for key in of_colorado)


def test_slugs_and_comparable_names() -> None:
    assert slug("Doña Ana") == "dona-ana"
    assert slug("Prince George's") == "prince-georges"
    assert compact("DeKalb County") == compact("De Kalb") == "dekalb"
    assert compact("saint_francois") == compact("St. Francois") == "stfrancois"
    assert compact("Matanuska-Susitna Borough") == "matanuskasusitna"


def test_the_table_of_us_counties() -> None:
    counties = us_counties()
    assert len(counties) > 3_100
    west, south, east, north = counties["47157"].box
    assert west < -90.05 < east
    assert south < 35.15 < north
    for place in counties.values():
        west, south, east, north = place.box
        assert -180 <= west < east <= 180, place
        assert -15 < south < north < 72, place


def test_independent_cities_belong_to_no_county() -> None:
    county, city = county_named("VA", "Richmond"), county_named("VA", "Richmond", city=True)
    assert county is not None
    assert city is not None
    assert (county.fips, city.fips) == ("51159", "51760")
    assert city.shares_its_name
    assert not us_counties()["51710"].shares_its_name  # Norfolk
    assert not us_counties()["72127"].independent_city  # San Juan, Puerto Rico
    assert county_named("TN", "Memphis", city=True) is None


def test_bounding_boxes_of_counties_and_states() -> None:
    assert box_of("CO", "08085") == us_counties()["08085"].box
    west, south, east, north = box_of("CO", None) or (0, 0, 0, 0)
    assert (round(west), round(south), round(east), round(north)) == (-109, 37, -102, 41)
    assert box_of("CO", "08999") == (west, south, east, north)
    assert box_of(None, None) is None

"""The table of address pairs: matching, prefilters, and the lot that the service returns.

The street point is always nearer to the wrong lots.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

import numpy as np
import pytest
from addresspairs import (
    STREET_POINT,
    AddressPair,
    RowsSource,
    address_pairs,
    by_wanted,
    matching_verdict,
    rows_around,
)

from parcels import County, Located, Lot, NotLocated, ParcelBoundaryService, Property
from parcels.addresses.matching import address_key, format_site
from parcels.addresses.street_address import parse_address
from parcels.arcgis.layer_info import parse_layer_info
from parcels.arcgis.where import address_condition
from parcels.boundary import LookupResult, NoLot
from parcels.files.row_index import RowIndex
from parcels.geocode import Geocoder
from parcels.registry.county import ParcelFields

PAIRS = address_pairs()
GROUPS = sorted({pair.group for pair in PAIRS})
FIELDS = ParcelFields(parcel_id="APN", address="LINE", house_number="NO", street=("ST",))
COUNTY = County(key="here", name="Here County", path="here.gpkg", census=False, fields=FIELDS)
ALONG_THE_STREET = Located(STREET_POINT.x, STREET_POINT.y, "census", 0.8, interpolated=True)


class StreetGeocoder(Geocoder):
    """Places every address at the street point."""

    def __init__(self) -> None:
        pass

    def locate_many(self, addresses):  # noqa: ANN001, ANN201
        return [ALONG_THE_STREET for _ in addresses]


def look_up(pairs: list[AddressPair], wanted: str) -> dict[str, LookupResult]:
    """The results at a given street point, at a geocoded one, and by the address alone."""
    source = RowsSource(rows_around(pairs))
    given = Property("a", STREET_POINT.x, STREET_POINT.y, address=wanted)
    only_address = Property("a", address=wanted)
    return {
        "given": ParcelBoundaryService(COUNTY, source).look_up(given),
        "geocoded": ParcelBoundaryService(COUNTY, source, StreetGeocoder()).look_up(only_address),
        "address": ParcelBoundaryService(COUNTY, source).look_up(only_address),
    }


def with_verdict(pairs: list[AddressPair], *verdicts: str) -> list[AddressPair]:
    return [pair for pair in pairs if pair.verdict in verdicts]


def test_the_table_covers_many_states_and_patterns() -> None:
    verdicts = Counter(pair.verdict for pair in PAIRS)
    assert sum(verdicts.values()) >= 300
    assert min(verdicts[each] for each in ("same", "different", "ambiguous")) >= 50
    assert len({pair.state for pair in PAIRS}) >= 25
    assert len({(pair.wanted, pair.site) for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("group", GROUPS)
def test_matching_agrees_with_the_verdicts(group: str) -> None:
    wrong = [
        (pair.wanted, format_site(pair.site), pair.verdict, found)
        for pair in PAIRS
        if pair.group == group and (found := matching_verdict(pair)) != pair.verdict
    ]
    assert wrong == []


@pytest.mark.parametrize("wanted", sorted(by_wanted(PAIRS)))
def test_the_right_lot_is_found_behind_nearer_ones(wanted: str) -> None:
    pairs = by_wanted(PAIRS)[wanted]
    others = with_verdict(pairs, "different", "ambiguous")
    for right in with_verdict(pairs, "same"):
        for way, found in look_up([*others, right], wanted).items():
            assert isinstance(found, Lot), (way, format_site(right.site), found)
            assert found.boundary.parcel_ids == (str(len(others)),), (way, right.site)


@pytest.mark.parametrize("wanted", sorted(by_wanted(PAIRS)))
def test_the_wrong_lot_is_never_returned(wanted: str) -> None:
    wrong = with_verdict(by_wanted(PAIRS)[wanted], "different")
    for way, found in look_up(wrong, wanted).items():
        assert isinstance(found, NoLot | NotLocated), (way, found)
        assert way == "given" or isinstance(found, NotLocated)


@pytest.mark.parametrize("wanted", sorted(by_wanted(PAIRS)))
def test_candidates_that_differ_are_ambiguous(wanted: str) -> None:
    pairs = by_wanted(PAIRS)[wanted]
    maybe = with_verdict(pairs, "ambiguous")
    if len({address_key(pair.site) for pair in maybe}) < 2:
        pytest.skip("fewer than two candidates that differ")
    for way, found in look_up([*with_verdict(pairs, "different"), *maybe], wanted).items():
        assert isinstance(found, NotLocated), (way, found)
        assert found.reason == "address_ambiguous"
        for pair in maybe:
            assert format_site(pair.site) in found.detail


def candidates() -> list[AddressPair]:
    return [pair for pair in PAIRS if pair.verdict != "different"]


def test_snapshots_keep_every_candidate() -> None:
    lost = []
    for pair in candidates():
        values = {
            "APN": ["1"], "LINE": [pair.site.line], "NO": [pair.site.house_number],
            "ST": [pair.site.street],
        }  # fmt: skip
        rows = RowIndex(np.asarray([STREET_POINT.buffer(1)], dtype=object), FIELDS, values)
        if rows.with_address(parse_address(pair.wanted)) != [0]:
            lost.append((pair.wanted, format_site(pair.site)))
    assert lost == []


def test_the_conditions_for_servers_keep_every_candidate() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE parcel (LINE TEXT, NO TEXT, ST TEXT)")
    texts = [{"name": name, "type": "esriFieldTypeString"} for name in ("LINE", "NO", "ST")]
    layer = {"geometryType": "esriGeometryPolygon", "fields": texts}
    info = parse_layer_info("https://gis.example.gov/0", layer)
    lost = []
    for pair in candidates():
        database.execute("DELETE FROM parcel")
        site = pair.site
        database.execute(
            "INSERT INTO parcel VALUES (?, ?, ?)", (site.line, site.house_number, site.street)
        )
        one_column, columns = (
            ParcelFields(address="LINE"),
            ParcelFields(house_number="NO", street=("ST",)),
        )
        fields = one_column if site.line else columns
        sql = address_condition(fields, info, parse_address(pair.wanted))
        found = database.execute(f"SELECT count(*) FROM parcel WHERE {sql or 'FALSE'}").fetchone()
        if found != (1,):
            lost.append((pair.wanted, format_site(site), sql))
    assert lost == []

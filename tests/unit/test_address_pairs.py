"""The table of address pairs: matching, prefilters, and the lot that the service returns.

The street point is always nearer to the wrong lots.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

import numpy as np
import pytest
from addresspairs import (
    FIELDS,
    STREET_POINT,
    AddressPair,
    address_pairs,
    by_wanted,
    look_up,
    matching_verdict,
    with_verdict,
)

from parcels import Lot, NotLocated
from parcels.addresses.matching import address_key, format_site
from parcels.addresses.street_address import parse_address
from parcels.arcgis.layer_info import parse_layer_info
from parcels.arcgis.where import address_condition
from parcels.boundary import NoLot
from parcels.files.row_index import RowIndex
from parcels.registry.county import ParcelFields

PAIRS = address_pairs()
BY_WANTED = by_wanted(PAIRS)
GROUPS = sorted({pair.group for pair in PAIRS})


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


@pytest.mark.parametrize("wanted", sorted(BY_WANTED))
def test_the_right_lot_is_found_behind_nearer_ones(wanted: str) -> None:
    pairs = BY_WANTED[wanted]
    others = with_verdict(pairs, "different", "ambiguous")
    for right in with_verdict(pairs, "same"):
        for way, found in look_up([*others, right], wanted).items():
            assert isinstance(found, Lot), (way, format_site(right.site), found)
            assert found.boundary.parcel_ids == (str(len(others)),), (way, right.site)


@pytest.mark.parametrize("wanted", sorted(BY_WANTED))
def test_the_wrong_lot_is_never_returned(wanted: str) -> None:
    wrong = with_verdict(BY_WANTED[wanted], "different")
    for way, found in look_up(wrong, wanted).items():
        assert isinstance(found, NoLot | NotLocated), (way, found)
        assert way == "given" or isinstance(found, NotLocated)


MAYBE = {wanted: with_verdict(pairs, "ambiguous") for wanted, pairs in BY_WANTED.items()}
DIFFERING = {
    wanted: maybe
    for wanted, maybe in MAYBE.items()
    if len({address_key(pair.site) for pair in maybe}) > 1
}


@pytest.mark.parametrize("wanted", sorted(DIFFERING))
def test_candidates_that_differ_are_ambiguous(wanted: str) -> None:
    maybe = DIFFERING[wanted]
    others = with_verdict(BY_WANTED[wanted], "different")
    for way, found in look_up([*others, *maybe], wanted).items():
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

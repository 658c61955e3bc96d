"""Parcel ids that lost their leading zeros in a spreadsheet."""

from __future__ import annotations

import pytest
import shapely
from recordingsource import SOUTH, STEP, WEST, RecordingSource
from shapely import MultiPolygon

from parcels import County, ParcelBoundaryService, Property
from parcels.boundary import Boundary, NoBoundary
from parcels.errors import SourceUnavailable
from parcels.lost_zeros import MAX_DIGITS, padded_ids
from parcels.parcel_source import ParcelRow


def _rows(*ids: str) -> list[ParcelRow]:
    boxes = (shapely.box(WEST + i * STEP, SOUTH, WEST + (i + 0.8) * STEP, SOUTH + STEP)
             for i in range(len(ids)))  # fmt: skip
    return [
        ParcelRow(one, shapely.normalize(MultiPolygon([box])), number)
        for number, (one, box) in enumerate(zip(ids, boxes, strict=True), 1)
    ]


def _look_up(source: RecordingSource, parcel_id: str, **more: float) -> Boundary | NoBoundary:
    entry = {"key": "here", "path": "lots.gpkg", "fields": {"parcel_id": "apn"}}
    county = County.model_validate(entry)
    service = ParcelBoundaryService(county, source)
    return service.boundaries([Property("p", parcel_id=parcel_id, **more)])[0]


@pytest.mark.parametrize(
    ("given", "used"),
    [("1234567", "0001234567"), ("1234567.0", "0001234567"), ("77.0", "77"), ("9", "09")],
)
def test_exactly_one_lot_is_used_and_it_is_said(given: str, used: str) -> None:
    boundary = _look_up(RecordingSource(_rows("0001234567", "77", "09")), given)
    assert isinstance(boundary, Boundary)
    assert boundary.parcel_ids == (used,)
    assert boundary.note.startswith(f"parcel id {used!r} was used for {given!r}: ")
    assert boundary.method == "parcel_id"


def test_several_lots_are_listed_and_none_is_used() -> None:
    answer = _look_up(RecordingSource(_rows("0012", "00012")), "12")
    assert isinstance(answer, NoBoundary)
    assert answer.reason == "not_found"
    assert "several have it with leading zeros: 0012, 00012" in answer.detail


def test_several_lots_and_a_point_use_the_point() -> None:
    inside = {"longitude": WEST + 0.4 * STEP, "latitude": SOUTH + STEP / 2}
    boundary = _look_up(RecordingSource(_rows("0012", "00012")), "12", **inside)
    assert isinstance(boundary, Boundary)
    assert (boundary.method, boundary.parcel_ids) == ("point", ("0012",))


def test_an_existing_id_is_used_as_it_is() -> None:
    source = RecordingSource(_rows("12", "0012"))
    boundary = _look_up(source, "12")
    assert isinstance(boundary, Boundary)
    assert (boundary.parcel_ids, boundary.note) == (("12",), "")
    assert "0012" not in source.queries


def test_an_outage_is_not_an_absence() -> None:
    source = RecordingSource(_rows("0012"))
    source.broken = {"00012"}
    answer = _look_up(source, "12")
    assert isinstance(answer, NoBoundary)
    assert answer.reason == "unavailable"
    source.down = SourceUnavailable("down")
    assert isinstance(_look_up(source, "12"), NoBoundary)


def test_a_far_point_and_lost_zeros_are_both_noted() -> None:
    boundary = _look_up(RecordingSource(_rows("0012")), "12", longitude=WEST, latitude=SOUTH + 0.1)
    assert isinstance(boundary, Boundary)
    assert "leading zeros" in boundary.note
    assert "one of the two is wrong" in boundary.note


def test_only_plain_numbers_are_padded() -> None:
    assert padded_ids("12") == ["12".zfill(length) for length in range(3, MAX_DIGITS + 1)]
    assert padded_ids("12.00")[:2] == ["12", "012"]
    for other in ("0", "0.0", "012", "12A", "1-2", "12.5", "", "-1", "٣", "1" * MAX_DIGITS):
        assert padded_ids(other) == [], other

"""Generated addresses: every spelling of one matches, and a changed part never does.

Streets and cities are combined at random, also without a comma between them.
"""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from parcels.addresses.matching import match_rank
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import try_parse_address

DIRECTIONS = {"N": "NORTH", "S": "SOUTH", "E": "EAST", "W": "WEST", "NE": "NORTHEAST"}
SUFFIXES = {
    "ST": "STREET", "AVE": "AVENUE", "RD": "ROAD", "DR": "DRIVE", "CT": "COURT", "CIR": "CIRCLE",
    "TER": "TERRACE", "TRL": "TRAIL", "PKWY": "PARKWAY", "RUN": "RUN", "XING": "CROSSING",
}  # fmt: skip
NAMES = (
    "MAIN", "OAK RIDGE", "CEDAR CREEK", "LAKE SHORE", "ST CHARLES", "5TH", "42ND", "136TH", "B",
    "MARTIN LUTHER KING JR", "FOREST HILLS", "FORT HAMILTON", "O'BRIEN", "NORTH", "LA CIENEGA",
    "COURT", "COUNTY LINE", "FOUR MILE", "SAN PABLO", "PLAZA", "INDIANA", "SAINT JOHNS",
)  # fmt: skip
ROADS = (
    ("HWY {}", "HIGHWAY {}", "ROUTE {}"), ("US HWY {}", "US-{}", "U.S. {}"),
    ("STATE HWY {}", "SR {}", "STATE ROUTE {}", "ST RD {}"), ("CR {}", "COUNTY RD {}", "CO RD {}"),
    ("FM {}", "FARM TO MARKET {}"), ("I-{}", "IH {}", "INTERSTATE {}"), ("LOOP {}",),
)  # fmt: skip
CITIES = (
    "", ", SPRINGFIELD", ", HOUSTON, TX 77084", " HOUSTON TX 77084", " ST LOUIS MO 63101",
    " NORTH LITTLE ROCK AR 72114", " WEST PALM BEACH FL 33401", " FORT WORTH TX 76133",
    " SALT LAKE CITY UT 84111", " PORT ST LUCIE FL 34952", " LA MESA CA 91942",
    " FEDERAL WAY WA 98003", " O FALLON MO 63366", " GREEN BAY WI 54301",
)  # fmt: skip

before = st.sampled_from(["", "", *DIRECTIONS])
long = st.booleans()


def spelled(before: str, name: str, suffix: str, after: str, is_long: bool) -> str:
    if is_long:
        before, after = DIRECTIONS.get(before, ""), DIRECTIONS.get(after, "")
        suffix = SUFFIXES.get(suffix, suffix)
    return " ".join(filter(None, (before, name, suffix, after)))


def rank(wanted: str, number: int, street: str, in_columns: bool) -> tuple[int, ...] | None:
    address = try_parse_address(wanted)
    assert address is not None
    if in_columns:
        return match_rank(SiteAddress(house_number=str(number), street=street), address)
    return match_rank(SiteAddress(line=f"{number} {street}"), address)


@given(
    st.integers(1, 30_000), before, st.sampled_from(NAMES), st.sampled_from(sorted(SUFFIXES)),
    before, st.sampled_from(CITIES), long, long, st.booleans(),
)  # fmt: skip
def test_every_spelling_of_a_street_matches(
    number: int, before: str, name: str, suffix: str, after: str, city: str,
    wanted_long: bool, site_long: bool, in_columns: bool,
) -> None:  # fmt: skip
    assume(not (before and after) and not (before and name == "NORTH"))
    wanted = f"{number} {spelled(before, name, suffix, after, wanted_long)}{city}"
    assert rank(wanted, number, spelled(before, name, suffix, after, site_long), in_columns)


@given(
    st.integers(1, 30_000), before, st.sampled_from(NAMES), st.sampled_from(sorted(SUFFIXES)),
    st.sampled_from(CITIES), long, long, st.booleans(), st.data(),
)  # fmt: skip
def test_another_direction_suffix_name_or_number_does_not_match(
    number: int, before: str, name: str, suffix: str, city: str,
    wanted_long: bool, site_long: bool, in_columns: bool, data: st.DataObject,
) -> None:  # fmt: skip
    assume(not (before and name == "NORTH"))
    wanted = f"{number} {spelled(before, name, suffix, '', wanted_long)}{city}"
    others = [
        spelled(before, name, other, "", site_long) for other in SUFFIXES if other != suffix
    ] + [spelled(before, other, suffix, "", site_long) for other in NAMES if other != name]
    if before and name not in DIRECTIONS.values():
        others += [
            spelled(other, name, suffix, "", site_long) for other in DIRECTIONS if other != before
        ]
    other = data.draw(st.sampled_from(others))
    assert rank(wanted, number, other, in_columns) is None
    same = spelled(before, name, suffix, "", site_long)
    assert rank(wanted, number + 2, same, in_columns) is None


@given(
    st.integers(1, 30_000), before, st.sampled_from(ROADS), st.integers(1, 2_999), before,
    st.sampled_from(CITIES), long, long, st.booleans(), st.data(),
)  # fmt: skip
def test_every_spelling_of_a_numbered_road_matches(
    number: int, before: str, road: tuple[str, ...], road_number: int, after: str, city: str,
    wanted_long: bool, site_long: bool, in_columns: bool, data: st.DataObject,
) -> None:  # fmt: skip
    assume(not (before and after))
    one, two = data.draw(st.sampled_from(road)), data.draw(st.sampled_from(road))
    wanted = f"{number} {spelled(before, one.format(road_number), '', after, wanted_long)}{city}"
    site = spelled(before, two.format(road_number), "", after, site_long)
    moved = spelled(after, two.format(road_number), "", before, site_long)
    assert rank(wanted, number, site, in_columns)
    assert rank(wanted, number, moved, in_columns)
    other = spelled(before, two.format(road_number + 1), "", after, site_long)
    assert rank(wanted, number, other, in_columns) is None
    if before or after:
        opposite = {"N": "S", "S": "N", "E": "W", "W": "E", "NE": "N"}
        turned = spelled(
            opposite.get(before, ""),
            two.format(road_number),
            "",
            opposite.get(after, ""),
            site_long,
        )
        assert rank(wanted, number, turned, in_columns) is None

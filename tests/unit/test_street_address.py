"""Addresses: spellings that match, spellings that do not, and text that is not an address."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parcels.addresses.house_number import parse_house_number
from parcels.addresses.matching import is_other_city, match_rank, matches, may_match
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, parse_address, try_parse_address
from parcels.addresses.street_name import filter_letters, parse_street
from parcels.addresses.street_words import suffixes
from parcels.errors import PropertyError

# As people write it, and as assessors do.
SAME = [
    ("123 Main Street", "123 MAIN ST"),
    ("123 Main St.", "123  Main   Street"),
    ("123 north main street", "123 N MAIN ST"),
    ("123 N. Main St", "N MAIN ST 123"),
    ("123 Main St", "MAIN ST 123"),
    ("123 Main St N", "MAIN ST N 123"),
    ("123 N Main St", "123 MAIN ST N"),
    ("123 Main St", "123 N MAIN ST"),
    ("123 Main", "123 MAIN ST"),
    ("12 O'Brien Avenue", "OBRIEN AVE 12"),
    ("12 O\u2019Brien Ave", "12 O'BRIEN AVE"),
    ("77 Saint Mary's Road #5", "77 ST MARYS RD"),
    ("77 St. Marys Rd", "ST MARY'S RD 77"),
    ("12 Saint James Place", "12 ST JAMES PL"),
    ("12 North St. Clair Court, Memphis", "N ST CLAIR CT 12"),
    ("12 East Saint Michaels", "12 E ST MICHAELS"),
    ("9 Mount Moriah Rd", "9 MT MORIAH RD"),
    ("9 Fort Hill Road", "9 FT HILL RD"),
    ("123 First Street", "123 1ST ST"),
    ("5 East Forty Second St", "5 E 42ND ST"),
    ("5 E 42 St", "5 E 42ND ST"),
    ("10 Twenty-First Ave", "10 21ST AVE"),
    ("10 Twelfth Avenue", "12TH AVE 10"),
    ("10 North West 5th Street", "10 NW 5TH ST"),
    ("10 N.W. Fifth St", "10 5TH ST NW"),
    ("1234 State Highway 76", "1234 STATE HWY 76"),
    ("1234 SR 76", "1234 STATE ROUTE 76"),
    ("1234 TN-76", "HWY 76 1234"),
    ("1234 Highway 76 East", "1234 HWY 76 E"),
    ("1234 US Highway 51 N", "US HWY 51 N 1234"),
    ("1234 U.S. 51", "1234 US ROUTE 51"),
    ("345 County Road 12", "COUNTY RD 12 345"),
    ("345 CR 12", "345 CO RD 12"),
    ("900 FM 1960 W", "FM 1960 W 900"),
    ("123A Oak Ln", "123-A OAK LANE"),
    ("123 a oak", "OAK LN 123A"),
    ("123 Oak Ln Apt A", "123A OAK LN"),
    ("123 1/2 Oak Ln", "123\u00bd OAK LN"),
    ("123 Oak Ln", "00123 OAK LN"),
    ("123 Oak Ln", "123.0 OAK LN"),
    ("103 Elm St", "101-105 ELM ST"),
    ("103 Elm St", "ELM ST 101-105"),
    ("103 Elm St", "101 & 105 ELM ST"),
    ("1203 Elm St", "1201-05 ELM ST"),
    ("101-105 Elm St", "101 ELM ST"),
    ("12-34 Union Turnpike", "12-34 UNION TPKE"),
    ("456 Avenue C", "456 AVE C"),
    ("456 Avenue E", "AVE E 456"),
    ("8 Center Hill Drive", "8 CTR HILL DR"),
    ("8 DeSoto Ave", "8 DE SOTO AVE"),
    ("35 W McLemore Ave", "35 W MC LEMORE AVE"),
    ("1 Martin Luther King Jr Blvd", "1 M L KING BLVD"),
    ("1 Dr Martin Luther King Jr Blvd", "1 MLK BLVD"),
    ("123 E 400 S", "123 EAST 400 SOUTH"),
    ("2 N St NW", "2 N STREET NORTHWEST"),
    ("14 Cedar Creek", "14 CEDAR CREEK DR"),
    ("20 West End Avenue", "20 W END AVE"),
    ("20 Winston-Salem Pkwy", "20 WINSTON SALEM PARKWAY"),
    ("7 Ca\u00f1on Rd", "7 CANON RD"),
    ("N6W23001 Bluemound Road", "N6W23001 BLUEMOUND RD"),
    ("123 Main St, Memphis, TN 38103", "123 MAIN ST"),
    ("123 Main St Memphis TN 38103-1234", "MAIN ST 123 MEMPHIS TN 38103"),
]
NOT_SAME = [
    ("123 Main St", "124 MAIN ST"),
    ("123 Main St", "1123 MAIN ST"),
    ("123 Main St", "MAIN ST 12"),
    ("123 Main St", "123 MAIN AVE"),
    ("123 Main St", "123 MAINE ST"),
    ("123 N Main St", "123 S MAIN ST"),
    ("123 N Main St", "MAIN ST S 123"),
    ("123 NW 5th St", "123 NE 5TH ST"),
    ("123 1st St", "123 2ND ST"),
    ("123 21st St", "123 20TH ST"),
    ("1234 Highway 76", "1234 HWY 67"),
    ("1234 State Highway 76", "1234 US HWY 76"),
    ("1234 County Road 76", "1234 STATE HWY 76"),
    ("456 Avenue C", "456 C AVE"),
    ("456 Avenue E", "456 E AVE"),
    ("123A Oak Ln", "123B OAK LN"),
    ("123A Oak Ln", "123 OAK LN"),
    ("123 1/2 Oak Ln", "123 OAK LN"),
    ("104 Elm St", "101-105 ELM ST"),
    ("107 Elm St", "101-105 ELM ST"),
    ("12-34 Union Tpke", "12-36 UNION TPKE"),
    ("120-05 Union Tpke", "120 UNION TPKE"),
    ("123 E 400 S", "123 S 400 E"),
    ("12 St James Pl", "12 JAMES PL"),
    ("12 N St Clair", "12 N ST"),
    ("123 Oak Ridge Dr", "123 OAK DR"),
    ("123 Martin Luther King Blvd", "123 KING BLVD"),
    ("5 Park Place", "5 PARK AVE"),
    ("123 Main St", "12 MAIN ST UNIT 3"),
    ("12 Main St #3", "1 MAIN ST #23"),
    ("101 Keaunui Dr", "91-1001 KEAUNUI DR"),
    ("N6W23001 Bluemound Rd", "N6W23002 BLUEMOUND RD"),
]
UNREADABLE = [
    ("PO Box 12, Memphis, TN", "is a PO box"),
    ("P.O. Box 12", "is a PO box"),
    ("Main St & 2nd Ave", "is an intersection"),
    ("Main St and 2nd Ave, Memphis", "is an intersection"),
    ("Main Street", "has no house number"),
    ("Highway 76", "has no house number"),
    ("0 Main St", "has no house number"),
    ("Memphis, TN 38103", "has no house number"),
    ("", "has no house number"),
    ("123", "has no"),
    ("\x00\ufffd", "has no house number"),
]


def at(line: str) -> SiteAddress:
    return SiteAddress(line=line)


def test_the_tables_have_the_documented_length() -> None:
    assert (len(SAME), len(NOT_SAME)) == (62, 32)
    assert len(set(SAME) | set(NOT_SAME)) == 94


@pytest.mark.parametrize(("wanted", "site"), SAME)
def test_spellings_of_the_same_house_match(wanted: str, site: str) -> None:
    assert matches(at(site), parse_address(wanted))
    assert matches(at(wanted), parse_address(site))


@pytest.mark.parametrize(("wanted", "site"), NOT_SAME)
def test_different_houses_do_not_match(wanted: str, site: str) -> None:
    assert not matches(at(site), parse_address(wanted))
    assert not matches(at(wanted), parse_address(site))


@pytest.mark.parametrize(("text", "problem"), UNREADABLE)
def test_invalid_addresses_report_the_problem(text: str, problem: str) -> None:
    with pytest.raises(PropertyError, match=problem):
        parse_address(text)
    assert try_parse_address(text) is None


def test_an_address_is_parsed_into_all_parts() -> None:
    assert parse_address("123 north Main street, Apt. 4b, St. Louis, Missouri 63101-1234, USA") == (
        StreetAddress("123", "N MAIN ST", "MAIN", "4B", "SAINT LOUIS", "MO", "63101")
    )
    assert parse_address("123 Main St Fl 2 Apt 5, Memphis, Shelby County, TN 38103") == (
        StreetAddress("123", "MAIN ST", "MAIN", "2", "MEMPHIS", "TN", "38103")
    )
    assert parse_address("12 Main St Bldg 5 Apt 7").unit == "7"
    assert parse_address("12 Main St Bldg 5").unit == "5"
    assert parse_address("MAIN ST N 123, Memphis TN 38103").line == (
        "123 MAIN ST N, MEMPHIS, TN 38103"
    )


_word = st.text(string.ascii_uppercase, min_size=3, max_size=9).filter(
    lambda word: word not in suffixes() and filter_letters(word) is not None
)
_street = st.builds(
    lambda before, name, suffix: " ".join(filter(None, (before, *name, suffix))),
    st.sampled_from(["", "N", "South", "NW"]),
    st.lists(_word, min_size=1, max_size=2),
    st.sampled_from(["St", "Avenue", "Blvd", "Lane", "CV"]),
)


@given(_street)
def test_parsing_a_street_is_idempotent(street: str) -> None:
    once = parse_street(street)
    assert once is not None
    assert parse_street(once.text) == once
    assert parse_street(f" {street.lower()}. ") == once


@given(_street, st.integers(1, 99_999))
def test_parsing_an_address_is_idempotent(street: str, number: int) -> None:
    once = try_parse_address(f"{number} {street}")
    if once is not None and once.city is None:
        again = try_parse_address(once.line)
        # "1 5TH AAAAA ST" is read as no address at all, which finds nothing and no wrong lot.
        assume(again is not None)
        assert again is not None
        assert (again.house_number, again.street) == (once.house_number, once.street)
        assert match_rank(at(f"{number:07d} {street.upper()}"), once) is not None


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_raises_property_error(text: str) -> None:
    address = try_parse_address(text)
    assert address is None or (address.house_number and address.street)


@given(st.integers(1, 9_998), st.integers(0, 20), st.integers(-3, 60))
def test_a_range_contains_the_numbers_of_its_parity(low: int, pairs: int, step: int) -> None:
    high, tested = low + 2 * pairs, low + step
    number, of_range = parse_house_number(str(tested)), parse_house_number(f"{low}-{high}")
    if number is not None and of_range is not None and low < high:
        assert of_range.matches(number) == (low <= tested <= high and tested % 2 == low % 2)
        assert of_range.matches(number) == number.matches(of_range)
        assert (tested in of_range.numbers()) == of_range.matches(number)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0123", "123"), ("123.0", "123"), ("123 - B", None), ("123 b", "123B"), (" 7 ", "7"),
        ("#7", "7"), ("0", None), ("", None), ("0-0", None), ("x", None), ("12 1/2", "12 1/2"),
        ("101 TO 105", "101-105"), ("101\u2013105", "101-105"), ("39w123", "39W123"),
        ("105-101", "105-101"), ("101-104", "101-104"), (None, None),
    ],
)  # fmt: skip
def test_house_numbers_are_normalized(text: str | None, written: str | None) -> None:
    number = parse_house_number(text)
    assert (number.text if number else None) == written


def test_the_full_address_has_priority_over_separate_columns() -> None:
    wanted = parse_address("123 N Main St")
    assert matches(SiteAddress(house_number="123.0", street="N MAIN"), wanted)
    assert matches(SiteAddress(house_number="123", street="MAIN ST", line="MAIN ST"), wanted)
    assert not matches(SiteAddress(line="123 MAIN DR", house_number="123", street="MAIN"), wanted)
    assert not matches(SiteAddress(house_number="123"), wanted)
    assert not matches(SiteAddress(street="MAIN ST"), wanted)
    assert not matches(SiteAddress(), wanted)
    assert not matches(None, wanted)
    assert matches(SiteAddress(line="123 MAIN ST", unit="B"), parse_address("123B Main St"))


def test_the_number_alone_may_match_without_a_street() -> None:
    wanted = parse_address("103 Main St")
    assert may_match(SiteAddress(house_number="101-105"), wanted)
    assert may_match(SiteAddress(house_number="103"), wanted)
    assert not may_match(SiteAddress(house_number="103", street="OAK ST"), wanted)
    assert not may_match(SiteAddress(house_number="104"), wanted)
    assert not may_match(None, wanted)


def test_better_matches_rank_higher() -> None:
    wanted = parse_address("103 N Main St Apt 4")
    lines = ["103 N MAIN ST APT 4", "103 N MAIN ST", "101-105 N MAIN ST", "103 MAIN ST"]
    ratings = [match_rank(at(line), wanted) or () for line in lines]
    assert ratings == sorted(ratings, reverse=True)
    assert len(set(ratings)) == 4


def test_zip_code_and_city_distinguish_streets_of_one_name() -> None:
    wanted = parse_address("123 Main St, St. Louis, MO 63101")
    assert not is_other_city(SiteAddress(city="SAINT LOUIS"), wanted)
    assert is_other_city(SiteAddress(city="CLAYTON"), wanted)
    assert not is_other_city(SiteAddress(city="CLAYTON", postcode="63101-0001"), wanted)
    assert is_other_city(SiteAddress(city="SAINT LOUIS", postcode="63105"), wanted)
    assert not is_other_city(SiteAddress(), wanted)
    assert not is_other_city(SiteAddress(postcode="0"), wanted)
    for line, is_elsewhere in (
        ("123 MAIN ST, CLAYTON, MO 63105", True),
        ("123 MAIN ST ST LOUIS MO 63101", False),
        ("MAIN ST 123, CLAYTON, MO", True),
        ("123 MAIN ST CLAYTON", False),  # it may be a street called so
    ):
        assert is_other_city(at(line), wanted) == is_elsewhere
    assert not is_other_city(SiteAddress(line="123 MAIN ST 63105", postcode="63101"), wanted)
    boston = parse_address("123 Main St, Boston, MA 02108")
    assert [
        is_other_city(SiteAddress(postcode=text), boston)
        for text in ("2108", "02108-1234", "021081234", "21081234", "2109")
    ] == [False, False, False, False, True]
    assert not is_other_city(SiteAddress(city="CLAYTON"), parse_address("123 Main St"))


@pytest.mark.parametrize(
    ("name", "letters"),
    [("OBRIEN", "IEN"), ("SAINT MARYS", "ARY"), ("MAIN", "AIN"), ("1ST", None), ("CENTER", None),
     ("MLK", None), ("STATE HWY 76", None), ("AVENUE C", None)],
)  # fmt: skip
def test_filter_letters_occur_in_every_spelling(name: str, letters: str | None) -> None:
    assert filter_letters(name) == letters


@pytest.mark.parametrize(
    ("wanted", "site"),
    [
        ("10 Ridge Rd Cutoff", "10 RIDGE RD CUTOFF"),
        ("10 Ridge Rd Cut Off", "10 RIDGE RD CUTOFF"),
        ("10 Ridge Rd Connector Memphis TN 38103", "10 RIDGE RD CONNECTOR"),
        ("10 Ridge Rd Cut Off LA 70345", "10 RIDGE RD"),
        ("10 IH 35 Frontage", "10 IH 35 FRONTAGE RD"),
        ("10 Hwy 290 Service Rd Austin TX 78704", "10 HWY 290 SERVICE RD"),
        ("10 Twp Rd 12", "10 TR 12"),
        ("200 The Esplanade", "200 ESPLANADE"),
        ("100 Avenue of the Americas", "100 AVE OF AMERICAS"),
    ],
)
def test_words_that_make_another_street_belong_to_it(wanted: str, site: str) -> None:
    assert match_rank(SiteAddress(line=site), parse_address(wanted)) is not None


@pytest.mark.parametrize(
    ("wanted", "site"),
    [
        ("10 Ridge Rd Cutoff", "10 RIDGE RD"),
        ("10 Ridge Rd Cut Off", "10 RIDGE RD"),
        ("10 Ridge Rd N Cutoff", "10 RIDGE RD N"),
        ("10 Ridge Rd Connector", "10 RIDGE RD"),
        ("10 Ridge Rd Old", "10 RIDGE RD"),
        ("10 Hwy 290 Service", "10 HWY 290"),
        ("10 IH 35 Frontage", "10 IH 35"),
        ("10 Twp Rd 12", "10 COUNTY RD 12"),
    ],
)
def test_they_are_no_city(wanted: str, site: str) -> None:
    assert match_rank(SiteAddress(line=site), parse_address(wanted)) is None

"""Read CSVs of properties; invalid rows are reported with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import PropertiesFileError
from pipeline.properties_csv import read_properties


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "leads.csv"


def test_ids_keep_their_inner_spaces_and_quotes_protect_commas(csv: Path) -> None:
    csv.write_text(
        "property_id,parcel_id,longitude,latitude,address\n"
        '"a, b",042035  00007,-89.97,35.1,"1 Oak, 2"\n'
    )
    (prop,) = read_properties(csv).properties
    assert prop.property_id == "a, b"
    assert prop.parcel_id == "042035  00007"
    assert (prop.longitude, prop.latitude) == (-89.97, 35.1)
    assert prop.address == "1 Oak, 2"


def test_a_byte_order_mark_blank_lines_and_other_columns_are_ignored(csv: Path) -> None:
    csv.write_bytes("\ufeffproperty_id,parcel_id,note\r\np1,7,x\r\n\r\n,,\r\n".encode())
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["p1"]
    assert not file.bad_rows


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",-90,35", "property_id is empty"),
        ("p,,", "give longitude and latitude, a parcel_id, or an address"),
        ("p,-90,", "give both longitude and latitude"),
        ("p,ninety,35", "longitude is 'ninety'"),
        ("p,nan,35", "is not on Earth"),
        ("p,inf,35", "is not on Earth"),
        ("p,35,-120", "swapped"),
        ("p,-90,35,1,2", "5 values for 3 columns"),
        ("p\0q,-90,35", "NUL byte"),
        ("p" * 501 + ",-90,35", "property_id has 501 characters; the maximum is 500"),
    ],
)
def test_an_invalid_row_is_skipped_and_reported_with_its_line(
    csv: Path, row: str, problem: str
) -> None:
    csv.write_text(f"property_id,longitude,latitude\nfirst,-90,35\n{row}\nlast,-90,35\n")
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["first", "last"]
    (bad,) = file.bad_rows
    assert bad.line == 3
    assert problem in bad.problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has nothing"),
        (b"property_id,latitude\np,35\n", "property_id and longitude, latitude"),
        (b"property_id,parcel_id\n\xff\xfe,1\n", "not UTF-8 on line 2"),
        (b"property_id,address,address \np,1 A St,2 B St\n", "the column address occurs twice"),
    ],
)
def test_an_unreadable_file_is_an_error(csv: Path, content: bytes, message: str) -> None:
    csv.write_bytes(content)
    with pytest.raises(PropertiesFileError, match=message) as error:
        read_properties(csv)
    assert str(csv) in str(error.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(PropertiesFileError, match="no such file"):
        read_properties(tmp_path / "none.csv")
    with pytest.raises(PropertiesFileError, match="directory"):
        read_properties(tmp_path)


def test_an_unclosed_quote_is_reported_with_its_line_and_the_lines_lost(csv: Path) -> None:
    lost = "".join(f"p{i},-90,35,{i} Oak\n" for i in range(10))
    csv.write_text(
        f'property_id,longitude,latitude,address\nfirst,-90,35,"1\nOak"\nbad,-90,35,"2 Oak\n{lost}'
    )
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["first"]
    (bad,) = file.bad_rows
    assert bad.line == 4
    assert "a quote is opened on line 4 and not closed, so the 11 lines" in bad.problem


def test_an_unclosed_quote_in_a_long_file_is_one_invalid_row(csv: Path) -> None:
    lost = "".join(f"p{i},{i}\n" for i in range(30_000))
    csv.write_text(f'property_id,parcel_id\nfirst,1\nbad,"2\n{lost}')
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["first"]
    (bad,) = file.bad_rows
    assert bad.line == 3
    assert "so the 30,001 lines" in bad.problem


def test_an_unclosed_quote_in_the_header_is_an_error(csv: Path) -> None:
    csv.write_text('property_id,"parcel_id\np,1\n')
    with pytest.raises(PropertiesFileError, match="opened on line 1 and not closed"):
        read_properties(csv)


def test_a_multiline_value_is_valid_and_an_invalid_row_is_reported_at_its_first_line(
    csv: Path,
) -> None:
    csv.write_text('property_id,parcel_id,address\np,1,"1 Oak\nCourt"\nq,2,"3\nElm",x\nr,3,')
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["p", "r"]
    (bad,) = file.bad_rows
    assert bad.line == 4
    assert "4 values for 3 columns" in bad.problem


def test_an_address_alone_is_enough(csv: Path) -> None:
    csv.write_text('property_id,address\na,"123 Main St, Memphis TN 38103"\nb,\n')
    file = read_properties(csv)
    (prop,) = file.properties
    assert (prop.address, prop.point, prop.parcel_id) == (
        "123 Main St, Memphis TN 38103",
        None,
        None,
    )
    (bad,) = file.bad_rows
    assert "give longitude and latitude, a parcel_id, or an address" in bad.problem


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_other_separators_are_read(csv: Path, sign: str) -> None:
    csv.write_text(f"{sign.join(('property_id', 'longitude', 'latitude'))}\n{sign.join('123')}\n")
    (prop,) = read_properties(csv).properties
    assert (prop.property_id, prop.longitude, prop.latitude) == ("1", 2.0, 3.0)


def test_excel_leaves_out_separators_of_empty_cells_at_the_end(csv: Path) -> None:
    csv.write_text("property_id,parcel_id,longitude,latitude\na,7\nb,,-90\nc,8,,,,,\nd,9")
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["a", "c"]
    problems = {row.line: row.problem for row in file.bad_rows}
    assert "3 values for 4 columns" in problems[3]
    assert "2 values for 4 columns, and the last line has no line ending" in problems[5]


def test_a_value_under_no_name_is_refused(csv: Path) -> None:
    csv.write_text("property_id,longitude,latitude,\na,-90,05,35\nb,-90,35,\n")
    file = read_properties(csv)
    assert [prop.property_id for prop in file.properties] == ["b"]
    assert "4 values for 3 columns" in file.bad_rows[0].problem


def test_latitudes_that_are_longitudes_are_refused(csv: Path) -> None:
    csv.write_text("property_id,longitude,latitude\na,35.1,-89.9\n")
    (bad,) = read_properties(csv).bad_rows
    assert "longitude and latitude look swapped" in bad.problem


@pytest.mark.parametrize(
    ("parcel_id", "problem"),
    [
        ("1.23E+11", "Excel has cut the digits"),
        ("1,23E+11", "Excel has cut the digits"),
        ("12-Mar", "Excel has made a date of it"),
        ("Mar-12", "Excel has made a date of it"),
        ("12. Mrz", "Excel has made a date of it"),
        ("12-déc", "Excel has made a date of it"),
        ("3/12/2024", "Excel has made a date of it"),
        ("1,234,567", "thousands separators"),
        ("#N/A", "Excel's error #N/A"),
        ("########", "narrow column"),
        ("12\ufffd4", "a character was lost"),
    ],
)
def test_an_id_that_excel_changed_is_refused(csv: Path, parcel_id: str, problem: str) -> None:
    csv.write_text(f'property_id,parcel_id\np,"{parcel_id}"\n', encoding="utf-8")
    (bad,) = read_properties(csv).bad_rows
    assert problem in bad.problem
    assert "parcel_id" in bad.problem


def test_all_problems_of_a_row_are_reported_at_once(csv: Path) -> None:
    csv.write_text("property_id,longitude,latitude,parcel_id,address\n12-Mar,west,5x,1E+12,#REF!\n")
    (bad,) = read_properties(csv).bad_rows
    for part in ("12-Mar", "longitude is 'west'", "latitude is '5x'", "1E+12", "#REF!"):
        assert part in bad.problem
    assert bad.problem.count("west") == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("'0012345", "0012345"),
        ('"=""0012345"""', "0012345"),
        ("042035\u00a0\u00a000007", "042035  00007"),
        ("12\u201334", "12-34"),
        ("\u200b123\ufeff", "123"),
        ("3-12", "3-12"),
        ("MAR-12", "MAR-12"),
        ("12345.0", "12345.0"),
    ],
)
def test_a_parcel_id_is_read_as_the_county_writes_it(csv: Path, written: str, read: str) -> None:
    csv.write_text(f"property_id,parcel_id\np,{written}\n", encoding="utf-8")
    (prop,) = read_properties(csv).properties
    assert prop.parcel_id == read

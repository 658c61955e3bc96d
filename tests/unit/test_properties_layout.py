"""Properties files as Excel and others save them: encodings, separators, headers, other files."""

from __future__ import annotations

import codecs
import io
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import PropertiesFileError
from pipeline.properties_csv import PropertiesFile, read_properties

TEXT = 'ID,Lng,Lat,Address\np1,-89.97,35.15,"1 Peña St"\n'
SEMICOLONS = TEXT.replace(",", ";").replace(".", ",")


def _read(folder: Path, content: bytes | str, encoding: str = "utf-8") -> PropertiesFile:
    path = folder / "leads.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return read_properties(path)


def _error(folder: Path, content: bytes | str) -> str:
    with pytest.raises(PropertiesFileError) as error:
        _read(folder, content)
    message = str(error.value)
    assert "leads.csv" in message
    assert message.count(". ") <= 2, "three sentences"
    return message


@pytest.mark.parametrize(
    ("encoding", "mark", "name"),
    [
        ("utf-8", b"", "UTF-8"),
        ("utf-8", codecs.BOM_UTF8, "UTF-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "UTF-16"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16"),
        ("utf-16-le", b"", "UTF-16"),
        ("utf-16-be", b"", "UTF-16"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "UTF-32"),
        ("utf-32-be", b"", "UTF-32"),
        ("cp1252", b"", "Windows-1252"),
        ("mac_roman", b"", "Mac OS Roman"),
        ("cp437", b"", "MS-DOS (437)"),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_line_endings(
    tmp_path: Path, encoding: str, mark: bytes, name: str, ending: str
) -> None:
    # "José" tells Mac OS Roman and MS-DOS apart.
    text = (TEXT + 'p2,-90,35,"2 José Ave"\n').replace("\n", ending)
    file = _read(tmp_path, mark + text.encode(encoding))
    assert not file.bad_rows
    assert [prop.address for prop in file.properties] == ["1 Peña St", "2 José Ave"]
    assert f"Read leads.csv: {name}, commas" in file.understood


@pytest.mark.parametrize(
    "word", ["O\u2019Brien St", "Smith\u2013Jones Rd", "12½ Oak \u201cA\u201d", "Café Ln", "PEÑA"]
)
def test_windows_1252_punctuation(tmp_path: Path, word: str) -> None:
    file = _read(tmp_path, f"ID,Address\n1,{word}\n", "cp1252")
    assert file.properties[0].address == word
    assert "Windows-1252" in file.understood


def test_half_utf8_is_an_error_with_the_lines(tmp_path: Path) -> None:
    rows = b"id,address\n" + "1,Peña\n".encode() + "2,Peña\n3,Peña\n".encode("cp1252")
    message = _error(tmp_path, rows)
    assert "not UTF-8 on lines 3, 4, but UTF-8 elsewhere" in message
    assert "in Excel: Save as CSV UTF-8" in message


def test_a_file_cut_off_inside_a_character_is_an_error(tmp_path: Path) -> None:
    message = _error(tmp_path, "id,address\n1,Peñ".encode()[:-1])
    assert "cut off: line 2 ends inside a character" in message
    assert "line 2" in _error(tmp_path, "id,address\n1,Pe".encode("utf-16")[:-1])


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    file = _read(tmp_path, SEMICOLONS, "cp1252")
    assert (file.properties[0].longitude, file.properties[0].latitude) == (-89.97, 35.15)
    assert file.understood == (
        "Read leads.csv: Windows-1252, semicolons, decimal commas; ID → property_id, "
        "Lng → longitude, Lat → latitude, Address → address"
    )


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;;", "\ufeffsep=;"])
def test_excels_separator_line(tmp_path: Path, line: str) -> None:
    file = _read(tmp_path, f"{line}\r\n{SEMICOLONS}p2;x;1;\r\n")
    assert file.properties[0].longitude == -89.97
    assert [row.line for row in file.bad_rows] == [4]
    assert "header on" not in file.understood


def test_decimal_commas_in_quotes_between_commas(tmp_path: Path) -> None:
    file = _read(tmp_path, 'id,lon,lat\na,"-89,97","35,15"\nb,-89,97,35,15\n')
    assert [prop.longitude for prop in file.properties] == [-89.97]
    assert "5 values for 3 columns" in file.bad_rows[0].problem


def test_a_csv_that_excel_did_not_split(tmp_path: Path) -> None:
    file = _read(tmp_path, '"id,address"\n"a,""1 Oak, Memphis"""\n"b,2 Elm"\n')
    assert [prop.address for prop in file.properties] == ["1 Oak, Memphis", "2 Elm"]


def test_titles_above_the_header(tmp_path: Path) -> None:
    file = _read(tmp_path, "Leads of May;;\n;;\nx;y2;z\nID;Lon;Lat\n1;-90;35\n")
    assert [prop.property_id for prop in file.properties] == ["1"]
    assert "header on line 4" in file.understood
    (bad,) = file.bad_rows
    assert (bad.line, bad.problem) == (3, "above the header; move it below")


@pytest.mark.parametrize(
    "names",
    [
        "property_id,longitude,latitude",
        "ID,Lon,Lat",
        "#,lng,LAT",
        "Ref,Long.,Lat.",
        "Property ID,Longitude (deg),Latitude (deg)",
        "PropertyID,LON_WGS84,LAT_WGS84",
        "PROPERTY-ID, Longitude ,Latitude\u00a0",
        "Lead ID,X,Y",
        "Customer #,Site Longitude,Site Latitude",
        "Reference,Decimal Longitude,Decimal Latitude",
        '"ID","x_coord","y_coord"',
        "\u00ef\u00bb\u00bfID,Longitud,Latitud",
    ],
)
def test_usual_spellings_of_id_and_point(tmp_path: Path, names: str) -> None:
    file = _read(tmp_path, f"{names}\n1,-90,35\n")
    (prop,) = file.properties
    assert (prop.property_id, prop.longitude, prop.latitude) == ("1", -90.0, 35.0)


@pytest.mark.parametrize(
    "name",
    ["Parcel #", "Parcel Number", "parcel no.", "APN", "PIN", "PID", "Parcel ID", "ParcelID",
     "Folio", "Tax Parcel ID", "Assessor's Parcel Number"],
)  # fmt: skip
def test_usual_spellings_of_the_parcel_id(tmp_path: Path, name: str) -> None:
    file = _read(tmp_path, f"Id,{name}\n1,007\n")
    assert file.properties[0].parcel_id == "007"
    assert f"{name} → parcel_id" in file.understood


@pytest.mark.parametrize(
    ("names", "row"),
    [
        ("Full Address", '"1 Oak St, Memphis, TN 38103"'),
        ("Site Address,City,State,Zip", "1 Oak St,Memphis,TN,38103"),
        ("Address 1,Address 2,City,State,Zip Code", "1 Oak St,,Memphis,TN,38103"),
        ("Street,Town,ST,Postal Code", "1 Oak St,Memphis,TN,38103"),
        ("Property Address,Property City,Property State,Property Zip,Mailing Address,Mailing City",
         "1 Oak St,Memphis,TN,38103,PO Box 1,Nashville"),
        ("House Number,Street Name,Street Type,City,State,ZIP", "1,Oak,St,Memphis,TN,38103"),
        ("Address,City,State,Zip", '"1 Oak St, Memphis, TN 38103",Memphis,TN,38103'),
        ("Address,City,Zip", '"1 Oak St, Memphis, TN 38103",Memphis,38103'),
    ],
)  # fmt: skip
def test_addresses_in_several_columns(tmp_path: Path, names: str, row: str) -> None:
    file = _read(tmp_path, f"id,{names}\n1,{row}\n")
    assert not file.bad_rows
    assert file.properties[0].address == "1 Oak St, Memphis, TN 38103"


def test_the_parts_of_an_address_are_reported_as_one(tmp_path: Path) -> None:
    file = _read(tmp_path, "ID,Street,City,State,Zip\n1,2 Elm,Boston,MA,2139\n")
    assert file.properties[0].address == "2 Elm, Boston, MA 02139"
    assert file.understood == (
        "Read leads.csv: UTF-8, commas, leading zeros of ZIP codes restored; ID → property_id, "
        "Street + City + State + Zip → address"
    )


def test_an_exports_state_is_no_part_of_an_address(tmp_path: Path) -> None:
    names = "property_id,state,reason,detail,longitude,latitude,parcel_id,address"
    file = _read(tmp_path, f"{names}\n1,failed,not_found,x,,,,1 Oak\n")
    assert file.properties[0].address == "1 Oak"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("LatLng", '"35.15, -90.05"'),
        ("Lat/Long", "35.15 -90.05"),
        ("Lon Lat", '"-90.05, 35.15"'),
        ("Coordinates", '"(35.15, -90.05)"'),
        ("Coordinates", '"-90.05,35.15"'),
        ("Location", '"35.15,-90.05"'),
        ("GPS", "35.15 N 90.05 W"),
        ("GPS", "N 35.15 W 90.05"),
        ("Coordinates", "POINT (-90.05 35.15)"),
        ("Coordinates", '"35,15; -90,05"'),
        ("Coordinates", '"35,15, -90,05"'),
    ],
)
def test_both_coordinates_in_one_column(tmp_path: Path, name: str, cell: str) -> None:
    file = _read(tmp_path, f"id,{name}\n1,{cell}\n")
    assert not file.bad_rows
    (prop,) = file.properties
    assert (prop.longitude, prop.latitude) == (-90.05, 35.15)


def test_a_location_may_be_an_address(tmp_path: Path) -> None:
    file = _read(tmp_path, "id,Location\n1,12 Oak St\n2,35.1 -90\n3,35.1\n")
    first, second = file.properties
    assert (first.address, first.longitude) == ("12 Oak St", None)
    assert (second.address, second.longitude) == (None, -90.0)
    assert "not two numbers" in file.bad_rows[0].problem


def test_a_pair_in_an_unclear_order_is_refused(tmp_path: Path) -> None:
    file = _read(tmp_path, 'id,Coordinates\n1,"-86.5, 33.2"\n')
    assert "unclear which is the longitude; name the column LngLat" in file.bad_rows[0].problem


def test_all_problems_of_a_header_are_in_one_error(tmp_path: Path) -> None:
    message = _error(tmp_path, "Name,Lon,Lng,APN,Parcel Number\nx,1,2,3,4\n")
    for part in (
        "no column for property_id (such as ID",
        "the columns Lon and Lng mean the same: longitude",
        "the columns APN and Parcel Number mean the same: parcel_id",
        "it has Name, Lon, Lng, APN, Parcel Number",
        "in Excel: Save as CSV UTF-8",
    ):
        assert part in message


def test_two_columns_of_one_meaning_are_an_error(tmp_path: Path) -> None:
    message = _error(tmp_path, "property_id,longitude,Lng,latitude\n1,2,3,4\n")
    assert "line 1: the columns longitude and Lng mean the same: longitude" in message


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (_zip("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (.xlsx)"),
        (_zip("mimetype", "content.xml"), "an OpenDocument spreadsheet"),
        (_zip("Index/Document.iwa"), "a Numbers document"),
        (_zip("leads.csv"), "an archive (zip)"),
        (b"PK\x03\x04 broken", "a damaged workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook (.xls"),
        (b"\xef\xbb\xbf\n<html xmlns:x='urn'><table><tr><td>ID", "a web page (HTML)"),
        ("<!DOCTYPE html>\n<p>ID".encode("utf-16"), "a web page (HTML)"),
        (
            b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>',
            "an Excel workbook (XML",
        ),
        (b'{"type": "FeatureCollection"}', "a JSON document"),
        (b"ID;PWXL;N;E\nP;PGeneral\n", "an Excel workbook (SYLK)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x1f\x8b\x08", "a compressed file"),
        (bytes(range(256)) * 4, "binary data (.csv)"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    message = _error(tmp_path, content)
    assert f"this is {kind}" in message
    assert "in Excel: Save as CSV UTF-8" in message


def test_a_numbers_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "leads.numbers").mkdir()
    with pytest.raises(PropertiesFileError, match="a Numbers document"):
        read_properties(tmp_path / "leads.numbers")


@pytest.mark.parametrize("end", ["\x1a", "\r\n;;\r\n\x1a\r\n"])
def test_the_end_mark_of_ms_dos_is_no_row(tmp_path: Path, end: str) -> None:
    file = _read(tmp_path, f"ID;APN\r\n1;22\r\n{end}")
    assert len(file.properties) == 1
    assert not file.bad_rows


def test_a_value_that_is_too_long_is_one_invalid_row(tmp_path: Path) -> None:
    file = _read(tmp_path, f"id,address\n1,1 Oak\n2,{'x' * 200_000}\n3,3 Oak\n")
    assert [prop.property_id for prop in file.properties] == ["1", "3"]
    assert [bad.line for bad in file.bad_rows] == [3]


def test_a_parcel_id_may_be_copied_as_the_id(tmp_path: Path) -> None:
    assert "a copy of APN will do" in _error(tmp_path, "APN,Lat\n1,2\n")


def test_a_plain_file_is_understood_too(tmp_path: Path) -> None:
    file = _read(tmp_path, "property_id,longitude,latitude,note\n1,-90,35,x\n")
    assert file.understood == ("Read leads.csv: UTF-8, commas; property_id, longitude, latitude")


@pytest.mark.parametrize(
    ("header", "row", "address"),
    [
        ("House No,Pre Dir,Street Name,Suffix,Post Dir,City", "12,N,Elm,Ave,E,Avon",
         "12 N Elm Ave E, Avon"),
        ("House No,Dir,Street,Post Type", "12,N,Elm,Ave", "12 N Elm Ave"),
        ("House No,Fraction,Street", "12,1/2,Elm Ave", "12 1/2 Elm Ave"),
        ("Prefix,First Name,Suffix,House No,Street", "Mr,Al,Jr,12,Elm Ave", "12 Elm Ave"),
        ("Street,Suffix", "12 Elm Ave,Jr", "12 Elm Ave"),
    ],
)  # fmt: skip
def test_parts_of_a_street_in_columns(tmp_path: Path, header: str, row: str, address: str) -> None:
    file = _read(tmp_path, f"ID,{header}\n1,{row}\n")
    assert [prop.address for prop in file.properties] == [address]


@pytest.mark.parametrize("number", ["12-Oct", "1,234", "1.2E+03"])
def test_house_numbers_that_excel_changed_are_refused(tmp_path: Path, number: str) -> None:
    file = _read(tmp_path, f'ID,House No,Street\n1,"{number}",Elm Ave\n')
    assert not file.properties
    assert "House No" in file.bad_rows[0].problem
    assert "as Text" in file.bad_rows[0].problem

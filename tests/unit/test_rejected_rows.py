"""`rejected.csv`: complete, readable by Excel, and accepted once it is corrected."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PropertiesFileError
from pipeline.properties_csv import BadRow, layout_of, read_properties
from pipeline.properties_csv.rejected import set_aside_stale, write_rejected


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    return tmp_path / "leads.csv"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _write(leads: Path, out: Path) -> Path:
    """The rejected rows of a file, duplicates included."""
    return write_rejected(layout_of(leads), read_properties(leads).bad_rows, out)


def _rows(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_all_rows_with_line_problem_and_original_columns(leads: Path, out: Path) -> None:
    bad = "".join(f"b{i};x{i};35;Bob\n" for i in range(300))
    leads.write_bytes(f"ID;Lng;Lat;Näme\na;-90;35;Al\n{bad}a;-91;35;Eve\n".encode("cp1252"))
    path = _write(leads, out)
    assert path == out / "rejected.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbfline;problem;ID;Lng;Lat;N\xc3\xa4me\r\n")
    _, *rows = _rows(path, ";")
    assert len(rows) == 301
    assert [row[0] for row in rows] == [str(line) for line in range(3, 304)]
    assert rows[0][2:] == ["b0", "x0", "35", "Bob"]
    assert "longitude (Lng) is 'x0'" in rows[0][1]
    assert rows[-1][1:] == ["property_id a is already on line 2", "a", "-91", "35", "Eve"]


def test_corrected_rows_are_read_and_the_columns_line_and_problem_are_ignored(
    leads: Path, out: Path
) -> None:
    leads.write_text("id,lon,lat,note\na,-90,35,\nb,ninety,35,=1+1\nc,-90,35,x,y\n")
    path = _write(leads, out)
    again = read_properties(path)
    assert not again.properties
    assert len(again.bad_rows) == 2
    path.write_text(path.read_text("utf-8-sig").replace("ninety", "-90").replace("x,y", "x"))
    again = read_properties(path)
    assert not again.bad_rows
    assert [(prop.property_id, prop.longitude) for prop in again.properties] == [
        ("b", -90.0), ("c", -90.0),
    ]  # fmt: skip


def test_the_rejected_file_of_a_rejected_file_has_the_same_columns(leads: Path, out: Path) -> None:
    leads.write_text("id,lon,lat\nb,ninety,35\nc,-90,\n")
    path = _write(leads, out)
    content = path.read_bytes()
    again = _write(path, out)
    assert again == out / "rejected_2.csv", "the file that was given is not replaced"
    assert path.read_bytes() == content
    assert _rows(again)[0] == ["line", "problem", "id", "lon", "lat"]
    assert [row[0] for row in _rows(again)[1:]] == ["2", "3"]


def test_a_row_with_the_id_of_another_row_stays_refused(leads: Path, out: Path) -> None:
    leads.write_text("id,parcel_id\na,1\na,2\n")
    path = _write(leads, out)
    (bad,) = read_properties(path).bad_rows
    assert "property_id a is still that of another row" in bad.problem
    assert "still that of another row" in read_properties(_write(path, out)).bad_rows[0].problem
    text = path.read_text("utf-8-sig")
    path.write_text(text.replace(",a,2", ",b,2"))
    assert [prop.property_id for prop in read_properties(path).properties] == ["b"]
    path.write_text(text.replace("property_id a is already on line 2", ""))
    assert [prop.parcel_id for prop in read_properties(path).properties] == ["2"]


def test_lines_behind_an_open_quote_are_all_there(leads: Path, out: Path) -> None:
    leads.write_text('id,address\na,1 Oak\nb,"2 Oak\nc,3 Oak\n\nd,4 Oak\n')
    path = _write(leads, out)
    rows = _rows(path)[1:]
    assert [row[0] for row in rows] == ["3", "4", "6"]
    assert [row[2:] for row in rows] == [["b", '"2 Oak'], ["c", "3 Oak"], ["d", "4 Oak"]]
    assert "a quote is opened on line 3 and not closed" in rows[0][1]
    assert "behind the quote" in rows[1][1]


def test_an_open_quote_hides_no_line_of_a_long_file(leads: Path, out: Path) -> None:
    lost = "".join(f"p{i},{i} Oak\n" for i in range(20_000))
    leads.write_text(f'id,address\na,"1 Oak\n{lost}')
    rows = _rows(_write(leads, out))[1:]
    assert len(rows) == 20_001
    assert (rows[0][2:], rows[-1][2:]) == (["a", '"1 Oak'], ["p19999", "19999 Oak"])


def test_a_quote_that_a_later_row_closes_hides_no_row(leads: Path, out: Path) -> None:
    leads.write_text('id,address\na,"1 Oak\nb,"2 Oak, Memphis"\nc,"3 Oak"\n')
    file = read_properties(leads)
    assert [prop.property_id for prop in file.properties] == ["c"]
    assert "opened on line 2 and closed in the middle of a value on line 3" in (
        file.bad_rows[0].problem
    )
    rows = _rows(_write(leads, out))[1:]
    assert [row[2:] for row in rows] == [["a", '"1 Oak'], ["b", "2 Oak, Memphis"]]


def test_formulas_are_guarded_and_come_back(leads: Path, out: Path) -> None:
    leads.write_text("id,lon,lat,=cmd\n=A1,x,35,@x\n-1-2,-90,bad,+1 901\n'=B,-90,,\n")
    path = _write(leads, out)
    cells = [cell for row in _rows(path) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell]
    fixed = path.read_text("utf-8-sig").replace(",x,", ",-90,").replace("bad", "35")
    path.write_text(fixed.replace("-90,,", "-90,35,"))
    assert [p.property_id for p in read_properties(path).properties] == ["=A1", "-1-2", "=B"]


def test_titles_nul_bytes_and_unsplit_rows(leads: Path, out: Path) -> None:
    leads.write_bytes(b'Leads\nid,parcel_id,note\n1,a\0b,x\n"2,1.2E+10,""y, z"""\n')
    rows = _rows(_write(leads, out))
    assert rows[1][2:] == ["1", "a\ufffdb", "x"]
    assert rows[2][2:] == ["2", "1.2E+10", "y, z"]


def test_an_earlier_rejected_file_is_kept_once(leads: Path, out: Path) -> None:
    leads.write_text("id,lon,lat\nb,ninety,35\n")
    path = _write(leads, out)
    assert _write(leads, out) == path
    assert [each.name for each in out.iterdir()] == ["rejected.csv"], "unchanged"
    path.write_text("line,problem,id,lon,lat\n2,corrected by a person,b,-90,35\n")
    _write(leads, out)
    assert "corrected by a person" in (out / "rejected.previous.csv").read_text()
    leads.write_text("id,lon,lat\nb,-90,35\n")
    set_aside_stale(layout_of(leads), out)
    assert [each.name for each in out.iterdir()] == ["rejected.previous.csv"]


def test_a_file_of_that_name_that_is_not_ours_is_left_alone(leads: Path, out: Path) -> None:
    out.mkdir()
    (out / "rejected.csv").write_text("mine\n")
    leads.write_text("id,lon,lat\nb,-90,35\n")
    set_aside_stale(layout_of(leads), out)
    assert (out / "rejected.csv").read_text() == "mine\n"


def test_duplicates_come_from_the_caller(leads: Path, out: Path) -> None:
    leads.write_text("id,parcel_id\na,1\na,2\nb,#N/A\na,3\n")
    duplicates = (BadRow(line, "property_id a is already on line 2") for line in (3, 5))
    rows = _rows(write_rejected(layout_of(leads), duplicates, out))
    assert [row[0] for row in rows] == ["line", "3", "4", "5"]


_PIECES = st.sampled_from(
    [*"aé,;\t|\"'=-\n\r\0\x1a\ufeff ", "\r\n", "-90", "35,1", "1E+999", "#N/A", "12-Mar", "sep=;"]
)
_HEADERS = (
    "",
    "ID,Lon,Lat,Address\n",
    "ID;APN;X;Y\r\n",
    "id\tlocation\r",
    "line,problem,ID,Zip,Street\n",
)


@given(
    st.sampled_from(_HEADERS),
    st.lists(_PIECES, max_size=40).map("".join),
    st.sampled_from(["utf-8", "utf-16", "cp1252", "utf-16-be"]),
)
def test_any_file_is_read_or_an_error_and_all_refused_rows_are_written(
    header: str, rows: str, encoding: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leads.csv"
        path.write_bytes((header + rows).encode(encoding, errors="replace"))
        try:
            file = read_properties(path)
        except PropertiesFileError:
            return
        layout = layout_of(path)
        written = write_rejected(layout, file.bad_rows, Path(folder) / "out")
        lines = [row[0] for row in _rows(written, ";" if layout.delimiter == ";" else ",")[1:]]
        assert {str(row.line) for row in file.bad_rows} <= set(lines)
        assert lines == sorted(lines, key=int)

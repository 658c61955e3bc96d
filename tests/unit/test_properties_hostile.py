"""A properties file with hostile rows loses those alone; what is no file is refused at once."""

from __future__ import annotations

import csv as csv_module
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PropertiesFileError
from pipeline.properties_csv import file_sha256, layout_of, read_properties
from pipeline.properties_csv.records import MAX_VALUE_CHARS
from pipeline.properties_csv.rejected import write_rejected

HEADER = "property_id,longitude,latitude,note\n"
LONG = "x" * 200_000
BAD_ROWS = {
    "long id": f"{LONG},-90,35,\n",
    "long coordinate": f"a,{'9' * 200_000},35,\n",
    "long own value": f"a,-90,35,{LONG}\n",
    "long quoted value": f'a,-90,35,"{LONG}"\n',
    "long value of many lines": 'a,-90,35,"' + "abc\n" * 60_000 + '"\n',
    "long line": "a" + "," * 5_000_000 + "\n",
    "very long line": f"{'y' * 9_000_000}\n",
    "very long open quote": f'a,-90,35,"{"y" * 9_000_000}\n',
    "NUL byte": "a\0b,-90,35,\n",
    "too few values": "a,-90\n",
    "too many values": "a,-90,35,1,2,3\n",
    "overflow": "a,1e400,35,\n",
    "no number": "a,nan,inf,\n",
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_drops_no_other_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(f"{HEADER}first,-90,35,1\n{BAD_ROWS[name]}second,-90,35,2\n"
                    f'third,-90,35,"3\n3"\n{BAD_ROWS[name]}last,-90,35,4\n')  # fmt: skip
    file = read_properties(path)
    found = [prop.property_id for prop in file.properties]
    assert found == ["first", "second", "third", "last"]
    assert [bad.line for bad in file.bad_rows][:1] == [3]
    assert len(file.bad_rows) == 2
    assert all(len(bad.problem) < 300 for bad in file.bad_rows)
    rejected = write_rejected(layout_of(path), [], tmp_path / "out")
    with rejected.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv_module.reader(text))
    assert rows[1][0] == "3"
    assert len(rows) == 3
    assert read_properties(rejected).properties == ()


def test_a_value_of_the_greatest_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(f"{HEADER}a,-90,35,{'x' * MAX_VALUE_CHARS}\n")
    assert len(read_properties(path).properties) == 1


def test_an_open_quote_beside_few_rows_is_no_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text('property_id,longitude,latitude\nfirst,-90,35\n"b,-90,35\nc,-90,35\n')
    file = read_properties(path)
    assert [prop.property_id for prop in file.properties] == ["first"]
    assert "a quote is opened on line 3" in file.bad_rows[0].problem


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def sparse(path: Path, text: str = HEADER) -> None:
    path.write_text(text)
    os.truncate(path, 10 * 2**30)


@pytest.mark.parametrize(("make", "reason"), [
    (os.mkfifo, "this is a pipe"),
    (a_socket, "this is a socket"),
    (lambda path: path.symlink_to("/dev/zero"), "this is a device"),
    (lambda path: path.symlink_to("/dev/urandom"), "this is a device"),
    (lambda path: path.symlink_to("/proc/self/environ"), "the first line must name"),
    (lambda path: path.symlink_to("/proc/kmsg"), "the first line must name"),
    (lambda path: path.symlink_to(path.name), "symbolic links"),
    (Path.mkdir, "directory"),
    (sparse, r"10\.7 GB, but a CSV has at most 4 GB"),
    (lambda path: path.write_bytes(b"\0" * 9999), "NUL bytes"),
    (lambda path: path.write_bytes(b""), "the first line must name"),
], ids=["pipe", "socket", "zero", "urandom", "environ", "kmsg", "loop", "folder", "sparse", "NUL",
        "empty"])  # fmt: skip
def test_what_is_no_csv_is_refused_without_reading_it(
    open_folder: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = open_folder / "leads.csv"
    make(path)
    with pytest.raises(PropertiesFileError, match=reason):
        read_properties(path)


def test_a_pipe_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PropertiesFileError, match="a pipe"):
        file_sha256(tmp_path / "pipe")


def test_a_path_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PropertiesFileError, match="no NUL byte"):
        read_properties(tmp_path / "a\0.csv")

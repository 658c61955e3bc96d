"""The customer's own columns of a properties file: found, kept as text, and named in an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.export.columns import PROPERTIES, UNFINISHED, errors_table, properties_table
from pipeline.export.own_columns import name_own_columns
from pipeline.properties_csv import PropertyRow, layout_of, read_rows
from pipeline.properties_csv.own_columns import EXPORTED_COLUMNS
from pipeline.store.reads.row_cursors import OwnColumn


def _own(tmp_path: Path, text: str) -> list[dict[str, str]]:
    path = tmp_path / "leads.csv"
    path.write_text(text, encoding="utf-8")
    rows = [row for row in read_rows(path) if isinstance(row, PropertyRow)]
    names = list(layout_of(path).own_columns.values())
    assert all(list(row.own) == names for row in rows)
    return [dict(row.own) for row in rows]


def test_own_columns_are_text_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "Zone,ID,Account,Lon,Lat,Note\n007,a,012345678901234567,-90,35, two  words \n,b,1,-90,35\n"
    )
    assert _own(tmp_path, text) == [
        {"Zone": "007", "Account": "012345678901234567", "Note": " two  words "},
        {"Zone": "", "Account": "1", "Note": ""},
    ]


def test_parts_of_an_address_are_own_columns_and_whole_columns_are_not(tmp_path: Path) -> None:
    [own] = _own(tmp_path, "id,Address,City,State,Zip,APN\n1,1 Elm St,Memphis,TN,02139,0042\n")
    assert own == {"Address": "1 Elm St", "City": "Memphis", "State": "TN", "Zip": "02139"}
    [own] = _own(tmp_path, "id,Full Address,City\n1,1 Elm St Memphis,Memphis\n")
    assert own == {"City": "Memphis"}


def test_repeated_and_missing_names_are_made_unique(tmp_path: Path) -> None:
    [own] = _own(tmp_path, "id,lon,lat,Note,,note,NOTE\n1,-90,35,a,b,c,d\n")
    assert own == {"Note": "a", "column 5": "b", "note_2": "c", "NOTE_3": "d"}


def test_what_a_spreadsheet_adds_is_removed(tmp_path: Path) -> None:
    [own] = _own(tmp_path, 'id,lon,lat,\'=Sum,Key\n1,-90,35,\'=1+1,"=""007"""\n')
    assert own == {"=Sum": "=1+1", "Key": "007"}


def test_columns_of_a_rejected_file_and_of_an_export_are_not_own(tmp_path: Path) -> None:
    [own] = _own(tmp_path, "line,problem,id,lon,lat,Zone\n2,wrong,a,-90,35,7\n")
    assert own == {"Zone": "7"}
    names = [column.name for column in UNFINISHED]
    [own] = _own(tmp_path, f"{','.join(names)},own_state,Zone\na,failed,x,y,-90,35,17,,TN,7\n")
    assert own == {"own_state": "TN", "Zone": "7"}
    cells = [column.name for column in properties_table({"lawn": "lawn"}).cells]
    row = ["-90" if name == "longitude" else "35" for name in cells]
    [own] = _own(tmp_path, f"{','.join(cells)},lawn_note\n{','.join(row)},brown\n")
    assert own == {"lawn_note": "brown"}
    # Beside other columns these are the customer's.
    [own] = _own(tmp_path, "id,lon,lat,reason,line\n1,-90,35,sale,A\n")
    assert own == {"reason": "sale", "line": "A"}


def test_the_reader_knows_the_columns_of_the_export() -> None:
    exported = {column.name for column in (*PROPERTIES, *UNFINISHED)}
    assert exported - {"geometry"} == EXPORTED_COLUMNS


@pytest.mark.parametrize(
    ("names", "exported"),
    [
        (["Zone", "Owner"], ["Zone", "Owner"]),
        (["State", "geometry", "LAWN_M2"], ["own_State", "own_geometry", "own_LAWN_M2"]),
        (["state", "own_state"], ["own_state_2", "own_state"]),
        (["bbox", "Bbox"], ["own_bbox", "own_Bbox_2"]),
    ],
)
def test_a_name_that_is_taken_gets_a_prefix(names: list[str], exported: list[str]) -> None:
    named = name_own_columns([OwnColumn(name, 5, 2) for name in names], {"lawn": "lawn"})
    assert dict(named.by_exported) == dict(zip(exported, names, strict=True))
    for table in (properties_table({"lawn": "lawn"}, named.columns), errors_table(named.columns)):
        lowered = [column.name.casefold() for column in table.columns]
        assert len(set(lowered)) == len(lowered)
    assert "Filled in for 3 properties, blank for 2" in named.columns[0].meaning
    renamed = [own for own, name in zip(names, exported, strict=True) if own != name]
    assert list(named.renamed) == renamed
    assert all(own in column.meaning for own, column in zip(renamed, named.columns, strict=False))

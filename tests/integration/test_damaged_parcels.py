"""Parcel files with garbage inside are named, or what is garbage in them is left out.

For each file of `damagedparcels`: the reader returns rows whose ids a database can store, or raises
a `ParcelsError` of one short line with the file's name. Nothing else is raised, and nothing waits.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from damagedparcels import DAMAGES, IDS, geo, write_parquet

from parcels import County
from parcels.errors import ParcelsError
from parcels.files import FileSource

MAX_MESSAGE = 700


def read(path: Path, **more: object) -> list[str | None]:
    county = County.model_validate({"key": "here", "path": str(path), **more})
    return [row.parcel_id for row in FileSource(county).all_rows()]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_or_read_without_the_damage(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = DAMAGES[name](tmp_path)
    try:
        ids = read(path)
    except ParcelsError as error:
        message = str(error)
        assert str(path) in message
        assert message.isprintable()
        assert len(message.replace(str(path), "")) < MAX_MESSAGE
    else:
        for parcel_id in filter(None, ids):
            assert "\0" not in parcel_id
            assert parcel_id.encode()
            assert len(parcel_id) <= 500


NONE = {
    "lists", "structs", "maps", "list views", "nulls", "huge floats", "late dates", "durations",
    "timestamps of a zone", "late timestamps",
}  # fmt: skip


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_type(tmp_path: Path, kind: str) -> None:
    """What is no text and no number is no id; the entry says which column has the ids."""
    path = write_parquet(tmp_path / "lots.parquet", geo(), ids=IDS[kind])
    fields = {"fields": {"parcel_id": "APN"}}
    if kind in NONE:
        with pytest.raises(ParcelsError, match=r"lots\.parquet: the column 'APN' has no parcel id"):
            read(path, **fields)
    else:
        assert any(read(path, **fields))

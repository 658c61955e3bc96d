"""Only what an entry names is read: no parcel file makes a reader open another one or a server.

Each file of `parcelattacks` refers to a canary: a server on loopback that notes every connection,
and a folder whose files note every opening (inotify). What holds for each, through the reader of
small files and that of large ones: the canary is not touched, nothing of it is in any row, message
or log line, and the file is read as what it is or refused with a `ParcelsError`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pyogrio
import pytest
from canary import SECRET, Canary, canary
from parcelattacks import ATTACKS, DESCRIBED, OWN, Attack, ogr_vrt, write, zip_of

from parcels import County
from parcels.cache import FolderCache
from parcels.cache.file_snapshot import snapshot_file
from parcels.errors import ParcelsError
from parcels.files import FileSource

# Attacks in which the canary's id is cut to the width of the column.
SECRETS = (SECRET, "CANAR")


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Canary]:
    with canary(tmp_path / "others") as bird:
        yield bird


def small(county: County, _: Path) -> list[str | None]:
    return [row.parcel_id for row in FileSource(county).all_rows()]


def large(county: County, cache: Path) -> list[str | None]:
    copy = snapshot_file(county, FolderCache(cache), min_rows=1)
    return [] if copy is None else [row.parcel_id for row in copy.all_rows()]


Reader = Callable[[County, Path], list[str | None]]
READERS: dict[str, Reader] = {"small": small, "large": large}


def assert_untouched(
    read: Reader,
    attack: Attack,
    folder: Path,
    bait: Canary,
    caplog: pytest.LogCaptureFixture,
    where: str | None = None,
) -> None:
    (folder / "named").mkdir(parents=True)
    path = attack(folder / "named", bait)
    bait.forget()
    crs = "EPSG:4326" if path.suffix == ".csv" else None
    with caplog.at_level(logging.DEBUG):
        try:
            seen = repr(read(County(key="here", path=path, where=where, crs=crs), folder / "cache"))
        except ParcelsError as error:
            seen = str(error)
    assert bait.touched == []
    seen += caplog.text
    assert not any(secret in seen for secret in SECRETS), seen


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_that_refers_to_others(
    tmp_path: Path, bait: Canary, caplog: pytest.LogCaptureFixture, name: str, reader: str
) -> None:
    assert_untouched(READERS[reader], ATTACKS[name], tmp_path, bait, caplog)


@pytest.mark.parametrize("kind", DESCRIBED)
def test_a_description_of_data_elsewhere_under_any_suffix(
    tmp_path: Path, bait: Canary, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    for number, attack in enumerate(DESCRIBED[kind].values()):
        assert_untouched(small, attack, tmp_path / str(number), bait, caplog)


FILTERED = [name for name in ATTACKS if "crs" in name or name.startswith(("CSV", "JSON", "Esri"))]


@pytest.mark.parametrize("name", FILTERED)
def test_a_filter_gives_nothing_more_to_gdal(
    tmp_path: Path, bait: Canary, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """GDAL evaluates `where`, also for formats that it does not read."""
    assert_untouched(small, ATTACKS[name], tmp_path, bait, caplog, where="APN = 'OWN-1'")


@pytest.mark.parametrize("is_remote", [False, True])
def test_the_canary_notices(tmp_path: Path, bait: Canary, is_remote: bool) -> None:
    """GDAL as it is opens what an attack names; so a test above can fail."""
    there = bait.file("lots.geojson")
    path = tmp_path / "lots.gml"
    path.write_text(ogr_vrt(f"/vsicurl/{bait.url}/lots.geojson" if is_remote else str(there)))
    bait.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDAL_HTTP_TIMEOUT", "2")
        with suppress(RuntimeError):  # the canary's server is a poor one
            pyogrio.read_info(path)
    assert bait.touched


ORDINARY = {
    ".shp": "ESRI Shapefile", ".gpkg": "GPKG", ".gml": "GML", ".fgb": "FlatGeobuf",
    ".json": "JSONFG", ".tab": "MapInfo File", ".mif": "MapInfo File",
    ".sqlite": "SQLite", ".kml": "LIBKML",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ORDINARY)
def test_an_ordinary_zip_is_read(tmp_path: Path, suffix: str) -> None:
    options = {"SPATIALITE": "YES"} if suffix == ".sqlite" else {}
    file = tmp_path / "in" / f"lots{suffix}"
    path = zip_of(write(file, driver=ORDINARY[suffix], **options))
    assert sorted(map(str, small(County(key="here", path=path), tmp_path))) == OWN


def test_an_ordinary_view_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "lots.gpkg", layer="lots")
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE VIEW seen (fid, APN, geom) AS SELECT fid, upper(APN), geom FROM lots "
            "WHERE fid IN (1, 2, 3) AND (ST_IsEmpty(geom) = 0) -- all of them"
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, identifier, data_type, srs_id) "
            "VALUES ('seen', 'seen', 'features', 4326)"
        )
        database.execute(
            "INSERT INTO gpkg_geometry_columns VALUES ('seen', 'geom', 'POLYGON', 4326, 0, 0)"
        )
        database.commit()
    assert small(County(key="here", path=path, layer="seen"), tmp_path) == OWN


def test_a_named_link_is_read_with_the_parts_beside_its_target(tmp_path: Path) -> None:
    """What the entry names may be a link, and so may its parts, to the same folder."""
    write(tmp_path / "in" / "lots.shp")
    (tmp_path / "links").mkdir()
    for part in (tmp_path / "in").iterdir():
        (tmp_path / "links" / part.name).symlink_to(part)
    path = tmp_path / "links" / "lots.shp"
    assert small(County(key="here", path=path), tmp_path) == OWN
    # The folder as a whole is not a link, and says nothing of another one.
    with pytest.raises(ParcelsError, match="link to a file outside of its folder; copy that file"):
        small(County(key="here", path=path.parent), tmp_path)

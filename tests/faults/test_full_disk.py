"""Fault 10: a disk that is full, of the database or of the batch's own folders.

The error says so, no row is partly written, and after space is freed the same command continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from batches import (
    LOTLINE,
    assert_equal_to_clean_run,
    count_finished,
    environment,
    free_segmenter_command,
    inconsistent_properties,
    spectral_command,
    start_process,
    wait_for,
)
from largecounty import KEY, LargeCounty, make_county
from smalldisk import small_disk

from pipeline.store.database import Database
from pipeline.store.embedded.postgres import EmbeddedPostgres

# Small file systems are mounted, and filled at chosen moments of a batch.
pytestmark = pytest.mark.serial

# A new cluster needs about half of it.
_DISK_MB = 200


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), 1_500)


@pytest.fixture
def disk(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small file system; the parameter is its size in megabytes."""
    with small_disk(open_folder / "disk", f"{request.param}m") as folder:
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("disk", [_DISK_MB], indirect=True)
def test_full_disk_of_the_database(disk: Path, county: LargeCounty, tmp_path: Path) -> None:
    server = EmbeddedPostgres(disk / "postgres")
    server.start()
    try:
        env = environment(server.url, tmp_path)
        filler = disk / "filler"
        with start_process(
            free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
        ) as batch:
            wait_for(lambda: count_finished(server.url, KEY) > 0, batch)
            _fill(filler)
            code, output, errors = batch.wait()
        assert code != 0, output
        assert "disk is full" in errors, errors
        assert "free space there" in errors
        filler.unlink()
        server.release()
        server.start()
        assert count_finished(server.url, KEY) < county.lots
        assert inconsistent_properties(server.url, KEY, 4) == []
        with start_process(
            free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
        ) as batch:
            code, output, errors = batch.wait()
            assert code == 0, errors
        assert_equal_to_clean_run(server.url, county, tmp_path)
    finally:
        server.stop()


@pytest.mark.parametrize("disk", [1], indirect=True)
def test_full_disk_of_the_out_folder(
    disk: Path,
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    """Results are stored even if the map image cannot be written."""
    _fill(disk / "filler")
    command = spectral_command(county, "--limit", "50", "--out", str(disk / "out"))
    with start_process(command, tmp_path, environment(database.url, tmp_path)) as batch:
        code, output, errors = batch.wait()
    assert "Traceback" not in errors
    assert code in {1, 3}, errors
    assert "No space left on device" in errors
    assert count_finished(database.url, KEY) == 50, output


@pytest.mark.parametrize("disk", [1], indirect=True)
def test_full_disk_of_lotline_home(disk: Path, tmp_path: Path) -> None:
    with start_process([LOTLINE, "batch"], tmp_path, environment(None, disk / "home")) as batch:
        code, output, errors = batch.wait()
    assert code == 2, output
    assert "Traceback" not in errors
    assert str(disk / "home") in errors
    assert "or set LOTLINE_HOME to another one" in errors


def _fill(filler: Path) -> None:
    """Write until the disk is full."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass

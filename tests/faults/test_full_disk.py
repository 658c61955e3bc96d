"""Fault 10: a disk that is full, of the database or of the batch's own folders.

It is said plainly, nothing is half written, and after space was made the same command goes on.
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

# A new cluster takes about half of it.
_DISK_MB = 200


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), 1_500)


@pytest.fixture
def disk(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own, of so many megabytes."""
    with small_disk(open_folder / "disk", f"{request.param}m") as folder:
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("disk", [_DISK_MB], indirect=True)
def test_the_databases_disk_is_full(disk: Path, county: LargeCounty, tmp_path: Path) -> None:
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
            code, said, complained = batch.wait()
        assert code != 0, said
        assert "disk is full" in complained, complained
        assert "free some space" in complained
        filler.unlink()
        server.release()
        server.start()
        assert count_finished(server.url, KEY) < county.lots
        assert inconsistent_properties(server.url, KEY, 4) == []
        with start_process(
            free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
        ) as batch:
            code, said, complained = batch.wait()
            assert code == 0, complained
        assert_equal_to_clean_run(server.url, county, tmp_path)
    finally:
        server.stop()


@pytest.mark.parametrize("disk", [1], indirect=True)
def test_the_disk_of_the_batchs_own_folder_is_full(
    disk: Path,
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    """What was measured is kept, even where its picture cannot be."""
    _fill(disk / "filler")
    command = spectral_command(county, "--limit", "50", "--out", str(disk / "out"))
    with start_process(command, tmp_path, environment(database.url, tmp_path)) as batch:
        code, said, complained = batch.wait()
    assert "Traceback" not in complained
    assert code in {0, 1}, complained
    assert "No space left on device" in complained
    assert count_finished(database.url, KEY) == 50, said


@pytest.mark.parametrize("disk", [1], indirect=True)
def test_the_disk_of_lotlines_home_is_full(disk: Path, tmp_path: Path) -> None:
    with start_process([LOTLINE, "batch"], tmp_path, environment(None, disk / "home")) as batch:
        code, said, complained = batch.wait()
    assert code == 2, said
    assert "Traceback" not in complained
    assert str(disk / "home") in complained
    assert "LOTLINE_HOME=" in complained


def _fill(filler: Path) -> None:
    """Write until nothing more fits."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            pass

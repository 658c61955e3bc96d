"""`lotline batch` with files that refer to other data: exit 2, the file's name, no contact."""

from __future__ import annotations

import shutil
from pathlib import Path

import imageryattacks
import parcelattacks
import pytest
from canary import SECRET, Canary, canary
from user import User

from detection import sample


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    """A small synthetic county, whose imagery or parcels are replaced."""
    return sample.generate(tmp_path_factory.mktemp("made") / "county", seed=11, lots=12)


def assert_refused(user: User, bait: Canary, parcels: Path, imagery: str, named: str) -> None:
    registry = user.folder / "registry.yaml"
    registry.write_text(
        f"counties:\n  little:\n    path: {parcels}\n    imagery: {{path: '{imagery}'}}\n"
        f"    properties: properties.csv\n"
    )
    done = user.run("batch", "--county", "little", "--registry", str(registry), code=2)
    assert named in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert bait.touched == []


@pytest.mark.parametrize(
    "name",
    [
        "zip: patch data, .gpkg, url",
        ".gpkg: virtual table VirtualGeoJSON, file",
        "MapInfo: seamless",
    ],
)
def test_a_parcel_file(fresh: User, made: sample.SampleCounty, tmp_path: Path, name: str) -> None:
    shutil.copy(made.properties, fresh.folder / "properties.csv")
    (tmp_path / "named").mkdir()
    with canary(tmp_path / "others") as bait:
        path = parcelattacks.ATTACKS[name](tmp_path / "named", bait)
        bait.forget()
        assert_refused(fresh, bait, path, made.imagery, path.name)


def test_imagery(fresh: User, made: sample.SampleCounty, tmp_path: Path) -> None:
    shutil.copy(made.properties, fresh.folder / "properties.csv")
    tiles = tmp_path / "tiles"
    shutil.copytree(Path(made.imagery).parent, tiles)
    with canary(tmp_path / "others") as bait:
        elsewhere = imageryattacks.vrt(str(imageryattacks.pixels_elsewhere(bait)))
        for tile in tiles.glob("*.tif"):
            Path(f"{tile}.ovr").write_text(elsewhere)
        bait.forget()
        assert_refused(fresh, bait, made.parcels, f"{tiles}/*.tif", ".tif.ovr beside it")

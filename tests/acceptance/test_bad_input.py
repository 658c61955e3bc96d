"""Bad input, as a user would type it: the message names the fix, and the exit code is right."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest
from user import User

from detection import sample


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    """The files of a small synthetic county, for tests to damage."""
    return sample.generate(tmp_path_factory.mktemp("made") / "county", seed=11, lots=12)


def _registry(folder: Path, made: sample.SampleCounty, **more: str) -> Path:
    keys = {
        "path": str(made.parcels),
        "imagery": f'{{path: "{made.imagery}"}}',
        "properties": str(made.properties),
        **more,
    }
    entry = "\n".join(f"    {key}: {value}" for key, value in keys.items() if value)
    path = folder / "registry.yaml"
    path.write_text(f"counties:\n  little:\n{entry}\n")
    return path


def test_an_unknown_county_suggests_the_closest_name(user: User) -> None:
    done = user.run("batch", "--county", "shelbi", code=2)
    assert "shelbi" in done.stderr
    assert "shelby" in done.stderr


@pytest.mark.parametrize("county", ["../../x", "a;rm", "$(reboot)"])
def test_an_invalid_county_name_is_an_error(user: User, county: str) -> None:
    done = user.run("batch", "--county", county, code=2)
    assert done.stderr.startswith("error: ")
    assert not (user.folder / "out").exists()


def test_invalid_rows_are_skipped_and_reported(fresh: User, made: sample.SampleCounty) -> None:
    registry = _registry(fresh.folder, made)
    good = made.properties.read_text().splitlines()[1].split(",")
    leads = fresh.folder / "leads.csv"
    leads.write_text(
        textwrap.dedent(f"""\
        property_id,longitude,latitude
        good,{good[2]},{good[3]}
        word,minus ninety,35.1
        short,-90.0
        swapped,35.1,-97.5
        far,-40.0,10.0
        good,{good[2]},{good[3]}
        """)
    )
    args = ("--county", "little", "--registry", str(registry), "--properties", str(leads))
    done = fresh.run("batch", *args, code=1)
    text = " ".join(done.stdout.split())
    assert "4 rows of leads.csv were skipped" in text
    assert "line 3: longitude is 'minus ninety'" in text
    assert "line 4: 2 values for 3 columns" in text
    assert "line 5" in text
    assert "swapped" in text
    assert "line 7: property_id good is already on line 2" in text
    assert "far: failed (outside_county)" in text
    states = fresh.status("--county", "little", REGISTRY=str(registry))["by_state"]
    assert {s["state"]: s["properties"] for s in states} == {"done": 1, "failed": 1}


def test_a_csv_without_the_columns_is_an_error(user: User, made: sample.SampleCounty) -> None:
    registry = _registry(user.folder, made)
    leads = user.folder / "leads.csv"
    leads.write_text("name,lat,lng,lon\na,1,2,3\n")
    args = ("--county", "little", "--registry", str(registry), "--properties")
    done = user.run("batch", *args, "leads.csv", code=2)
    assert "property_id" in done.stderr
    assert "name, lat, lng, lon" in done.stderr
    assert "lng and lon mean the same" in done.stderr
    assert "in Excel: Save as CSV UTF-8" in done.stderr
    done = user.run("batch", *args, "nowhere.csv", code=2)
    assert "no such file" in done.stderr


def test_an_excel_file_is_read_refused_rows_are_corrected_and_given_again(
    fresh: User, made: sample.SampleCounty
) -> None:
    registry = _registry(fresh.folder, made)
    rows = [line.split(",") for line in made.properties.read_text().splitlines()[1:]]
    lon, lat = (rows[0][i].replace(".", ",") for i in (2, 3))
    lines = [
        "Leads für Mai;;;;",
        "ID;Parcel #;Lng;Lat;Straße",
        f"1;;{lon};{lat};",
        f"2;{rows[1][1]};;;;;",
        f"3;1,23E+11;{lon};;",
        f"4;;{lat.replace(',', '.')}.123.456;{lat};",
        f"2;{rows[2][1]}",
        *(f"x{i};;west;{lat};" for i in range(30)),
        ";;;;",
    ]
    leads = fresh.folder / "leads.csv"
    leads.write_bytes("\r\n".join(lines).encode("cp1252"))
    args = ("--county", "little", "--registry", str(registry), "--properties")
    done = fresh.run("batch", *args, "leads.csv", code=1)
    text = " ".join(done.stdout.split())
    assert (
        "Read leads.csv: Windows-1252, semicolons, decimal commas, header on line 2; "
        "ID → property_id, Lng → longitude, Lat → latitude, Parcel # → parcel_id." in text
    )
    assert "33 rows of leads.csv were skipped" in text
    assert "line 5: parcel_id (Parcel #) is '1,23E+11': Excel has cut the digits" in text
    assert "and 13 more" in text
    rejected = fresh.folder / "out" / "little" / "rejected.csv"
    assert "run the batch with PROPERTIES=out/little/rejected.csv" in text
    page = (fresh.folder / "out" / "little" / "report.html").read_text()
    assert "Read leads.csv: Windows-1252, semicolons" in page
    assert "All of them are in out/little/rejected.csv" in page

    content = rejected.read_text("utf-8-sig")
    assert content.splitlines()[0] == "line;problem;ID;Parcel #;Lng;Lat;Straße"
    assert len(content.splitlines()) == 34
    fresh.run("batch", *args, "leads.csv", code=1)
    assert rejected.read_text("utf-8-sig") == content, "also if the CSV is not parsed again"
    fixed = content.replace("west", lon).replace("1,23E+11", rows[2][1])
    fixed = fixed.replace(f"3;{rows[2][1]};{lon};", f"3;{rows[2][1]};;")
    fixed = "\r\n".join(line for line in fixed.splitlines() if line[:2] not in ("6;", "7;"))
    rejected.write_bytes(fixed.encode("cp1252"))
    done = fresh.run("batch", *args, "out/little/rejected.csv", code=0)
    assert "skipped" not in done.stdout
    states = fresh.status("--county", "little", REGISTRY=str(registry))["by_state"]
    assert sum(s["properties"] for s in states if s["state"] == "done") == 33


def test_a_workbook_is_an_error_that_says_how_to_save_it(
    user: User, made: sample.SampleCounty
) -> None:
    registry = _registry(user.folder, made)
    (user.folder / "leads.csv").write_text("<html><table><tr><td>ID</td></tr></table>")
    args = ("--county", "little", "--registry", str(registry), "--properties", "leads.csv")
    done = user.run("batch", *args, code=2)
    assert "a web page (HTML), whatever its name, not a CSV" in done.stderr
    assert "in Excel: Save as CSV UTF-8" in done.stderr


def test_a_misspelt_registry_key_is_named(user: User) -> None:
    path = user.folder / "mine.yaml"
    path.write_text(
        "counties:\n  mine:\n    url: https://gis.example.gov/arcgis/rest/services/P/MapServer\n"
        "    layr: 0\n"
    )
    done = user.run("batch", "--county", "mine", REGISTRY=str(path), code=2)
    for part in ("mine.yaml", "mine", "layr", "layer"):
        assert part in done.stderr
    done = user.run("batch", "--county", "mine", "--registry", "none.yaml", code=2)
    assert "none.yaml" in done.stderr


def test_an_unreachable_server_defers_or_measures_a_buffer(
    fresh: User, made: sample.SampleCounty
) -> None:
    user = fresh.without_backoff()
    registry = _registry(
        fresh.folder,
        made,
        path="",
        url="http://127.0.0.1:9/arcgis/rest/services/Parcels/FeatureServer",
        layer="0",
        allow_private="true",
        calls_per_second="100",
    )
    args = ("--county", "little", "--registry", str(registry), "--limit", "3")
    done = user.run("batch", *args, code=1)
    assert "deferred (unavailable)" in done.stdout
    assert "127.0.0.1:9" in done.stdout
    status = user.status("--county", "little", REGISTRY=str(registry))
    assert {s["state"] for s in status["by_state"]} == {"deferred", "pending"}

    user.run("batch", *args, "--when-unavailable", "buffer", code=None)
    status = user.status("--county", "little", REGISTRY=str(registry))
    assert status["by_source"].keys() == {"buffer_30m"}
    assert "deferred" not in {s["state"] for s in status["by_state"]}


def test_unreadable_imagery_is_an_error(fresh: User, made: sample.SampleCounty) -> None:
    tiles = fresh.folder / "tiles"
    shutil.copytree(Path(made.imagery).parent, tiles)
    for tile in tiles.glob("*.tif"):
        tile.write_bytes(b"not a picture")
    registry = _registry(fresh.folder, made, imagery='{path: "tiles/*.tif"}')
    args = ("--county", "little", "--registry", str(registry))
    done = fresh.run("batch", *args, code=2)
    assert "can be read" in done.stderr
    assert "tiles" in done.stderr

    shutil.rmtree(tiles)
    done = fresh.run("batch", *args, code=2)
    assert "no imagery file matches" in done.stderr


def test_truncated_imagery_is_corrupt_or_an_error(fresh: User, made: sample.SampleCounty) -> None:
    tiles = fresh.folder / "tiles"
    shutil.copytree(Path(made.imagery).parent, tiles)
    for tile in tiles.glob("*.tif"):
        tile.write_bytes(tile.read_bytes()[: tile.stat().st_size // 8])
    registry = _registry(fresh.folder, made, imagery='{path: "tiles/*.tif"}')
    done = fresh.run("batch", "--county", "little", "--registry", str(registry), code=None)
    if done.returncode == 2:  # the headers are lost too
        assert "can be read" in done.stderr
        return
    states = fresh.status("--county", "little", REGISTRY=str(registry))["by_state"]
    assert {"state": "no_imagery", "reason": "corrupt"}.items() <= states[-1].items()


def test_an_unreachable_database_is_an_error_without_its_password(
    user: User, tmp_path: Path
) -> None:
    done = user.run("status", code=2, DATABASE_URL="postgresql://nobody:secret@127.0.0.1:9/nothing")
    assert "127.0.0.1" in done.stderr
    assert "secret" not in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_wrong_usage_exits_with_2(user: User) -> None:
    assert "label" in user.run("batch", "--labels", "lawn,moat", code=2).stderr
    assert "segmenter" in user.run("batch", "--segmenter", "sam9", code=2).stderr
    assert user.run("batch", "--limit", "0", code=2).stderr
    assert user.run("review", "reject", "999999999", code=2).stderr
    assert user.run("export", "--county", "shelby", "--out", "x", code=2).stderr


def test_an_empty_queue_is_an_error_with_the_fix(fresh: User, made: sample.SampleCounty) -> None:
    registry = _registry(fresh.folder, made, properties="")
    done = fresh.run("batch", "--county", "little", "--registry", str(registry), code=2)
    assert "PROPERTIES=" in done.stderr

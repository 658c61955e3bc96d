"""`lotline batch` without arguments: the sample county, from an empty database to a map."""

from __future__ import annotations

import re
from dataclasses import replace

import geopandas
import psycopg
from PIL import Image, ImageStat
from user import User


def test_the_sample_county_from_an_empty_database(fresh: User) -> None:
    first = fresh.run("batch")

    assert "synthetic" in first.stdout
    assert "Found by spectral-2, a baseline without weights: colour and texture" in first.stdout
    compared = re.search(r"\(([+-][\d.]+) %\); median error per lot ([\d.]+) %", first.stdout)
    assert compared, first.stdout
    assert abs(float(compared[1])) < 15
    assert float(compared[2]) < 25

    status = fresh.status()
    states = {(s["state"], s["reason"]): s["properties"] for s in status["by_state"]}
    assert states["done", "measured"] >= 190
    assert states["no_imagery", "missing"] == 1
    assert not {state for state, _ in states} & {"pending", "leased", "failed", "deferred"}
    assert status["by_source"]["buffer_30m"] == 5

    with Image.open(fresh.folder / "out" / "sample" / "map.png") as image:
        assert image.width > 800
        assert min(ImageStat.Stat(image.convert("RGB")).stddev) > 20

    second = fresh.run("batch")
    assert "Nothing to do" in second.stdout
    assert fresh.status()["areas"] == status["areas"]


def test_the_default_segmenter_finds_six_labels_and_says_what_it_is(fresh: User) -> None:
    done = replace(fresh, segmenter="").run("batch", "--limit", "12")
    assert "Found by landcover-1, a small network trained on aerial images" in done.stdout
    assert "Synthetic imagery and lots, not a real place" in done.stdout
    areas = {area["label"]: area for area in fresh.status()["areas"] if area["source"] == "lot"}
    assert areas.keys() == {"lawn", "tree", "driveway", "roof", "pool", "vegetation"}
    # Each of 12 houses has a roof; a roof of 12 lots is found far more often than not.
    assert areas["roof"]["detections"] >= 8
    # What it misses of the synthetic lawns is told with the result.
    assert re.search(r"Lawns against the truth of the synthetic county, \d+ full lots", done.stdout)
    assert "The imagery is synthetic: on real imagery the errors are others" in done.stdout


def test_a_rejected_detection_stays_rejected(fresh: User) -> None:
    fresh.run("batch", "--limit", "12")
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        row = conn.execute(
            "SELECT d.id, p.property_id FROM lotline.detection d"
            " JOIN lotline.property p ON p.id = d.property_fk"
            " WHERE d.label = 'lawn' ORDER BY d.area_m2 DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    detection_id, _ = row
    before = fresh.status()["areas"]

    done = fresh.run("review", "reject", str(detection_id), "--by", "ann", "--note", "gravel")
    assert "rejected" in done.stdout
    rejected = fresh.status()["areas"]
    assert rejected != before

    again = fresh.run("batch", "--limit", "12", "--again")
    assert "matched reviewed detections; left unchanged" in again.stdout
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        state = conn.execute("SELECT state FROM lotline.detection WHERE id = %s", [detection_id])
        assert state.fetchone() == ("rejected",)
    assert fresh.status()["areas"] == rejected

    fresh.run("review", "restore", str(detection_id), "--by", "ann")
    assert fresh.status()["areas"] == before


def test_exports_open_and_document_every_column(fresh: User) -> None:
    fresh.run("batch", "--limit", "20")
    for kind, suffix in (("geoparquet", "parquet"), ("geojson", "geojson"), ("csv", "csv")):
        folder = fresh.folder / kind
        fresh.run("export", "--out", str(folder), "--format", kind)
        guide = (folder / "DATA_DICTIONARY.md").read_text()
        assert "synthetic" in guide.lower()
        assert f"{guide.split(':')[0]}\n" in (folder / "README.md").read_text()
        for name in ("detections_lawn", "detections_tree", "properties"):
            path = folder / f"{name}.{suffix}"
            if kind == "csv":
                columns = path.read_text().splitlines()[0].split(",")
            else:
                read = geopandas.read_parquet if kind == "geoparquet" else geopandas.read_file
                frame = read(path)
                assert len(frame)
                assert frame.crs.to_epsg() == 4326
                columns = [c for c in frame.columns if c != "bbox"]
            for column in columns:
                assert f"`{column}`" in guide, column


def test_the_map_is_written_and_db_url_connects(user: User) -> None:
    user.run("batch", "--limit", "3", "--out", "here")
    assert (user.folder / "here" / "map.png").stat().st_size > 10_000
    url = user.run("db", "url").stdout.strip()
    with psycopg.connect(url) as conn:
        version = conn.execute("SELECT postgis_lib_version()").fetchone()
    assert version is not None


def test_registry_list_has_the_sample_and_shelby(user: User) -> None:
    listed = user.run("registry", "list").stdout
    assert re.search(r"^sample +Sample county \(synthetic\)", listed, re.MULTILINE)
    assert re.search(r"^shelby +Shelby County", listed, re.MULTILINE)

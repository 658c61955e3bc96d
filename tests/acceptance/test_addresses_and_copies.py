"""A county with a server: cached responses, address lookups, and layer snapshots.

The lots and their addresses are synthetic; the server is a real FeatureServer.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

import geopandas
import psycopg
import pytest
from servers.koop import FeatureServer, feature_server
from user import LOTLINE, User

from detection import sample
from parcels.cache import FolderCache, LayerKey
from parcels.registry.load import load_registry

ROWS_SO_FAR = "SELECT coalesce(max(rows), 0) FROM lotline.parcel_copy WHERE state = 'copying'"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> sample.SampleCounty:
    """A small synthetic county: lots with addresses, and their imagery."""
    return sample.generate(tmp_path_factory.mktemp("made") / "county", seed=11, lots=60)


def _lots(made: sample.SampleCounty) -> geopandas.GeoDataFrame:
    return geopandas.read_file(made.parcels)


def _registry(folder: Path, made: sample.SampleCounty, server: FeatureServer) -> Path:
    path = folder / "registry.yaml"
    path.write_text(
        f"""\
counties:
  little:
    name: Little (synthetic)
    url: {server.url}
    layer: 0
    fields: {{parcel_id: parcel_id, address: address}}
    imagery: {{path: "{made.imagery}"}}
    allow_private: true
    calls_per_second: 100
    census: false
"""
    )
    return path


def _queries(server: FeatureServer) -> list[str]:
    return [call["url"] for call in server.calls if "/query" in call["url"]]


def test_addresses_are_located_measured_and_cached_for_an_outage(
    fresh: User, made: sample.SampleCounty, tmp_path: Path
) -> None:
    lots = _lots(made)
    leads = fresh.folder / "leads.csv"
    rows = [f'lead-{i},"{address}"' for i, address in enumerate(lots["address"][:10])]
    leads.write_text("\n".join(["property_id,address", *rows, 'lost,"1 Nowhere Court"', ""]))
    with feature_server(lots, tmp_path, last_edit_ms=1) as server:
        little = ("--county", "little", "--registry", str(_registry(fresh.folder, made, server)))
        first = fresh.run("batch", *little, "--properties", "leads.csv", code=1)
        assert "lost: failed (address_not_found)" in " ".join(first.stdout.split())
        assert "from the county server" in first.stdout
        by_state = {s["state"]: s["properties"] for s in fresh.status(*little)["by_state"]}
        assert by_state == {"done": 10, "failed": 1}
        fresh.run("export", *little, "--out", "results")
        found = geopandas.read_parquet(fresh.folder / "results" / "properties.parquet")
        found = found.set_index("property_id")
        assert list(found.loc["lead-3", "parcel_ids"].split(";")) == [lots["parcel_id"][3]]
        assert set(found["method"].dropna()) == {"address"}
        assert set(found["located_by"].dropna()) == {"parcel_layer"}
        assert set(found["confidence"].dropna()) == {1.0}
        assert found.loc["lead-3", "address"] == lots["address"][3]
        assert found.loc["lead-3", "matched_address"].startswith(lots["address"][3].split(",")[0])
        assert found.loc["lead-3", "geometry"].contains(
            geopandas.points_from_xy([found.longitude["lead-3"]], [found.latitude["lead-3"]])[0]
        )

        server.mend()
        again = fresh.run("batch", *little, "--properties", "leads.csv", "--again", code=1)
        assert _queries(server) == [], "every response is cached"
        assert re.search(
            r"Parcels: \d+ lookups from the cache, 0 from the county server", again.stdout
        )
        areas = fresh.status(*little)["areas"]

    user = fresh.without_backoff()
    user.run("batch", *little, "--properties", "leads.csv", "--again", code=1)
    assert {s["state"]: s["properties"] for s in fresh.status(*little)["by_state"]} == by_state
    assert fresh.status(*little)["areas"] == areas
    more = fresh.folder / "more.csv"
    more.write_text(f'property_id,address\nnew,"{lots["address"][20]}"\n')
    user.run("batch", *little, "--properties", "more.csv", code=1)
    states = {(s["state"], s["reason"]) for s in fresh.status(*little)["by_state"]}
    assert ("deferred", "unavailable") in states, "an outage is not an absence"


@pytest.mark.parametrize("to", ["the database", "a folder"])
def test_a_killed_fetch_resumes_and_the_snapshot_serves_every_lookup(
    fresh: User, made: sample.SampleCounty, tmp_path: Path, to: str
) -> None:
    lots = _lots(made)
    folder = fresh.folder / "kept"
    with feature_server(lots, tmp_path, last_edit_ms=1, max_record_count=5) as server:
        registry = _registry(fresh.folder, made, server)
        fetch = ["parcels", "fetch", "--county", "little", "--registry", str(registry)]
        fetch += ["--to", str(folder)] if to == "a folder" else []
        server.slow(150)
        running = subprocess.Popen(
            [str(LOTLINE), *fetch], cwd=fresh.folder, env=fresh.env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _wait_for_some_rows(fresh, running, folder if to == "a folder" else None)
        running.kill()
        running.communicate()
        server.mend()
        done = fresh.run(*fetch)
        pattern = r"(\d+) parcels in .+; (\d+) fetched now with (\d+) requests"
        counted = re.search(pattern, done.stdout)
        assert counted, done.stdout
        assert int(counted[3]) == len(server.calls)
        assert int(counted[1]) == len(lots)
        assert 0 < int(counted[2]) < len(lots), "the pages fetched before the kill are reused"
        assert "is current; --again fetches it again" in fresh.run(*fetch).stdout
        assert f"{len(lots)} fetched now" in fresh.run(*fetch, "--again").stdout
        if to == "a folder":
            copy = FolderCache(folder).layer(LayerKey.of(load_registry(registry).county("little")))
            snapshot = copy.snapshot()
            assert snapshot is not None
            assert snapshot.rows == len(lots)
            written = geopandas.read_parquet(next(folder.glob("little/*/copy.parquet")))
            assert len(written) == len(lots)
            assert written.crs == "OGC:CRS84"
            return
        status = fresh.run("status", "--county", "little", "--registry", str(registry))
        assert f"Parcel snapshot: {len(lots)} parcels, fetched" in status.stdout
        server.mend()
        leads = fresh.folder / "leads.csv"
        points = lots.representative_point()
        rows = [f"{i},{point.x!r},{point.y!r}" for i, point in enumerate(points[:12])]
        beside = f"beside,{lots.total_bounds[0] - 0.001!r},{lots.total_bounds[1]!r}"
        leads.write_text("\n".join(["property_id,longitude,latitude", *rows, beside, ""]))
        little = ("--county", "little", "--registry", str(registry))
        fresh.run("batch", *little, "--properties", "leads.csv", code=None)
        assert _queries(server) == []
        assert fresh.status(*little)["by_source"]["lot"] == 12


def test_a_fetch_from_an_unreachable_server_names_the_server_once(
    user: User,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/arcgis/rest/services/P/MapServer"
    registry = user.folder / "registry.yaml"
    registry.write_text(
        f"counties:\n  here: {{url: '{url}', layer: 0, name: Here, allow_private: true, "
        "calls_per_second: 100}\n"
    )
    here = ("--county", "here", "--registry", "registry.yaml", "--to", "kept")
    done = user.without_backoff().run("parcels", "fetch", *here, code=1)
    querying, error = done.stderr.splitlines()
    assert querying == f"querying Here's parcel server: {url}/0"
    assert error.startswith(f"error: {url}/0: no response: ")


def test_a_county_without_a_server_cannot_be_fetched(user: User) -> None:
    done = user.run("parcels", "fetch", "--county", "sample", code=2)
    assert "has no 'url' and 'layer'" in done.stderr


def _wait_for_some_rows(user: User, running: subprocess.Popen[str], folder: Path | None) -> None:
    for _ in range(1200):
        assert running.poll() is None, running.communicate()
        if folder is not None:
            count = len(list(folder.glob("little/*/copying/*/*.parquet")))
        else:
            try:
                with psycopg.connect(user.env["DATABASE_URL"]) as conn:
                    row = conn.execute(ROWS_SO_FAR).fetchone()
                count = row[0] if row else 0
            except psycopg.errors.UndefinedTable:
                count = 0
        if count >= 2:
            return
        time.sleep(0.02)
    pytest.fail("nothing was fetched in a while")

"""`lotline registry verify` against a real FeatureServer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from faketime import FakeTime
from servers.koop import FeatureServer, feature_server, synthetic_lots
from servers.scripted import Call, Reply, scripted

from parcels import County, load_registry
from parcels.arcgis.http.exchange import Exchange, HttpRequest, HttpResponse
from parcels.arcgis.http.responses import TransientError
from parcels.catalogue.verify import VerifyResult, verify_all, verify_county
from pipeline.cli.app import lotline

# The synthetic lots lie in Memphis.
PLACE = {"state": "TN", "fips": "47157"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    with feature_server(synthetic_lots(), tmp_path_factory.mktemp("koop"), wkid=2274) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


def county(server: FeatureServer, **more: object) -> County:
    entry = {"url": server.url, "layer": 0, "allow_private": True, **PLACE}
    return County.model_validate({"key": "here", **entry, **more})


def verified(server: FeatureServer, **more: object) -> VerifyResult:
    return verify_county(county(server, **more), sleep=lambda _: None)


def gone(server: FeatureServer) -> str:
    return server.url.replace("/parcels/", "/renamed/")


def registry(folder: Path, url: str, more: str = "") -> Path:
    file = folder / "registry.yaml"
    file.write_text(
        f"# Mine.\ncounties:\n  here:  # a comment\n    url: {url}\n    layer: 0\n"
        "    allow_private: true\n    calls_per_second: 100\n    state: TN\n    fips: '47157'\n"
        f"{more}"
    )
    return file


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(lotline, ["registry", "verify", *map(str, args)])


def test_a_valid_layer_takes_four_small_requests(server: FeatureServer) -> None:
    verdict = verified(server, fields={"parcel_id": "APN"})
    assert verdict.passed
    assert verdict.notes == ("no address columns",)
    assert verdict.extent is not None
    assert len(server.calls) <= 4
    assert verdict.extent == pytest.approx((-90.0, 35.1, -89.9953, 35.1049), abs=0.001)
    facts = verdict.registry_changes(date(2026, 5, 31))
    assert facts["verified"] == "2026-05-31"
    assert json.loads(str(facts["extent"])) == pytest.approx([-90.02, 35.08, -89.98, 35.12], 0.011)


def test_a_map_server_passes_too(server: FeatureServer) -> None:
    assert verified(server, url=server.map_url).passed


def test_the_where_filter_is_applied(server: FeatureServer) -> None:
    assert verified(server, where="OBJECTID > 50").passed
    problem = verified(server, where="OBJECTID > 5000").problem
    assert problem is not None
    assert "the layer is empty; use another layer, or correct 'where'" in problem


def test_a_column_that_is_not_there(server: FeatureServer) -> None:
    verdict = verified(server, fields={"parcel_id": "PARCEL"})
    assert verdict.problem is not None
    assert "column 'PARCEL' does not exist; the columns are OBJECTID, APN" in verdict.problem
    assert verdict.registry_changes(date(2026, 5, 31)) == {"verified": None}


def test_a_layer_somewhere_else(server: FeatureServer) -> None:
    problem = verified(server, state="CO", fips="08085", name="Montrose County").problem
    assert problem is not None
    assert "is at -90.00, 35.10, " in problem
    assert "but Montrose County, CO is at -109.06, 38.15, -107.50, 38.67" in problem
    problem = verified(server, state="CO", fips=None, name="Somewhere").problem
    assert problem is not None
    assert "but Somewhere, CO is at -109.0" in problem
    assert verified(server, state=None, fips=None).passed  # nobody knows where it should lie


def test_a_missing_layer_fails(server: FeatureServer) -> None:
    verdict = verified(server, url=gone(server))
    assert not verdict.passed
    assert not verdict.inconclusive


def test_a_missing_id_column_is_noted(tmp_path: Path) -> None:
    lots = synthetic_lots().rename(columns={"APN": "THING"})
    with feature_server(lots, tmp_path) as server:
        verdict = verified(server)
        assert verdict.passed
        no_id, no_address = verdict.notes
        assert no_id == "no parcel id column is known; set fields: {parcel_id: …}"
        assert no_address == "no address columns"


def test_a_server_without_pagination_passes(tmp_path: Path) -> None:
    with feature_server(synthetic_lots(), tmp_path, supports_pagination=False) as server:
        assert verified(server).passed
        server.fail("refused", on="resultRecordCount=5")
        assert verified(server).passed


def test_empty_ids_are_noted(tmp_path: Path) -> None:
    with feature_server(synthetic_lots().assign(APN=""), tmp_path) as server:
        assert verified(server).notes[0] == "APN is empty in the sample lot"


def test_a_server_without_point_queries_fails(server: FeatureServer) -> None:
    server.fail("nothing", on="geometryType")
    problem = verified(server).problem
    assert problem is not None
    assert "does not find the lot at that point (" in problem


def test_a_firewall_is_a_failure_and_not_an_outage(server: FeatureServer) -> None:
    server.fail("firewall")
    verdict = verified(server)
    assert not verdict.passed
    assert not verdict.inconclusive


@pytest.mark.parametrize("fault", ["http500", "html", "close"])
def test_an_outage_is_inconclusive(server: FeatureServer, fault: str) -> None:
    server.fail(fault)
    verdict = verified(server)
    assert verdict.inconclusive
    assert verdict.registry_changes(date(2026, 5, 31)) == {}


def test_an_alternate_that_fails_is_noted(server: FeatureServer) -> None:
    verdict = verified(server, alternates=[{"url": gone(server), "layer": 0}])
    assert verdict.passed
    _, note = verdict.notes
    assert note.startswith(f"alternate {gone(server)}/0: ")
    verdict = verified(server, url=gone(server), alternates=[{"url": server.url, "layer": 0}])
    assert not verdict.passed
    assert verdict.notes == (f"alternate {server.url}/0: ok",)


def test_an_unresponsive_county_takes_about_a_minute() -> None:
    fake = FakeTime()

    def silent(_: Call) -> Reply:
        fake.now_s += 12.1  # a read is given up after 12 s, and none of ours takes that long
        return Reply(status=0)

    with scripted(silent) as server:
        there = {"url": server.url, "layer": 0}
        checked = County(key="k", **there, alternates=[there, there, there], allow_private=True)
        verdict = verify_county(checked, sleep=fake.sleep, clock=fake.clock)
    assert verdict.inconclusive
    assert len(server.calls) == 3
    assert 36 < fake.now_s < 50
    silent_too, *not_asked = verdict.notes
    assert silent_too.startswith(f"alternate {server.url}/0: no response: ")
    assert not_asked == 2 * [
        f"alternate {server.url}/0: not checked, as the time budget is used up"
    ]


def test_the_read_timeout_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def ask(_: Exchange, question: HttpRequest, read_s: float) -> HttpResponse:
        waited.append(read_s)
        raise TransientError(f"{question.url}: does not answer")

    monkeypatch.setattr(Exchange, "send", ask)
    there = {"url": "https://gis.example.gov/arcgis/rest/services/P/MapServer", "layer": 0}
    assert verify_county(County(key="k", **there), sleep=lambda _: None).inconclusive
    assert set(waited) == {12.0}


def test_a_passed_check_is_written_to_the_file(server: FeatureServer, tmp_path: Path) -> None:
    file = registry(tmp_path, server.url)
    done = run("--registry", file)
    assert done.exit_code == 0, done.output
    assert (
        done.output == "ok           here  no address columns\n"
        f"1 passed, 0 failed, 0 unavailable; saved in {file}\n"
    )
    text = file.read_text()
    assert text.startswith("# Mine.\ncounties:\n  here:  # a comment\n    verified: 20")
    here = load_registry(file)["here"]
    assert here.verified is not None
    assert here.extent is not None


def test_a_failure_removes_the_date_and_an_outage_keeps_it(
    server: FeatureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = "    verified: 2020-01-01\n"
    file = registry(tmp_path, gone(server), mark)
    done = run("here", "--registry", file)
    assert done.exit_code == 1
    assert done.output.startswith("failed       here  ")
    assert "0 passed, 1 failed, 0 unavailable" in done.output
    assert "verified" not in file.read_text()

    monkeypatch.setattr(
        "parcels.catalogue.verify.verify_county", lambda c: VerifyResult(c, "x", True)
    )
    file = registry(tmp_path, server.url, mark)
    done = run("HERE", "--registry", file)
    assert done.exit_code == 1
    assert "0 passed, 0 failed, 1 unavailable; nothing to save" in done.output
    assert mark in file.read_text()


def test_verify_as_json(server: FeatureServer, tmp_path: Path) -> None:
    file = registry(tmp_path, server.url)
    done = CliRunner().invoke(lotline, ["registry", "verify", "--registry", str(file), "--json"])
    [said] = json.loads(done.stdout)
    assert (said["key"], said["in_order"], said["answered"]) == ("here", True, True)
    assert done.stderr.startswith("ok           here")


def test_a_shipped_county_gets_an_entry_that_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def pretend(county: County) -> VerifyResult:
        checked.append(county.key)
        return VerifyResult(county, extent=(-108.0, 38.2, -107.6, 38.6))

    monkeypatch.setattr("parcels.catalogue.verify.verify_county", pretend)
    file = tmp_path / "registry.yaml"
    file.write_text("counties:\n")
    assert run("montrose", "--registry", file).exit_code == 0
    assert file.read_text().splitlines() == [
        "counties:",
        "  montrose-co:",
        f"    verified: {load_registry(file)['montrose-co'].verified}",
        "    extent: [-108.01, 38.19, -107.59, 38.61]",
    ]
    assert run("--state", "wyoming", "--registry", file).exit_code == 0
    assert len(checked) > 10
    assert all(key.endswith("-wy") for key in checked[1:])
    assert run("--registry", file).exit_code == 0  # all that the file has by now


def test_results_before_ctrl_c_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(counties: list[County]) -> Iterator[VerifyResult]:
        yield VerifyResult(counties[0])
        raise KeyboardInterrupt

    monkeypatch.setattr("parcels.catalogue.verify.verify_all", stopped)
    file = tmp_path / "registry.yaml"
    file.write_text("counties:\n")
    assert run("--state", "CO", "--registry", file).exit_code != 0
    [county] = load_registry(file).values()
    assert county.verified is not None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "no county 'nowhere'"),
        (["sample"], "none of these counties has an ArcGIS server to verify"),
        (["--state", "ZZ"], "'ZZ' is not a US state"),
    ],
)
def test_usage_errors(args: list[str], message: str) -> None:
    done = run(*args)
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)


def test_hosts_are_checked_in_parallel_one_county_each() -> None:
    hosts = ["a.example", "b.example", "a.example", "c.example", "a.example"]
    counties = [
        County(key=f"c{n}", url=f"https://{host}/arcgis/rest/services/P/MapServer", layer=0)
        for n, host in enumerate(hosts)
    ]
    together = threading.Barrier(3, timeout=30)
    busy: set[str] = set()
    first = {"c0", "c1", "c3"}

    def ask(county: County) -> VerifyResult:
        host = str(county.url).split("/")[2]
        assert host not in busy
        busy.add(host)
        if county.key in first:
            together.wait()  # passes only where three hosts are asked at once
        busy.remove(host)
        if county.key == "c4":
            raise ZeroDivisionError("what a server sent")
        return VerifyResult(county)

    verdicts = {verdict.county.key: verdict for verdict in verify_all(counties, ask)}
    assert set(verdicts) == {"c0", "c1", "c2", "c3", "c4"}
    assert verdicts["c4"].problem == "cannot be checked: ZeroDivisionError: what a server sent"
    assert verdicts["c4"].inconclusive
    assert all(verdicts[f"c{n}"].passed for n in range(4))


def test_a_county_with_a_file_has_nothing_to_verify(tmp_path: Path) -> None:
    county = County.model_validate({"key": "here", "path": str(tmp_path / "lots.gpkg")})
    assert verify_county(county).problem == "here: has no 'url', so there is no server to verify"

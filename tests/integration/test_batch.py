"""`run_batch` on a small synthetic county: interruptions, outages, and doing nothing twice."""

from __future__ import annotations

import itertools
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pytest
from sqlalchemy import Connection, text

from detection import sample
from detection.errors import ImageryError, ImageryUnavailable
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from parcels.arcgis.http.exchange import Exchange, HttpRequest, HttpResponse
from parcels.errors import SourceMisconfigured, SourceUnavailable
from pipeline import BatchRequest, run_batch
from pipeline.batch import lease_loop
from pipeline.batch.request import NoProgress
from pipeline.batch.result import BatchReport
from pipeline.cli.batch_result import print_report
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.queue.states import LeasedProperty

_LEASE = LeaseScan.lease


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of a synthetic county with 12 lots."""
    folder = tmp_path_factory.mktemp("little")
    made = sample.generate(folder / "county", seed=5, lots=12)
    registry = folder / "registry.yaml"
    entry = (
        f'    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    registry.write_text(f"counties:\n  little:\n{entry}  twin:\n{entry}")
    return registry


@pytest.fixture
def batch(county: Path, database: Database, tmp_path: Path) -> Callable[..., object]:
    """Run the county on this test's own database."""
    url = database.url
    settings = Settings(database_url=url, home=tmp_path)

    def run(**more: object) -> object:
        more = {"segmenter": "spectral", **more}
        return run_batch(BatchRequest("little", registry=county, **more), settings)

    return run


class SendsCtrlC(NoProgress):
    """Sends SIGINT when the first lots are written."""

    def __init__(self) -> None:
        self.sent = threading.Event()

    def advance(self, _: int) -> None:
        if not self.sent.is_set():
            signal.raise_signal(signal.SIGINT)
            self.sent.set()


def leases_once(sent: threading.Event) -> Callable[..., list[LeasedProperty]]:
    """A `LeaseScan.lease` that leases no second chunk before the signal is sent."""
    calls = itertools.count()

    def lease(scan: LeaseScan, conn: Connection, count: int) -> list[LeasedProperty]:
        assert next(calls) == 0 or sent.wait(60)
        return _LEASE(scan, conn, count)

    return lease


def _rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


STATE = """
SELECT p.county, p.property_id, p.state, p.reason, p.coverage_fraction, m.label, m.area_m2, m.source
FROM lotline.property p
LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
ORDER BY 1, 2, 6
"""
LIVE = """
SELECT property_fk, label, fingerprint FROM lotline.detection
WHERE state <> 'superseded' ORDER BY 1, 2, 3
"""


def test_interrupted_and_resumed_run_equals_a_clean_run(
    batch: Callable[..., BatchReport],
    county: Path,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(database_url=database.url, home=tmp_path)
    ctrl_c = SendsCtrlC()
    with monkeypatch.context() as small:
        small.setattr(lease_loop, "CHUNK_LOTS", 3)
        small.setattr(LeaseScan, "lease", leases_once(ctrl_c.sent))
        stopped = run_batch(
            BatchRequest("little", registry=county, segmenter="spectral"), settings, ctrl_c
        )
    assert stopped.interrupted
    assert 0 < stopped.done < sum(stopped.status.by_state.values())
    assert not _rows(database, "SELECT 1 FROM lotline.property WHERE state = 'leased'")
    assert _rows(database, "SELECT state FROM lotline.run") == [("interrupted",)]

    resumed = batch()
    assert resumed.exit_code == 0
    assert resumed.done == sum(resumed.status.by_state.values()) - stopped.done

    run_batch(BatchRequest("twin", registry=county, segmenter="spectral"), settings)
    little, twin = ([row[1:] for row in _rows(database, STATE) if row[0] == name]
                    for name in ("little", "twin"))  # fmt: skip
    assert len(little) > 30
    assert little == twin


def test_again_with_the_same_imagery_changes_no_row(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    batch()
    live, state = _rows(database, LIVE), _rows(database, STATE)
    counts = "SELECT (SELECT count(*) FROM lotline.detection), count(*) FROM lotline.measurement"
    before = _rows(database, counts)
    assert batch(again=True).done > 12
    assert _rows(database, LIVE) == live
    assert _rows(database, STATE) == state
    assert _rows(database, counts) == before
    assert batch().run_id is None


def test_unavailable_imagery_defers_until_the_next_run(
    batch: Callable[..., BatchReport],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*_: object) -> None:
        raise ImageryUnavailable("the imagery server does not answer: try again later")

    with monkeypatch.context() as broken:
        broken.setattr(GeoTiffMosaic, "read", down)
        report = batch()
    assert report.exit_code == 1
    assert {state for state, _ in report.status.by_state} == {"deferred", "no_imagery"}
    assert not _rows(database, "SELECT 1 FROM lotline.measurement")

    report = batch()
    assert report.exit_code == 0
    assert {state for state, _ in report.status.by_state} == {"done", "no_imagery"}


def test_boundary_notes_are_reported_and_stored(
    batch: Callable[..., BatchReport],
    county: Path,
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lots = geopandas.read_file(county.parent / "county/parcels.gpkg")
    here = lots.iloc[0]
    point = here.geometry.representative_point()
    leads = tmp_path / "leads.csv"
    leads.write_text(
        "property_id,longitude,latitude,parcel_id\n"
        f"astray,{point.x + 0.003!r},{point.y!r},{here['parcel_id']}\n"
        f"fine,,,{here['parcel_id']}\n"
    )
    report = batch(properties=leads)
    assert report.exit_code == 0
    [note] = report.notes
    assert note.property_id == "astray"
    assert note.detail.startswith("the point is ")
    kept = "SELECT detail FROM lotline.property WHERE property_id IN ('astray', 'fine') ORDER BY 1"
    assert _rows(database, kept) == [("",), (note.detail,)]
    print_report(report)
    assert "To check:\n  astray: the point is " in capsys.readouterr().out


class RecordedProgress:
    """Progress as a list of messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, what: str) -> None:
        self.messages.append(what)

    def start(self, total: int, what: str) -> None:
        self.messages.append(f"{total} of {what}")

    def advance(self, count: int) -> None:
        pass

    def stop(self) -> None:
        pass


def test_a_silent_server_gets_one_request_for_all_properties(
    county: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request to each layer, before the leases, after a progress message."""
    requested: list[str] = []
    progress = RecordedProgress()

    def silent(_: Exchange, request: HttpRequest, __: float) -> HttpResponse:
        assert progress.messages == ["querying Far County's parcel server"]
        requested.append(request.url)
        raise SourceUnavailable(f"{request.url}: does not answer")

    monkeypatch.setattr(Exchange, "send", silent)
    there = "https://gis.example.gov/arcgis/rest/services"
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "counties:\n  far:\n    name: Far County\n"
        f"    url: {there}/A/MapServer\n    layer: 0\n"
        f"    alternates: [{{url: {there}/B/MapServer, layer: 0}}]\n"
        f'    imagery: {{path: "{county.parent}/county/imagery/*.tif"}}\n'
    )
    leads = tmp_path / "leads.csv"
    rows = [f"{n},{-90 - n / 1e4},35.1," for n in range(450)] + ["id,,,7"]
    header = "property_id,longitude,latitude,parcel_id"
    leads.write_text("\n".join([header, *rows, ""]))
    request = BatchRequest("far", registry=registry, properties=leads, segmenter="spectral")
    report = run_batch(request, Settings(database_url=database.url, home=tmp_path), progress)
    assert report.status.by_state == {("deferred", "unavailable"): 451}
    assert requested == [f"{there}/A/MapServer/0", f"{there}/B/MapServer/0"]
    assert progress.messages[1:] == ["451 of Far County"]


def test_limit_and_labels(
    batch: Callable[..., BatchReport], database: Database, tmp_path: Path
) -> None:
    report = batch(limit=3, labels=("tree",), out=tmp_path / "map")
    assert report.done == 3
    assert {area.label for area in report.status.areas} == {"tree"}
    assert report.status.by_state["pending", ""] > 0
    assert report.map_path == tmp_path / "map" / "map.png"
    assert report.map_path.stat().st_size > 10_000


def test_each_chip_of_a_chunk_is_segmented_once(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    report = batch()
    assert report.timer is not None
    chips = _rows(database, "SELECT count(*) FROM lotline.chip")[0][0]
    assert report.timer.calls["segment"] == chips
    assert chips < report.done


def test_exit_code_depends_on_the_selected_properties(
    batch: Callable[..., BatchReport], county: Path, tmp_path: Path
) -> None:
    header, good = county.parent.joinpath("county/properties.csv").read_text().splitlines()[:2]
    bad, fine = tmp_path / "bad.csv", tmp_path / "fine.csv"
    bad.write_text(f"{header}\nlost,NO-SUCH-ID,,,\n")
    fine.write_text(f"{header}\n{good}\n")
    assert batch(properties=bad).exit_code == 1
    assert batch(properties=fine).exit_code == 0
    again = batch(properties=bad)
    assert again.run_id is None
    assert again.exit_code == 1
    assert again.selected_by_state == {("failed", "not_found"): 1}


def test_again_with_a_limit_resets_no_more_properties(
    batch: Callable[..., BatchReport],
) -> None:
    batch()
    report = batch(again=True, limit=4)
    assert report.done == 4
    assert "pending" not in {state for state, _ in report.status.by_state}


def test_misconfigured_imagery_leaves_the_queue_unchanged(
    batch: Callable[..., BatchReport],
    county: Path,
    database: Database,
    tmp_path: Path,
) -> None:
    batch()
    state = _rows(database, STATE)
    broken = county.with_name("broken.yaml")
    broken.write_text(county.read_text().replace("imagery/*.tif", "nowhere/*.tif"))
    settings = Settings(database_url=database.url, home=tmp_path)
    with pytest.raises(ImageryError, match="no imagery file matches"):
        run_batch(
            BatchRequest("little", registry=broken, segmenter="spectral", again=True), settings
        )
    assert _rows(database, STATE) == state


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("imagery/*.tif", "nowhere/*.tif", "no imagery file matches"),
        ("path: /", "path: /nowhere/", "no such file"),
    ],
)
def test_a_county_whose_files_are_missing_is_not_stored(
    county: Path, database: Database, tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(county.read_text().replace(right, wrong))
    settings = Settings(database_url=database.url, home=tmp_path)
    with pytest.raises((ImageryError, SourceMisconfigured), match=message):
        run_batch(BatchRequest("little", registry=broken, segmenter="spectral"), settings)
    assert _rows(database, "SELECT key FROM lotline.county") == []


def test_a_property_that_changes_during_a_run_is_processed_again(
    batch: Callable[..., BatchReport],
    county: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process resets a property while the batch holds its lease."""
    read = GeoTiffMosaic.read
    reset = "UPDATE lotline.property SET state = 'pending', lease_owner = NULL, leased_until = NULL"

    def read_while_reset(self: GeoTiffMosaic, *where: Any) -> Any:
        with database.engine.begin() as conn:
            conn.execute(text(f"{reset} WHERE property_id = 'synthetic-0001'"))
        return read(self, *where)

    with monkeypatch.context() as edited:
        edited.setattr(GeoTiffMosaic, "read", read_while_reset)
        edited.setattr(lease_loop, "CHUNK_LOTS", 5)
        report = batch(limit=20)
    by_id = dict(_rows(database, "SELECT property_id, state FROM lotline.property"))
    assert by_id["synthetic-0001"] == "pending"
    assert report.processed
    assert batch().status.by_state.keys() <= {("done", "measured"), ("done", "nothing_found"),
                                              ("no_imagery", "missing")}  # fmt: skip


def test_forecast_after_the_first_chips(
    county: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_loop, "CHUNK_LOTS", 5)
    progress = RecordedProgress()
    settings = Settings(database_url=database.url, home=tmp_path)
    run_batch(BatchRequest("little", registry=county, segmenter="spectral"), settings, progress)
    [forecast] = [message for message in progress.messages if "left" in message]
    assert re.fullmatch(
        r"\w+, float32: .+ chips? a second with 3 prompts; about \d+ chips?, .+ left", forecast
    ) or re.fullmatch(r"\w+, float32: \d+ s a chip with 3 prompts; .+ left", forecast)


def test_lot_offset_and_label_settings_of_a_county_apply(
    county: Path, database: Database, tmp_path: Path
) -> None:
    """The same lots, shifted by six metres and moved back, measure the same."""
    lots = geopandas.read_file(county.parent / "county/parcels.gpkg")
    there = lots.estimate_utm_crs()
    off = lots.to_crs(there)
    off["geometry"] = off.translate(4.0, -5.0)
    off.to_crs(lots.crs).to_file(tmp_path / "off.gpkg")
    leads = tmp_path / "leads.csv"
    leads.write_text("\n".join(["property_id,parcel_id", *(f"{i},{i}" for i in lots["parcel_id"])]))
    imagery = f'imagery: {{path: "{county.parent}/county/imagery/*.tif"}}'
    entry = f"{imagery}, properties: {leads}"
    (tmp_path / "registry.yaml").write_text(
        "counties:\n"
        f"  drawn: {{path: {county.parent}/county/parcels.gpkg, {entry}}}\n"
        f"  moved: {{path: off.gpkg, {entry}}}\n"
        f"  back: {{path: off.gpkg, lot_offset_m: [-4, 5], {entry}}}\n"
        f"  large: {{path: off.gpkg, lot_offset_m: [-4, 5], {entry},"
        " labels: {lawn: {min_area_m2: 5000}, shed: garden shed}}\n"
    )
    lawn_m2 = {}
    for name in ("drawn", "moved", "back", "large"):
        settings = Settings(database_url=database.url, home=tmp_path)
        request = BatchRequest(
            name, registry=tmp_path / "registry.yaml", labels=("lawn",), segmenter="spectral"
        )
        report = run_batch(request, settings)
        assert report.exit_code == 0
        # Lots at the edge are imaged only in part, and have a row of their own.
        lawn_m2[name] = sum(area.area_m2 for area in report.status.areas)
    assert lawn_m2["back"] == pytest.approx(lawn_m2["drawn"], rel=1e-3)
    assert lawn_m2["moved"] < 0.97 * lawn_m2["drawn"]
    assert lawn_m2["large"] < 0.5 * lawn_m2["drawn"]

"""`lotline batch` writes a report, and `lotline runs` shows it later."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from user import User

from pipeline.report import RunReport


def _json(user: User, *arguments: str) -> Any:
    return json.loads(user.run("runs", *arguments, "--json").stdout)


def test_a_batch_writes_a_report(fresh: User) -> None:
    assert "No runs yet" in fresh.run("runs", "list").stdout
    assert "no runs yet" in fresh.run("runs", "show", code=2).stderr

    first = fresh.run("batch", "--limit", "12")
    out = fresh.folder / "out" / "sample"
    report = RunReport.model_validate_json((out / "report.json").read_text())
    assert (report.properties, report.state, report.synthetic) == (12, "finished", True)
    assert report.encoder_calls > 0
    assert {"lease", "boundary", "read", "segment", "measure", "write"} <= {
        stage.stage for stage in report.stages
    }
    assert f"Run {report.id} of Sample county (synthetic): 12 properties" in first.stdout
    # The run and the county have separate tables.
    assert re.search(r"This run's properties\n(?:.*\n)*?.*measured +│ +\d+ │", first.stdout)
    assert re.search(r"all its properties\n(?:.*\n)*?.*pending +│ +│ +194 │", first.stdout)
    page_text = (out / "report.html").read_text(encoding="utf-8")
    assert "not a real place" in page_text
    assert not re.search(r"https?:|<script|src=", page_text)
    for area in report.areas:
        assert f"{area.area_m2:,.0f}" in page_text
        assert f"{area.area_m2:,.0f}" in first.stdout

    second = fresh.run("batch", "--limit", "12", "--again", LABELS="lawn")
    assert "12 properties" in second.stdout
    runs = _json(fresh, "list")
    assert [run["id"] for run in runs] == [report.id + 1, report.id]
    assert _json(fresh, "list", "--county", "sample") == runs
    assert _json(fresh, "list", "--county", "montrose-co") == []
    nowhere = fresh.run("runs", "list", "--county", "nowhere", code=2).stderr
    assert "no county 'nowhere'" in nowhere
    assert "lotline registry list" in nowhere

    # The first report is unchanged, and the second is the latest.
    assert RunReport.model_validate(_json(fresh, "show", str(report.id))) == report
    latest = RunReport.model_validate(_json(fresh, "show"))
    assert (latest.id, latest.settings["labels"]) == (report.id + 1, ["lawn"])
    page = fresh.folder / "page.html"
    assert str(page) in fresh.run("runs", "show", "latest", "--html", str(page)).stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(page.parent.glob("*.part"))

    compared = _json(fresh, "compare", str(report.id), str(latest.id))
    assert {each["setting"] for each in compared["settings"]} == {"labels", "again"}
    assert compared["common_properties"] == report.properties_in("done")
    assert {(each["label"], each["source"]) for each in compared["areas"]} == {
        (area.label, area.source) for area in latest.areas
    }
    assert all(abs(each["difference_m2"]) < 1e-6 for each in compared["areas"])
    shown = fresh.run("runs", "compare", str(report.id), str(latest.id)).stdout
    assert "-0.0" not in shown
    assert "Settings that differ" in shown


def test_unknown_runs_are_errors(fresh: User) -> None:
    fresh.run("batch", "--limit", "1")
    assert "there is no run 99" in fresh.run("runs", "show", "99", code=2).stderr
    assert "there is no run 99" in fresh.run("runs", "compare", "latest", "99", code=2).stderr
    assert "is not a run number" in fresh.run("runs", "show", "the-best", code=2).stderr
    nowhere = fresh.folder / "nowhere" / "page.html"
    done = fresh.run("runs", "show", "--html", str(nowhere), code=2)
    assert f"{nowhere} cannot be written" in done.stderr


def test_an_unwritable_report_does_not_stop_the_batch(fresh: User) -> None:
    out = fresh.folder / "out"
    (out / "report.html").mkdir(parents=True)
    done = fresh.run("batch", "--limit", "2", "--out", str(out), code=3)
    assert "report.html cannot be written" in done.stderr
    assert Path(out, "report.json").exists()
    assert "2 properties" in done.stdout

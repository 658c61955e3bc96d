"""A run's report: the page is self-contained, escapes every text, and agrees with the JSON."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
import shapely
from jinja2 import UndefinedError
from rich.console import Console

from pipeline.cli.summary_tables import print_comparison, print_run, print_runs
from pipeline.report import RunReport, formatting, palette
from pipeline.report import html_page as html_page_module
from pipeline.report.advice import what_to_do
from pipeline.report.comparison import AreaChange, RunComparison
from pipeline.report.html_page import html_page as page_of
from pipeline.report.map_imagery import MapImagery
from pipeline.report.map_panels import padded
from pipeline.report.page_extras import PageExtras
from pipeline.report.run_report import (
    FaultCount,
    HostRequests,
    LabelArea,
    RejectedRow,
    StageTiming,
    StateSummary,
)
from pipeline.report.scale_bar import scale_bar
from pipeline.report.write_report import as_json
from pipeline.store.runs.map_data import GridCell, MapDetection, MapGrid, PlacedLot, RunMap
from pipeline.store.runs.totals import ExampleProperty, SourceCount

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}{% raw %}"
STARTED = datetime(2026, 5, 4, 22, 0, tzinfo=UTC)


def _report(**changes: Any) -> RunReport:
    report = RunReport(
        id=7,
        county="little",
        county_name="Little (synthetic)",
        synthetic=True,
        state="finished",
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=100),
        last_sign_at=STARTED + timedelta(seconds=95),
        took_s=100.0,
        segmenter="spectral-2",
        weights_sha256=None,
        settings={"labels": ["lawn", "pool"], "limit": None, "again": True},
        properties=1_234,
        properties_per_s=12.34,
        counts=(
            StateSummary(state="done", reason="measured", properties=1_200, what_to_do=""),
            StateSummary(
                state="failed", reason="not_found", properties=34,
                what_to_do=what_to_do("failed", "not_found"),
            ),
        ),
        sources=(SourceCount("lot", 1_150), SourceCount("buffer_30m", 50)),
        areas=(
            _area("lawn", "lot", 1_150, 345_678.9),
            _area("lawn", "buffer_30m", 50, 9_876.5),
        ),
        stages=(
            StageTiming(
                stage="segment", calls=4_321, seconds=77.5, p50_s=0.0123, p90_s=0.0345,
                p99_s=0.678, longest_s=1.25,
            ),
            StageTiming(
                stage="write", calls=9, seconds=3.0, p50_s=None, p90_s=None, p99_s=None,
                longest_s=None,
            ),
        ),
        requests=(HostRequests(host="gis.example.gov:443", requests=2_468),),
        encoder_calls=4_444,
        kept_reviews=3,
        faults=(FaultCount(fault="worker lost", times=2),),
        caveats=("Found by spectral-2, a baseline.",),
        examples=(ExampleProperty("p-1", "failed", "not_found", "no such parcel", 34),),
    )  # fmt: skip
    return report.model_copy(update=changes)


def _area(label: str, source: str, properties: int, area_m2: float) -> LabelArea:
    return LabelArea(
        label=label, source=source, properties=properties, detections=2 * properties,
        area_m2=area_m2, area_sqft=area_m2 * 10.7639104,
    )  # fmt: skip


def _hostile() -> tuple[RunReport, RunMap]:
    report = _report(
        county_name=HOSTILE,
        segmenter=HOSTILE,
        state="killed",
        settings={HOSTILE: HOSTILE, "imagery": {"path": HOSTILE}},
        counts=(StateSummary(state=HOSTILE, reason=HOSTILE, properties=1, what_to_do=HOSTILE),),
        sources=(SourceCount(HOSTILE, 1),),
        areas=(_area(HOSTILE, "lot", 1, 1.0), _area(HOSTILE, "buffer_30m", 1, 1.0)),
        requests=(HostRequests(host=HOSTILE, requests=1),),
        faults=(FaultCount(fault=HOSTILE, times=1),),
        examples=(ExampleProperty(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1),),
        imagery_notes=(HOSTILE,),
        county_notes=(HOSTILE,),
        stages=(_report().stages[0].model_copy(update={"stage": HOSTILE}),),
    )
    box = shapely.box(-90.0, 35.0, -89.999, 35.001)
    lot = PlacedLot(HOSTILE, HOSTILE, HOSTILE, HOSTILE, box)
    return report, RunMap(box.bounds, 1, 1, 1, (lot,), (MapDetection(HOSTILE, box),))


class _Reader(HTMLParser):
    """Open elements, all tags and attributes, and the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def html_page(report: RunReport, run_map: RunMap | None) -> str:
    return page_of(report, PageExtras(run_map))


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def _table(report: RunReport) -> str:
    console = Console(width=80, soft_wrap=True, highlight=False, markup=False)
    with console.capture() as capture:
        print_run(console, report)
    return capture.get()


def _grid_map() -> RunMap:
    cells = (
        GridCell(0, 0, {"done": 3_000, "failed": 1_000}, 2_900, {"lawn": 580_000.0}),
        GridCell(3, 2, {"deferred": 5}, 0, {}),
    )
    return RunMap((-90, 35, -89, 36), 4_010, 4_006, 4_005, grid=MapGrid(4, 3, cells))


def test_notes_on_imagery_and_lots_are_shown() -> None:
    report = _report(imagery_notes=("band 4 is a mask",), county_notes=("lots are small",))
    for shown in ("".join(_read(html_page(report, None)).text), _table(report)):
        assert "Imagery: band 4 is a mask" in shown
        assert "Lots: lots are small" in shown
    assert json.loads(as_json(report))["imagery_notes"] == ["band 4 is a mask"]


def test_every_text_is_escaped() -> None:
    report, places = _hostile()
    for drawn in (places, None):
        page = html_page(report, drawn)
        assert "<script" not in page
        assert ">49<" not in page
        assert "&{49}" not in page
        read = _read(page)
        assert not read.tags & {"script", "iframe", "object", "img", "link", "a", "form"}
        assert not [name for name in read.attributes if name.startswith("on")]
        assert HOSTILE in "".join(read.text)


@pytest.mark.parametrize("text", ["<script>", "{{ 7*7 }}", "{% raw %}", "{# note #}", "<!--"])
def test_a_property_id_is_shown_literally(text: str) -> None:
    example = ExampleProperty(text, "failed", "not_found", "no such parcel", 34)
    box = shapely.box(-90.0, 35.0, -89.999, 35.001)
    lot = PlacedLot(text, "done", "measured", "lot", box)
    run_map = RunMap(box.bounds, 1, 1, 1, (lot,), (MapDetection(text, box),))
    read = _read(html_page(_report(examples=(example,)), run_map))
    shown = [cell.strip() for cell in read.text]
    assert text in shown  # the table of examples and the legend
    assert f"{text}: done (measured), lot" in shown


def test_a_missing_template_value_is_an_error() -> None:
    template = html_page_module._templates().get_template("run.html.jinja")
    with pytest.raises(UndefinedError, match="report"):
        template.render()


def test_the_page_loads_nothing() -> None:
    read = []
    for drawn in (None, _hostile()[1], _grid_map()):
        page = html_page(_report(), drawn)
        assert not re.findall(r"https?:|//\w|url\(|@import|src=|href=|xlink", page)
        read.append(_read(page))
    assert all("svg" in reader.tags for reader in read[1:])
    assert "default-src 'none'" in html_page(_report(), None)


def test_json_table_and_page_agree() -> None:
    report = _report()
    assert RunReport.model_validate_json(as_json(report)) == report
    seen = {"html_page": " ".join(_read(html_page(report, None)).text), "table": _table(report)}
    for where, text in seen.items():
        for number in (
            "1,200", "34", "1,150", "50",  # counts and sources
            "345,679", "9,876", "3,720,857", "106,310",  # m² and sq ft, lots and buffers apart
            "4,321", "77.5 s", "12 ms", "34 ms", "678 ms", "1.2 s",  # a stage
            "2,468", "4,444", "gis.example.gov:443", "worker lost", "3 findings", "12.3",
        ):  # fmt: skip
            assert number in text, f"{number} in the {where}"
        # The sum of lots and buffers is nowhere.
        assert "355,555" not in text


def test_tables_fit_a_terminal_of_80_columns() -> None:
    assert max(len(line) for line in _table(_report()).splitlines() if line[0] in "┏┃│└") <= 80
    console = Console(width=80, soft_wrap=True, highlight=False, markup=False)
    with console.capture() as capture:
        print_runs(console, [_report(state="interrupted", county="claremont")])
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    [line] = [line for line in lines if "2026-05-04 22:00" in line]
    assert line.split() == [
        "7", "claremont", "2026-05-04", "22:00", "interrupted", "spectral-2", "100", "s", "1,234",
        "12.3", "34",
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["running", "interrupted", "failed", "killed"])
def test_the_end_of_a_run(state: str) -> None:
    report = _report(state=state)
    said = formatting.run_end_note(state, report.settings)
    assert said in _table(report)
    text = " ".join(_read(html_page(report, None)).text)
    assert said in text
    assert ("Last heartbeat: 2026-05-04 22:01:35 UTC" in text) == (state == "killed")


@pytest.mark.parametrize("state", ["interrupted", "failed", "killed"])
def test_a_restart_is_resumed_without_its_flags(state: str) -> None:
    assert "the same command resumes" in formatting.run_end_note(state, {"again": False})
    assert "command without AGAIN=1 resumes" in formatting.run_end_note(state, {"again": True})
    both = formatting.run_end_note(state, {"again": True, "retry_failed": True})
    assert "command without AGAIN=1 and RETRY_FAILED=1 resumes" in both


def test_unknown_values_of_a_killed_run_are_not_shown_as_zero() -> None:
    killed = _report(state="killed", took_s=0.0, properties=0, properties_per_s=0.0, counts=())
    console = Console(width=80, soft_wrap=True, highlight=False, markup=False)
    with console.capture() as capture:
        print_runs(console, [killed])
    assert capture.get().splitlines()[-1].split()[-4:] == ["-", "0", "-", "0"]
    assert "Run 7 of Little (synthetic): 0 properties.\n" in _table(killed)
    text = " ".join(_read(html_page(killed, None)).text)
    assert "Started 2026-05-04 22:00:00 UTC. Found by" in text
    assert "0.0 ms" not in text
    assert "0.000" not in text


def test_reviewed_findings_are_counted() -> None:
    for report, said in (
        (_report(kept_reviews=1), "1 finding matched reviewed detections"),
        (_report(kept_reviews=2), "2 findings matched reviewed detections"),
    ):
        assert said in _table(report)
        assert said in html_page(report, None)


def test_a_comparison_says_when_a_difference_may_be_of_reviewers() -> None:
    area = AreaChange(
        label="roof", source="lot", a_properties=1, b_properties=1, a_m2=100.0, b_m2=66.0,
        difference_m2=-34.0, difference_percent=-34.0,
    )  # fmt: skip
    for kept, is_said in ((0, False), (55, True)):
        comparison = RunComparison(
            a=_report(kept_reviews=0), b=_report(kept_reviews=kept), settings=(), counts=(),
            common_properties=1, areas=(area,), stages=(),
        )  # fmt: skip
        console = Console(width=80, color_system=None)
        with console.capture() as capture:
            print_comparison(console, comparison)
        said = " ".join(capture.get().split())
        assert ("B: 55 findings matched reviewed detections" in said) == is_said
        assert ("a difference may be their corrections" in said) == is_said


def test_skipped_csv_rows() -> None:
    settings = {
        "rows_left_out": 1_003,
        "rejected_file": "out/little/rejected.csv",
        "properties_understood": "Read leads.csv: UTF-8, tabs; <b> → property_id",
    }
    page = html_page(_report(settings=settings), None)
    assert "Read leads.csv: UTF-8, tabs; &lt;b&gt; → property_id." in page
    assert "All of them are in out/little/rejected.csv" in page
    page = html_page(_report(settings={"rows_left_out": 1_003}), None)
    assert "rejected.csv" not in page
    assert "skipped and not counted here: 1,003." in page
    assert "rows of the CSV" not in html_page(_report(settings={"rows_left_out": 0}), None)


def test_a_synthetic_county_is_marked() -> None:
    assert "not a real place" in html_page(_report(), None)
    assert "not a real place" not in html_page(_report(synthetic=False), None)


def test_a_run_without_properties_has_a_page() -> None:
    nothing = _report(
        properties=0, properties_per_s=0.0, counts=(), sources=(), areas=(), stages=(),
        requests=(), faults=(), examples=(), took_s=0.0,
    )  # fmt: skip
    assert "No properties processed." in html_page(nothing, None)
    assert "0 properties" in _table(nothing)


def test_a_grid_map_has_the_counts_of_its_cells() -> None:
    page = html_page(_report(properties=4_020), _grid_map())
    read = " ".join(_read(page).text)
    assert "3,000 done, 1,000 failed" in read
    assert "200 m² per lot" in read
    assert "4,005 of 4,020 properties are shown." in read
    assert "Reprocessed by a later run: 10." in read
    assert "Without a known location: 4. Too far from the others to show: 1." in read
    # A degree of longitude at 35.5° north, in four.
    assert "23,000 m (74,000 ft) wide" in read
    assert page.count('<rect class="failed"') + page.count('height="1" class="failed"') == 1


def test_a_legend_swatch_is_drawn_like_the_map() -> None:
    box = shapely.box(-90.0, 35.0, -89.999, 35.001)
    lots = tuple(
        PlacedLot(f"p-{state}", state, "", source, box if source else box.centroid)
        for state, source in (("done", "lot"), ("failed", "lot"), ("failed", None))
    )
    page = html_page(_report(), RunMap(box.bounds, 3, 3, 3, lots, (MapDetection("lawn", box),)))
    [legend] = re.findall(r'<div class="legend"><span><svg.*?</div>', page, re.DOTALL)
    assert re.findall(r'<path d="\S[^"]*" class="(.*?)"', legend) == [
        "done lot", "failed lot", "point failed", "thing",
    ]  # fmt: skip
    assert ">failed, no boundary<" in legend.replace("\n", "")


def test_a_map_has_a_scale_bar_in_metres_and_feet() -> None:
    box = shapely.box(-90.0, 35.0, -89.999, 35.001)  # 91 m by 111 m
    lot = PlacedLot("p", "done", "measured", "lot", box)
    page = html_page(_report(), RunMap(box.bounds, 1, 1, 1, (lot,), ()))
    width, bars = (
        re.search(pattern, page)
        for pattern in (r'viewBox="0 0 (\d+)', r'd="M.*?H(\S+?)V.*?M(\S+) .*?H(\S+?)V')
    )
    assert width is not None
    assert bars is not None
    metres, begin, feet = map(float, bars.groups())
    west, _, east, _ = padded(box.bounds)
    units_per_m = float(width[1]) / ((east - west) * 91_300)
    assert (metres - begin) / units_per_m == pytest.approx(20, rel=0.01)
    assert (feet - begin) / units_per_m == pytest.approx(100 * 0.3048, rel=0.01)
    assert ">20 m<" in page
    assert ">100 ft<" in page


@pytest.mark.parametrize(
    ("max_m", "labels"),
    [(0.9, ("0.5 m", "2 ft")), (26, ("20 m", "50 ft")), (1_500, ("1 km", "2000 ft")),
     (3_400, ("2 km", "2 mi"))],
)  # fmt: skip
def test_a_scale_bar_has_round_lengths(max_m: float, labels: tuple[str, str]) -> None:
    assert tuple(label.text for label in scale_bar(0, 0, max_m, 1, 9).labels) == labels


def test_advice_is_shown_where_there_is_some() -> None:
    done = _report().counts[:1]
    assert "what to do" in html_page(_report(), None)
    assert "what to do" not in html_page(_report(counts=done), None)


def test_every_reason_that_is_retried_has_advice() -> None:
    from pipeline.store.queue.retry_policy import RULES

    for rule in RULES:
        for reason in rule.reasons or ("",):
            assert what_to_do(rule.state, reason)
    assert what_to_do("done", "measured") == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0.0 ms"), (0.00123, "1.2 ms"), (0.0123, "12 ms"), (0.9499, "950 ms"), (0.96, "1.0 s"),
     (99.4, "99.4 s"), (99.6, "100 s"), (5_900, "98 min"), (45_000, "12 h 30 min")],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert formatting.duration(seconds) == said


def test_a_label_has_one_colour_in_every_picture() -> None:
    box = shapely.box(-90.0, 35.0, -89.999, 35.001)
    lot = PlacedLot("p", "done", "measured", "lot", box)
    for label in (*palette.LABEL_COLOURS, "solar panel"):
        colour = palette.label_colour(label)
        drawn = RunMap(box.bounds, 1, 1, 1, (lot,), (MapDetection(label, box),))
        page = html_page(_report(areas=(_area(label, "lot", 1, 1.0),)), drawn)
        assert page.count(colour) == 3  # the bar, the map and its legend
    colours = [*palette.LABEL_COLOURS.values(), *palette.OTHER_LABEL_COLOURS]
    assert len({*colours}) == len(colours)


def test_embedded_imagery_is_all_that_the_page_contains() -> None:
    from test_map_panels import Imagery

    box = shapely.box(-90.0, 35.0, -89.999, 35.001)
    lot = PlacedLot("p", "done", "measured", "lot", box)
    extras = PageExtras(RunMap(box.bounds, 1, 1, 1, (lot,)), MapImagery(Imagery(east=0)))
    page = page_of(_report(), extras)
    assert page.count("data:image/jpeg;base64,") == 1
    rest = re.sub(r'href="data:image/jpeg;base64,[^"]*"', "", page)
    assert not re.findall(r"https?:|//\w|url\(|@import|src=|href=|xlink", rest)
    assert "img-src data:" in page
    assert "image" in _read(page).tags


def test_rejected_rows_and_properties_without_a_result_are_listed() -> None:
    rejected = tuple(RejectedRow(line=i, problem=f"wrong {i}") for i in range(2, 22))
    report = _report(
        rejected_rows=rejected, settings={"rows_left_out": 50, "rejected_file": "out/rejected.csv"}
    )
    failed = ExampleProperty("p-9", "failed", "not_found", "no <such> parcel", 300)
    done = ExampleProperty("p-2", "done", "measured", "the id was not found", 1)
    report = report.model_copy(update={"examples": (*report.examples, done)})
    page = page_of(report, PageExtras(without_result=[failed]))
    read = " ".join(_read(page).text)
    assert "The first 20 of 50; out/rejected.csv has all." in read
    assert "wrong 21" in read
    assert "The first 1 of 300; lotline export writes all of them into errors.csv." in read
    assert "no <such> parcel" in read
    assert "the id was not found" in read
    assert "p-1" not in read, "examples of what is listed in full are left out"
    assert RunReport.model_validate_json(as_json(report)) == report


def test_the_latency_chart_names_its_quantiles() -> None:
    text = " ".join(_read(html_page(_report(), None)).text)
    assert "p50 12 ms, p90 34 ms, p99 678 ms" in text
    assert "p90: 90 % of them" in text

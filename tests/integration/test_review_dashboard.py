"""The dashboard in a real browser, over a real PostGIS: figures, charts, tables and PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lots import COUNTY
from PIL import Image
from reviewers import PAGE, Reviewer
from servers.panel import panel
from sqlalchemy import Connection, text
from test_review_dashboard_api import decide_at, store_detections

from pipeline.store.database import Database
from pipeline.store.reviews import audit_answers, audit_samples, verdicts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FIGURES = ("properties", "progress", "outcomes", "precision", "areas", "calibration", "agreement")
ACCEPTED, REJECTED = (0x0B, 0x6E, 0x5F), (0xA8, 0x32, 0x1F)


def _review(conn: Connection, ids: list[int]) -> None:
    """Twelve of twenty lawns: seven accepted, one with another label, four rejected."""
    for detection in ids[:7]:
        verdicts.accept(conn, detection, "ann")
    verdicts.relabel(conn, ids[7], "ann", "meadow")
    for detection in ids[8:12]:
        verdicts.reject(conn, detection, "ann")


def _work(conn: Connection, detection: int) -> None:
    """Three sessions of ann, with a decision about every ten seconds."""
    for session, gap_s in enumerate((9, 10, 11)):
        begin = datetime.now(UTC) - timedelta(days=2, hours=3 * session)
        for number in range(21):
            decide_at(conn, detection, "ann", begin + timedelta(seconds=gap_s * number))


def _audit(conn: Connection) -> None:
    audit_samples.start_sample(conn, COUNTY, "ann", per_stratum=50, second_fraction=0.1)
    items = conn.execute(text("SELECT id, needs_second FROM lotline.audit_item ORDER BY id")).all()
    for number, item in enumerate(items):
        verdict: Any = "wrong" if number % 5 == 0 else "correct"
        audit_answers.answer(conn, item.id, "ann", verdict)
        if item.needs_second:
            audit_answers.answer(conn, item.id, "bob", verdict)


class DashboardReviewer(Reviewer):
    """A browser on the dashboard of a county with twenty lawns."""

    def open(self) -> None:
        self.page.goto(f"{self.address}/dashboard")
        self.page.reload()
        self.wait_until("document.querySelector('#status').innerText.startsWith('as of')")

    def number(self, name: str) -> str:
        """The number with this name, and what is said of it."""
        found = self.page.locator(f"#numbers > div:has(dt:text-is('{name}'))").inner_text()
        return " ".join(str(found).split("\n")[1:])

    def table(self, figure: str) -> list[list[str]]:
        rows = self.page.query_selector_all(f"#{figure} tbody tr")
        return [[cell.text_content() for cell in row.query_selector_all("th, td")] for row in rows]

    def texts(self, figure: str) -> list[str]:
        """What is written in a chart."""
        return [each.text_content() for each in self.page.query_selector_all(f"#{figure} svg text")]

    def png(self, figure: str, folder: Path) -> np.ndarray:
        with self.page.expect_download() as download:
            self.page.click(f"#{figure} .png")
        assert download.value.suggested_filename == f"lotline-{figure}.png"
        path = folder / f"{figure}.png"
        download.value.save_as(path)
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            return np.asarray(picture.convert("RGB")).astype(int)


@pytest.fixture
def dashboard(database: Database, tmp_path: Path, browser: Any) -> Iterator[DashboardReviewer]:
    with database.engine.begin() as conn:
        ids = store_detections(conn, 20)
        _review(conn, ids)
    with panel(database, tmp_path) as address:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        found = DashboardReviewer(page, database, address, (0, 0))
        found.open()
        yield found
        context.close()
        assert faults == []


def test_what_is_not_known_is_said_to_be_not_known(dashboard: DashboardReviewer) -> None:
    page = dashboard.page
    assert dashboard.number("Decided").startswith("12 ")
    assert dashboard.number("Undecided").startswith("8 ")
    assert "not known yet: needs 30 timed reviews" in dashboard.number("Reviewer-hours left")
    for figure in ("precision", "areas", "calibration", "agreement"):
        assert "Not known" in page.inner_text(f"#{figure}")
        assert page.query_selector(f"#{figure} svg") is None
        assert page.query_selector(f"#{figure} .png") is None


def test_the_charts_have_the_figures_of_their_tables(dashboard: DashboardReviewer) -> None:
    assert dashboard.table("outcomes") == [
        ["lawn", "7 (58 %)", "0 (0 %)", "1 (8 %)", "4 (33 %)"]
    ]  # fmt: skip
    assert {"7", "1", "4", "n = 12", "0 %", "100 %"} <= set(dashboard.texts("outcomes"))
    with dashboard.database.engine.begin() as conn:
        _audit(conn)
    dashboard.open()
    [precision] = dashboard.table("precision")
    assert precision[0] == "lawn"
    assert precision[1].startswith("80 % (")
    assert precision[1].endswith("n = 20")
    assert precision[1] in dashboard.texts("precision")
    assert dashboard.table("agreement")[0][1] == "too few (n = 2)"
    assert dashboard.page.query_selector("#agreement circle") is None, "too few for a dot"


def test_shares_of_few_are_not_shown(dashboard: DashboardReviewer) -> None:
    with dashboard.database.engine.begin() as conn:
        for row in conn.execute(text("SELECT id FROM lotline.review WHERE action = 'accept'")):
            conn.execute(
                text(
                    "INSERT INTO lotline.review (detection_fk, action, reviewer, undoes) "
                    "SELECT detection_fk, 'undo', 'ann', id FROM lotline.review WHERE id = :id"
                ),
                {"id": row.id},
            )
        conn.execute(
            text("UPDATE lotline.detection SET state = 'proposed' WHERE review_fk IS NULL")
        )
    dashboard.open()
    assert dashboard.table("outcomes") == [["lawn", "0", "0", "1", "4"]]
    assert "too few to show shares" in dashboard.texts("outcomes")
    assert dashboard.number("Undecided").startswith("15 ")


def test_hours_left_are_a_range(dashboard: DashboardReviewer) -> None:
    with dashboard.database.engine.begin() as conn:
        _work(conn, conn.execute(text("SELECT max(id) FROM lotline.detection")).scalar_one())
    dashboard.open()
    speed = dashboard.number("Reviews an hour")
    assert speed.startswith("360 ")
    assert "95 %" in speed
    assert "95 % interval" in dashboard.number("Reviewer-hours left")
    assert "reviews an hour" in dashboard.texts("pace-day")
    assert sum(int(row[2]) for row in dashboard.table("pace-day")) == 63 + 12


@pytest.mark.parametrize("width", [1200, 390])
def test_a_chart_is_saved_as_png_with_its_title_and_colours(
    dashboard: DashboardReviewer, tmp_path: Path, width: int
) -> None:
    dashboard.page.set_viewport_size({"width": width, "height": 900})
    drawn = "document.querySelector('#outcomes svg').width.baseVal.value"
    dashboard.wait_until(f"Math.abs({drawn} - document.querySelector('#outcomes').clientWidth) < 2")
    inner = dashboard.page.evaluate(drawn)
    pixels = dashboard.png("outcomes", tmp_path)
    height, png_width, _ = pixels.shape
    assert png_width == 2 * (inner + 32)
    assert height > 300
    assert (pixels[:10] == 255).all(), "white, not transparent"
    areas = {
        colour: int((np.abs(pixels - colour).max(axis=2) < 6).sum())
        for colour in (ACCEPTED, REJECTED)
    }
    # Seven accepted ones, four rejected ones; legends and numbers take a little.
    assert areas[ACCEPTED] / areas[REJECTED] == pytest.approx(7 / 4, rel=0.1)
    title = pixels[2 * 16 : 2 * 40]
    assert (title < 80).all(axis=2).any(), "the title is written"


def test_a_saved_picture_says_whose_figures_it_has(dashboard: DashboardReviewer) -> None:
    page = dashboard.page
    # What the picture is drawn from: the browser makes pixels of it.
    page.evaluate(
        """() => {
            const make = URL.createObjectURL.bind(URL);
            window.drawn = [];
            URL.createObjectURL = (blob) => {
                if (blob.type.startsWith('image/svg')) window.drawn.push(blob.text());
                return make(blob);
            };
        }"""
    )

    def saved(figure: str) -> str:
        with page.expect_download():
            page.click(f"#{figure} .png")
        return str(
            page.evaluate("""async () => {
            const text = await window.drawn.at(-1);
            const picture = new DOMParser().parseFromString(text, 'image/svg+xml');
            return [...picture.querySelectorAll('text')].map((each) => each.textContent).join(' ');
        }""")
        )

    def answer_as_synthetic(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "synthetic": True})

    outcomes = saved("outcomes")
    assert f"county {COUNTY} · measured by synthetic · as of 20" in outcomes
    assert "n = 12 decided detections" in outcomes
    assert "not a real place" not in outcomes
    with dashboard.database.engine.begin() as conn:
        _audit(conn)
    page.route("**/dashboard", answer_as_synthetic)
    page.click("#refresh")
    dashboard.wait_for("#precision .png")
    precision = saved("precision")
    assert "synthetic, not a real place" in precision
    assert "n = 20 audited detections" in precision
    assert "n = 20 detections" in saved("progress")


def test_charts_fit_a_phone_and_paper(dashboard: DashboardReviewer, tmp_path: Path) -> None:
    page = dashboard.page
    odd = "<b>a very long label of vegetation that nobody has \x01 mown since the spring</b>"
    with dashboard.database.engine.begin() as conn:
        _audit(conn)
        copied = (
            "property_fk, boundary_fk, run_fk, chip_sha256, prompt, segmenter, score, relation, "
            "geom, area_m2, clipped_area_m2, whole_area_m2"
        )
        conn.execute(
            text(
                f"INSERT INTO lotline.detection (label, fingerprint, {copied}) "
                f"SELECT :label, 'odd', {copied} FROM lotline.detection LIMIT 1"
            ),
            {"label": odd},
        )
    page.set_viewport_size({"width": 390, "height": 844})
    dashboard.open()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = """() => [...document.querySelectorAll('svg')].flatMap((svg) => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter((each) => {
            const own = each.getBoundingClientRect();
            return own.left < frame.left - 1 || own.right > frame.right + 1;
        }).map((each) => each.textContent);
    })"""
    assert page.evaluate(outside) == []
    assert any(each.startswith("<b>a very") for each in dashboard.texts("progress"))
    assert (dashboard.png("progress", tmp_path) < 80).any(), "with what XML cannot hold"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("document.querySelectorAll('details[open]').length") >= len(FIGURES)
    assert page.evaluate("document.querySelector('#outcomes svg').width.baseVal.value") == 640
    assert not page.is_visible(".png")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_figures_that_cannot_be_read_are_not_those_of_before(dashboard: DashboardReviewer) -> None:
    page = dashboard.page
    page.route("**/dashboard", lambda route: route.abort())
    page.click("#refresh")
    dashboard.wait_for_status("the figures cannot be shown")
    assert page.query_selector("#figures svg") is None
    assert page.inner_text("#numbers") == ""
    page.unroute("**/dashboard")
    page.click("#refresh")
    dashboard.wait_for("#outcomes svg")


def test_the_pages_lead_to_each_other(dashboard: DashboardReviewer) -> None:
    page = dashboard.page
    page.click("nav >> text=Contact sheet")
    dashboard.wait_for("#tiles .tile")
    page.click("nav >> text=Panel")
    dashboard.wait_for("#objects li")
    page.click("nav >> text=Dashboard")
    dashboard.wait_for("#outcomes svg")


@pytest.mark.parametrize("width", [1200, 390])
def test_axe_finds_no_serious_fault(dashboard: DashboardReviewer, width: int) -> None:
    page = dashboard.page
    with dashboard.database.engine.begin() as conn:
        _audit(conn)
    page.set_viewport_size({"width": width, "height": 900})
    dashboard.open()
    page.eval_on_selector_all("details", "all => all.forEach((each) => { each.open = true; })")
    source = PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    page.evaluate(source.read_text())
    found = page.evaluate("() => axe.run().then((report) => report.violations)")
    serious = [
        (each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    for figure in FIGURES:
        chart = page.query_selector(f"#{figure} svg")
        assert chart.get_attribute("role") == "img"
        assert len(chart.get_attribute("aria-label")) > 20

"""Reviews of measured counties in a real browser, synthetic and real, beside batches."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shapely
from sqlalchemy import create_engine, text
from user import LOTLINE, User

from parcels.measure import iou

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PAGE = Path(__file__).parents[2] / "pipeline" / "review" / "page" / "built" / "panel.js"
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update",
)  # fmt: skip
DECISIONS = 24

_DECIDED = """
SELECT d.id, d.property_fk, d.label, d.state, d.version, r.action, ST_AsBinary(d.geom) AS geom
FROM lotline.detection d JOIN lotline.review r ON r.id = d.review_fk ORDER BY d.id
"""
_PROPOSED = """
SELECT property_fk, label, ST_AsBinary(geom) AS geom FROM lotline.detection
WHERE state = 'proposed'
"""


@pytest.fixture(params=["sample", pytest.param("claremont", marks=pytest.mark.long)])
def county(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The arguments that name a county."""
    if request.param == "sample":
        return ("--county", "sample")
    registry = request.getfixturevalue("real_registry")
    return ("--county", request.param, "--registry", str(registry))


def test_what_people_decide_stands_while_batches_run(fresh: User, county: tuple[str, ...]) -> None:
    if CHROMIUM is None or not PAGE.is_file():
        pytest.skip("chromium or the built page is missing: sh scripts/build_page.sh")
    fresh.run("batch", *county)
    with _panel(fresh) as address, _page(f"{address}#") as page:
        _review(page, DECISIONS // 2)
        again = subprocess.Popen(
            [str(LOTLINE), "batch", "--segmenter", "spectral", *county, "--again"],
            cwd=fresh.folder, env=fresh.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        _review(page, DECISIONS // 2)
        said, _ = again.communicate(timeout=300)
        assert again.returncode == 0, said
        _wait_until_saved(page)
    before = _rows(fresh, _DECIDED)
    assert len(before) >= DECISIONS // 2
    assert {row.action for row in before} >= {"accept", "reject"}
    fresh.run("batch", *county, "--again")
    after = _rows(fresh, _DECIDED)
    assert after == before
    _assert_nothing_is_back(before, _rows(fresh, _PROPOSED))


def _assert_nothing_is_back(decided: list[Any], proposed: list[Any]) -> None:
    """No proposal is the object of a decision."""
    for found in proposed:
        outline = shapely.from_wkb(found.geom)
        for row in decided:
            if (row.property_fk, row.label) == (found.property_fk, found.label):
                assert iou(outline, shapely.from_wkb(row.geom)) < 0.5


def _review(page: Any, count: int) -> None:
    """Accept and reject objects by keyboard, in turn, over several properties."""
    for number in range(count):
        page.wait_for_selector("#objects li")
        if number % 3 == 2:
            page.keyboard.press("r")
            page.wait_for_selector("dialog.question[open]")
            page.keyboard.type("not there")
            page.keyboard.press("Enter")
            page.wait_for_selector("dialog.question", state="detached")
        else:
            page.keyboard.press("a")
        if number % 2:
            title = page.inner_text("#title")
            page.keyboard.press("w")
            page.wait_for_function(
                "before => document.querySelector('#title').innerText != before", arg=title
            )


def _wait_until_saved(page: Any) -> None:
    page.wait_for_function("() => document.querySelector('#waiting').innerText === ''")


def _rows(user: User, query: str) -> list[Any]:
    url = user.run("db", "url").stdout.strip()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as conn:
        found = list(conn.execute(text(query)))
    engine.dispose()
    return found


@contextmanager
def _panel(user: User) -> Iterator[str]:
    """`lotline review` in its own process; yields its address."""
    serving = subprocess.Popen(
        [str(LOTLINE), "review", "--port", "0"],
        cwd=user.folder, env=user.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serving.stdout is not None
    with serving.stdout as said:
        address = re.search(r"http://127\.0\.0\.1:\d+/", said.readline())
        assert address is not None
        try:
            yield address[0]
        finally:
            serving.terminate()
            serving.wait(60)


@contextmanager
def _page(address: str) -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
        assert faults == []

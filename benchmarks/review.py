"""The review panel with 100,000 detections: clients at once, a scripted reviewer, the bundle."""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.commands import ROOT
from benchmarks.results import Result, save
from benchmarks.review_browser import EDITS, PROPERTIES, browser_figures
from benchmarks.review_county import LOTS, ServedCounty, figures, served_county
from benchmarks.review_load import COUNTY, PanelClient
from benchmarks.synthetic_lots import THINGS

CLIENTS = 8
PACE_S = 4.0
PROPERTIES_EACH = 25
REPEATS = 40
BUILT = ROOT / "pipeline" / "review" / "page" / "built"
_GOALS_MS = {"imagery tile": 50, "vector tile": 50, "property": 60, "save": 100}
_BUNDLE_GOAL_KB = 250


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with served_county(folder) as county:
            alone = _load(county, 1, 0, 0)
            paced = _load(county, CLIENTS, PACE_S, 1)
            at_once = _load(county, CLIENTS, 0, 2)
            others = _other_requests(county)
            reviewer = browser_figures(county)
    save(_requests(alone, paced, at_once))
    save(_views(others))
    save(_page(reviewer))


def _load(county: ServedCounty, clients: int, pace_s: float, part: int) -> dict[str, list[float]]:
    """Milliseconds of requests about properties of the county that nobody has opened."""
    count = clients * PROPERTIES_EACH
    first = 2_000 + part * 7_000
    keys = county.keys[first : first + 29 * count : 29]
    command = [sys.executable, "-m", "benchmarks.review_load", county.address]
    return figures([*command, str(clients), str(pace_s), *map(str, keys)])


def _other_requests(county: ServedCounty) -> dict[str, list[float]]:
    """Milliseconds of what a reviewer asks for now and then, by one client."""
    client = PanelClient(county.address)
    holder = {"holder": "a-benchmark", "county": COUNTY}
    key = {"Idempotency-Key": "a-sample-of-the-benchmark"}
    sample = {"county": COUNTY, "per_stratum": 50}
    client.timed("audit: draw a sample of 50 for each stratum", "POST",
                 "/v1/review/audit/samples", json=sample, headers=key)  # fmt: skip
    after = ""
    for _ in range(REPEATS):
        path = f"/v1/review/sheet?county={COUNTY}&label=lawn&state=proposed&limit=60{after}"
        page = client.timed("contact sheet: a page of 60", "GET", path).json()
        after = f"&after={page['next']}" if page.get("next") else ""
        for each in page["items"][:2]:
            client.timed("contact sheet: a picture", "GET", f"/tiles/detections/{each['id']}.webp")
        for queue in ("teaching", "audit"):
            path = f"/v1/review/queues/{queue}/next"
            client.timed(f"{queue}: next property", "POST", path, json=holder)
    for _ in range(REPEATS // 10):
        client.timed("dashboard", "GET", f"/v1/review/counties/{COUNTY}/dashboard")
    return client.taken_ms


def _views(taken_ms: dict[str, list[float]]) -> Result:
    first, *later = taken_ms["teaching: next property"]
    rows = [
        [what, str(len(each)), _p50_p95(later if what == "teaching: next property" else each)]
        for what, each in taken_ms.items()
    ]
    return Result(
        name="review_views",
        order=72,
        title=f"Queues, contact sheet and dashboard with {LOTS * len(THINGS):,} detections",
        command="python -m benchmarks review",
        columns=["request", "times", "p50 / p95"],
        rows=rows,
        notes=[
            "One client. The first request for a teaching property after a run scores detections "
            f"for up to a second, and took {first:,.0f} ms; it is not among the others.",
        ],
    )


def _requests(*loads: dict[str, list[float]]) -> Result:
    alone, paced, at_once = loads
    rows = [
        [
            what,
            f"{_GOALS_MS[what]} ms" if what in _GOALS_MS else "",
            *(_p50_p95(load[what]) for load in (alone, paced, at_once)),
        ]
        for what in ("property", "imagery tile", "vector tile", "save", "next property")
    ]
    return Result(
        name="review",
        order=70,
        title=f"The review panel with {LOTS * len(THINGS):,} detections",
        command="python -m benchmarks review",
        columns=[
            "request",
            "goal for p95",
            "one client, p50 / p95",
            f"{CLIENTS} clients, a property every {PACE_S:g} s each",
            f"{CLIENTS} clients without a pause",
        ],
        rows=rows,
        notes=[
            f"Synthetic lots and imagery. Each client opens {PROPERTIES_EACH} properties as a "
            "browser does: the property, imagery tiles (zoom 19), vector tiles (zoom 16), a "
            "decision about each of four objects, the next property. Server, database and "
            "clients share the machine's cores. Nothing is cached: no tile is asked for twice.",
        ],
    )


def _page(found: dict[str, list[float]]) -> Result:
    scripts = sorted(BUILT.glob("*.js"))
    size_kb = {path.name: len(gzip.compress(path.read_bytes())) / 1000 for path in scripts}
    rows = [
        ["key press to next property drawn", "300 ms", _p50_p95(found["next property drawn"])],
        ["accept, by key, until saved", "1,000 ms", _p50_p95(found["accept"])],
        ["edit: three vertices dragged, until saved", "10,000 ms", _p50_p95(found["edit"])],
        ["begin to edit 7,558 vertices", "", f"{found['outline: start_ms'][0]:.0f} ms"],
        ["move a vertex of 7,558", "33 ms",
         f"{found['outline: move_p50_ms'][0]:.1f} / {found['outline: move_p95_ms'][0]:.1f} ms"],
        *([f"{name}, gzipped", f"{_BUNDLE_GOAL_KB} KB", f"{size:.0f} KB"]
          for name, size in size_kb.items()),
    ]  # fmt: skip
    return Result(
        name="review_page",
        order=71,
        title="The page of the review panel",
        command="python -m benchmarks review",
        columns=["what a reviewer waits for", "goal", "p50 / p95"],
        rows=rows,
        notes=[
            f"A script in headless Chromium without a GPU, {PROPERTIES} properties and {EDITS} "
            "edits: the seconds of an accept and an edit are those of the machine, without a "
            "person's. Moves are from the mouse's event to after the frame that shows it.",
        ],
    )


def _p50_p95(taken_ms: list[float]) -> str:
    p50, p95 = np.percentile(taken_ms, [50, 95])
    return f"{p50:,.0f} / {p95:,.0f} ms"

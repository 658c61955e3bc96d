"""`SEGMENTER=sam3-tiny` and `sam3` as a user runs them, and their errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas
import numpy as np
import pytest
from user import User

from detection.results import FULL_COVERAGE_FRACTION
from detection.sample import load, true_areas_m2


def test_the_sample_county_with_the_tiny_sam3(fresh: User) -> None:
    done = fresh.run("batch", SEGMENTER="sam3-tiny")
    assert re.search(
        r"CPU.*: [\d.]+ (chips a second|s a chip) with 6 prompts; about \d+ chips, .+ left",
        done.stderr,
    ), done.stderr
    assert "Found by sam3-tiny-1, a small SAM3 trained on synthetic" in done.stdout

    fresh.run("export", "--out", "results")
    results = geopandas.read_parquet(fresh.folder / "results" / "properties.parquet")
    whole = (results["source"] == "lot") & (results["coverage_fraction"] >= FULL_COVERAGE_FRACTION)
    measured = results[whole].drop_duplicates("parcel_ids").set_index("parcel_ids")
    assert len(measured) > 150
    truth = load(Path(fresh.env["LOTLINE_HOME"]) / "sample" / "2026-200").truth
    for label, max_total_error, max_median_error in (
        ("lawn", 0.08, 0.1),
        ("roof", 0.08, 0.12),
        ("pool", 0.15, 0.2),
    ):
        true = true_areas_m2(truth, label)
        lots = [lot for lot in measured.index if lot in true]
        found_m2 = measured.loc[lots, f"{label}_m2"].to_numpy()
        true_m2 = np.array([true[lot] for lot in lots])
        assert abs(found_m2.sum() / true_m2.sum() - 1) < max_total_error, label
        not_tiny = true_m2 > 15
        assert (
            np.median(np.abs(found_m2 - true_m2)[not_tiny] / true_m2[not_tiny]) < max_median_error
        ), label

    assert fresh.status()["segmenters"] == ["sam3-tiny-1"]
    areas = fresh.status()["areas"]
    assert {area["label"] for area in areas} == {
        "lawn", "tree", "driveway", "roof", "pool", "vegetation",
    }  # fmt: skip
    assert "Nothing to do" in fresh.run("batch", SEGMENTER="sam3-tiny").stdout
    assert fresh.status()["areas"] == areas


def test_a_custom_label_adds_a_column(fresh: User) -> None:
    fresh.run(
        "batch", "--segmenter", "sam3-tiny", "--limit", "4", "--labels", "lawn",
        LABEL="trampoline=round backyard trampoline; basin=swimming pool",
    )  # fmt: skip
    areas = {area["label"]: area for area in fresh.status()["areas"] if area["source"] == "lot"}
    assert areas.keys() == {"lawn", "trampoline", "basin"}
    # There are no trampolines: zero, not a missing row.
    assert (areas["trampoline"]["detections"], areas["trampoline"]["area_m2"]) == (0, 0)
    fresh.run("export", "--out", "results", "--format", "csv")
    columns = (fresh.folder / "results" / "properties.csv").read_text().splitlines()[0].split(",")
    assert {"lawn_m2", "trampoline_m2", "basin_m2"} <= set(columns)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("--label", "a b=c"), ("'a b' is not a label name", "solar_panel")),
        (("--labels", "lawn,moat"), ("unknown label 'moat'", "lawn, tree", "--label")),
        (("--labels", "pool"), ("cannot detect 'pool'", "lawn, tree, vegetation", "sam3-tiny")),
        (("--segmenter", "sam3"), ("SAM3_WEIGHTS", "facebook/sam3", "sam3-nano")),
        (("--segmenter", "sam3", "--weights", "no/such/folder"), ("no/such/folder", "folder, a")),
    ],
)
def test_an_error_has_one_message_with_the_fix(
    user: User, arguments: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    done = user.run("batch", "--limit", "1", "--again", *arguments, code=2)
    assert done.stderr.count("error: ") == 1
    for message in messages:
        assert message in done.stderr


@pytest.fixture
def gated_hub() -> Iterator[str]:
    """A hub that responds like Hugging Face's before the licence is accepted."""

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  http.server's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_gated_weights_are_an_error_with_the_fix(user: User, gated_hub: str) -> None:
    done = user.run(
        "batch", "--segmenter", "sam3", "--limit", "1", "--again", code=2,
        SAM3_WEIGHTS="facebook/sam3", HF_ENDPOINT=gated_hub, HF_HOME=str(user.folder / "hf"),
    )  # fmt: skip
    for message in ("gated", "https://huggingface.co/facebook/sam3", "HF_TOKEN", "sam3-tiny"):
        assert message in done.stderr

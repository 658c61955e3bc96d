"""Text of CSVs, servers and files reaches terminals, logs, pages and exports as text alone."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from pyproj import Transformer
from servers.scripted import Call, Reply, scripted
from servers.table import Table, lots_in_a_row
from user import User

ESCAPES = "\x1b[31mred\x1b]0;owned\x07 \x9b31m \x07\x08\x7f"
EVIL = {
    "escapes": ESCAPES,
    "lines": "x\nERROR: run 1: forged\r\nINFO: \x85y\u2028z",
    "bidi": "a\u202eb\u2066c\u200fd",
    "markup": "[red]R:100:7[/red] [link=file:///etc/passwd]x[/link]",
    "mathtext": r"Cost $\frac{ and $x^{",
    "jinja": "{{ 7919 * 7919 }}{% raw %}{{ self }}",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;]]>",
    "formula": '=HYPERLINK("http://127.0.0.1")',
    "fullwidth": "\uff1dcmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "percent": "%s %d {0} %(x)s",
    "surrogate": "a\ud800b\udcffc",
    "nul": "a\0b",
    "astral": "\U0001f600\U000e0001x",
    "markdown": "| a | `b` | [x](javascript:alert(1)) <b>",
    "long": "L" * 1_000_000,
}
# NUL and lone surrogates cannot stand in a CSV or in UTF-8.
IDS = {name: value for name, value in EVIL.items() if name not in ("nul", "surrogate", "long")}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e"
                     "\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]")  # fmt: skip


@pytest.fixture
def evil(fresh: User) -> Iterator[User]:
    """A county whose server, rows and properties are hostile."""
    rows = lots_in_a_row(
        len(EVIL), PARID=[f"{v[:400]}" for v in EVIL.values()], SITUS=[*EVIL.values()],
        LUC=[*EVIL.values()],
    )  # fmt: skip
    columns = {"OBJECTID": "esriFieldTypeOID", **dict.fromkeys(("PARID", "SITUS", "LUC"),
                                                               "esriFieldTypeString")}  # fmt: skip
    table = Table(columns, rows)
    table.field_details = {"LUC": {"alias": EVIL["escapes"]}}
    calls = 0

    def reply(call: Call) -> Reply:
        nonlocal calls
        if "/query" in call.path and "/broken/" in call.path:
            calls += 1
            text = [*EVIL.values()][calls % len(EVIL)]
            error = {"code": 400, "message": text, "details": [text, text]}
            return Reply(json.dumps({"error": error}).encode())
        return table.reply(call)

    with scripted(reply) as server:
        folder = fresh.folder
        properties = folder / "leads.csv"
        with properties.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["property_id", "longitude", "latitude", *IDS.values()])
            for number, value in enumerate(IDS.values()):
                own = [value] * len(IDS)
                writer.writerow([value, -90 + (number + 0.5) * 0.0003, 35.00015, *own])
        to_utm = Transformer.from_crs(4326, 32616, always_xy=True)
        left, top = to_utm.transform(-90.0005, 35.0008)
        with rasterio.open(
            folder / "a$x^{.tif",
            "w",
            driver="GTiff",
            count=3,
            height=400,
            width=1000,
            dtype="uint8",
            crs="EPSG:32616",
            transform=rasterio.Affine(0.6, 0, left, 0, -0.6, top),
        ) as tiff:
            noise = np.random.default_rng(0).integers(40, 200, (3, 400, 1000))
            tiff.write(noise.astype(np.uint8))
            tiff.update_tags(TIFFTAG_DATETIME=ESCAPES, TIFFTAG_IMAGEDESCRIPTION=ESCAPES)
        (folder / "b\x1b[31m\nERROR: forged.tif").write_bytes(b"II*\0")
        entry = {
            "allow_private": True,
            "fields": {"parcel_id": "PARID", "address": "SITUS"},
            "layer": 0,
            "imagery": {"path": str(folder / "*.tif")},
            "properties": "leads.csv",
        }
        for key, path in (("here", "rest"), ("broken", "broken")):
            registry = {"counties": {key: {
                **entry, "name": f"County {EVIL['jinja']} {EVIL['mathtext']} <b>",
                "url": f"{server.address}/{path}/services/P/MapServer",
            }}}  # fmt: skip
            (folder / f"{key}.yaml").write_text(yaml.safe_dump(registry, allow_unicode=True))
        yield fresh.without_backoff()


def assert_harmless(text: str, *, has_own_lines: bool = True) -> None:
    found = CONTROL.search(text)
    assert found is None, repr(text[max(0, found.start() - 80) : found.end() + 20])
    forged = re.search(r"^ERROR: (run 1: )?forged", text, re.MULTILINE)
    assert not has_own_lines or forged is None, forged
    assert "\U0001f4af" not in text
    assert "62710561" not in text


@pytest.mark.long
@pytest.mark.parametrize(("county", "log_format"), [("here", "text"), ("broken", "json")])
def test_a_batch_of_hostile_text(evil: User, county: str, log_format: str) -> None:
    folder = evil.folder
    env = {"REGISTRY": str(folder / f"{county}.yaml"), "LOG_FORMAT": log_format,
           "LOG_LEVEL": "DEBUG"}  # fmt: skip
    done = evil.run("batch", "--county", county, "--out", "out", code=None, **env)
    for text in (done.stdout, done.stderr):
        assert_harmless(text)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert len(done.stderr) < 3_000_000
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in done.stderr.splitlines())
    for command in (["status", "--county", county], ["runs", "show"], ["runs", "list"],
                    ["status", "--county", county, "--json"], ["runs", "show", "--json"],
                    ["registry", "list"], ["registry", "verify", county]):  # fmt: skip
        shown = evil.run(*command, code=None, **env)
        assert_harmless(shown.stdout)
        assert_harmless(shown.stderr)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert_harmless(page, has_own_lines=False)
    assert "<script" not in page
    assert "<img src=x" not in page
    for form in ("csv", "geojson", "geoparquet"):
        evil.run("export", "--county", county, "--format", form, "--out", form, **env)
        for path in (folder / form).iterdir():
            if path.suffix == ".csv":
                check_csv(path)
            if path.suffix in (".md", ".html"):
                assert_harmless(path.read_text(encoding="utf-8"))
            if path.suffix in (".geojson", ".json"):
                json.loads(path.read_text(encoding="utf-8"))


def check_csv(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    number = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?")
    for cell in cells:
        assert not re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]", cell) or (
            number.fullmatch(cell)
        ), cell[:50]

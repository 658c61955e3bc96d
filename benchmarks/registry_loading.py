"""Time to find a county among a thousand, to load all, and to change one."""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.results import Result, save
from detection.registry.county import DetectionCounty
from parcels.catalogue.edit_registry import set_keys
from parcels.registry.entry import validate_entry
from parcels.registry.load import load_registry
from parcels.registry.shipped_layers import SHIPPED, ShippedLayers

RUNS = 7
COUNTY = "montrose-co"


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "registry.yaml"
        shutil.copy(SHIPPED, file)
        as_json = Path(name) / "registry.json"
        as_json.write_text(json.dumps(yaml.load(file.read_text(), Loader=yaml.CSafeLoader)))

        # Alternating values, because an unchanged value is not written.
        days = itertools.cycle(["2026-05-30", "2026-05-31"])

        ways: dict[str, dict[str, Callable[[], object]]] = {
            "find one county": {
                "Lotline: parses only its text": lambda: validate_entry(
                    COUNTY, ShippedLayers(file)[COUNTY], None, DetectionCounty
                ),
                "CSafeLoader, all": lambda: _all(_c_loader(file))[COUNTY],
                "yaml.safe_load, all": lambda: _all(_pure_loader(file))[COUNTY],
                "JSON instead of YAML, all": lambda: _all(json.loads(as_json.read_text()))[COUNTY],
            },
            "load all": {
                "Lotline: also checks for hostile YAML": lambda: load_registry(
                    file, DetectionCounty
                ),
                "CSafeLoader + pydantic": lambda: _all(_c_loader(file)),
                "yaml.safe_load + pydantic": lambda: _all(_pure_loader(file)),
            },
            "change one": {
                "Lotline: ruamel.yaml round trip, then validation": lambda: set_keys(
                    file, {COUNTY: {"verified": next(days)}}
                ),
            },
        }
        rows = [row for what, peers in ways.items() for row in _measured(what, peers)]
    save(
        Result(
            name="registry_loading",
            order=47,
            title="A registry of a thousand counties",
            command="python -m benchmarks registry_loading",
            columns=["task", "method", "ms", "ratio to the first"],
            rows=rows,
            notes=[
                f"The {len(ShippedLayers()):,} shipped US layers "
                f"({SHIPPED.stat().st_size / 1024:.0f} KiB of YAML); the median CPU time of "
                f"{RUNS} runs, with file reads, without imports. All entries are validated, "
                "except when one is looked up.",
            ],
        )
    )


def _measured(what: str, peers: dict[str, Callable[[], object]]) -> list[list[str]]:
    times_s = {how: _median_s(way) for how, way in peers.items()}
    first_s = next(iter(times_s.values()))
    return [
        [what, how, f"{time_s * 1000:,.1f}", f"{time_s / first_s:,.1f}"]
        for how, time_s in times_s.items()
    ]


def _median_s(way: Callable[[], object]) -> float:
    def once() -> float:
        started = time.process_time()
        way()
        return time.process_time() - started

    return statistics.median(once() for _ in range(RUNS))


def _c_loader(file: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    return content


def _pure_loader(file: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = yaml.safe_load(file.read_text())
    return content


def _all(content: dict[str, dict[str, object]]) -> dict[str, DetectionCounty]:
    return {
        key: DetectionCounty.model_validate({**entry, "key": key})  # type: ignore[dict-item]
        for key, entry in content["counties"].items()
    }

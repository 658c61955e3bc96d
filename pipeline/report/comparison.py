"""Two runs compared: settings, states, areas on common properties, stage timings."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection

from pipeline.report.report_builder import build_report
from pipeline.report.run_report import FrozenModel, RunReport, StageTiming
from pipeline.store.runs.comparison import AreaPair, pair_runs
from pipeline.store.runs.lifecycle import Run


class SettingDifference(FrozenModel):
    """A setting whose value differs."""

    setting: str
    a: Any
    b: Any


class CountPair(FrozenModel):
    """How many properties each run has with a state and reason."""

    state: str
    reason: str
    a: int
    b: int


class AreaChange(FrozenModel):
    """What both runs measured on common properties, in boundaries of one source.

    Attributes:
        difference_m2: B minus A.
        difference_percent: of A; None where A is 0.
        a_partly_imaged, b_partly_imaged: how many of the properties are imaged only in part.
    """

    label: str
    source: str
    a_properties: int
    b_properties: int
    a_m2: float
    b_m2: float
    difference_m2: float
    difference_percent: float | None
    a_partly_imaged: int = 0
    b_partly_imaged: int = 0


class StagePair(FrozenModel):
    """A stage in each run; None where a run does not have it."""

    stage: str
    a: StageTiming | None
    b: StageTiming | None


class RunComparison(FrozenModel):
    """Run A and run B side by side.

    Attributes:
        common_properties: that both measured; `areas` are of those only.
    """

    version: Literal[1] = 1
    a: RunReport
    b: RunReport
    settings: tuple[SettingDifference, ...]
    counts: tuple[CountPair, ...]
    common_properties: int
    areas: tuple[AreaChange, ...]
    stages: tuple[StagePair, ...]


def compare_runs(conn: Connection, a: Run, b: Run) -> RunComparison:
    """Compare two runs; runs of different counties have no common properties."""
    report_a, report_b = build_report(conn, a), build_report(conn, b)
    common = pair_runs(conn, a, b)
    return RunComparison(
        a=report_a,
        b=report_b,
        settings=_settings(report_a, report_b),
        counts=_counts(report_a, report_b),
        common_properties=common.properties,
        areas=tuple(_area_change(pair) for pair in common.areas),
        stages=_stages(report_a, report_b),
    )


def _settings(a: RunReport, b: RunReport) -> tuple[SettingDifference, ...]:
    of_a, of_b = (
        {"county": run.county, "segmenter": run.segmenter, "weights_sha256": run.weights_sha256}
        | run.settings
        for run in (a, b)
    )
    _keep_common_prompts(of_a, of_b)
    names = [*of_a, *(name for name in of_b if name not in of_a)]
    return tuple(
        SettingDifference(setting=name, a=of_a.get(name), b=of_b.get(name))
        for name in names
        if of_a.get(name) != of_b.get(name)
    )


def _keep_common_prompts(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Leave out the prompts of labels that only one run has: `labels` differ already."""
    of_a, of_b = ({**(settings.get("prompts") or {})} for settings in (a, b))
    common = of_a.keys() & of_b.keys()
    a["prompts"], b["prompts"] = ({k: p[k] for k in sorted(common)} for p in (of_a, of_b))


def _counts(a: RunReport, b: RunReport) -> tuple[CountPair, ...]:
    of_a, of_b = (
        {(count.state, count.reason): count.properties for count in run.counts} for run in (a, b)
    )
    return tuple(
        CountPair(state=state, reason=reason, a=of_a.get(key, 0), b=of_b.get(key, 0))
        for key in sorted(of_a.keys() | of_b.keys())
        for state, reason in [key]
    )


def _area_change(areas: AreaPair) -> AreaChange:
    difference_m2 = areas.b_m2 - areas.a_m2
    return AreaChange(
        label=areas.label,
        source=areas.source,
        a_properties=areas.a_properties,
        b_properties=areas.b_properties,
        a_m2=areas.a_m2,
        b_m2=areas.b_m2,
        difference_m2=difference_m2,
        difference_percent=100 * difference_m2 / areas.a_m2 if areas.a_m2 else None,
        a_partly_imaged=areas.a_partly_imaged,
        b_partly_imaged=areas.b_partly_imaged,
    )


def _stages(a: RunReport, b: RunReport) -> tuple[StagePair, ...]:
    of_a, of_b = ({stage.stage: stage for stage in run.stages} for run in (a, b))
    names = [*of_a, *(name for name in of_b if name not in of_a)]
    return tuple(StagePair(stage=name, a=of_a.get(name), b=of_b.get(name)) for name in names)

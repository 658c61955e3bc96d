"""Two runs side by side, as data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from pipeline.report.build_report import build_report
from pipeline.report.run_report import RunReport, StageTiming
from pipeline.store.runs.comparison import AreaPair, pair_runs
from pipeline.store.runs.lifecycle import Run


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingDifference(_Frozen):
    """A setting that the runs do not share."""

    setting: str
    a: Any
    b: Any


class CountPair(_Frozen):
    """How many properties each run has in a state, for a reason."""

    state: str
    reason: str
    a: int
    b: int


class AreaChange(_Frozen):
    """What both measured on the same properties, in boundaries of one source.

    Attributes:
        difference_m2: how much more B measured.
        difference_percent: of what A measured; None where that was nothing.
    """

    label: str
    source: str
    a_properties: int
    b_properties: int
    a_m2: float
    b_m2: float
    difference_m2: float
    difference_percent: float | None


class StagePair(_Frozen):
    """How long a stage took in each run; None where there was no such stage."""

    stage: str
    a: StageTiming | None
    b: StageTiming | None


class RunComparison(_Frozen):
    """Run A beside run B.

    Attributes:
        common_properties: that both measured; `areas` are of those alone.
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
    """Put two runs side by side; of different counties they have no properties in common."""
    one, other = build_report(conn, a), build_report(conn, b)
    common = pair_runs(conn, a, b)
    return RunComparison(
        a=one,
        b=other,
        settings=_settings(one, other),
        counts=_counts(one, other),
        common_properties=common.properties,
        areas=tuple(_change(each) for each in common.areas),
        stages=_stages(one, other),
    )


def _settings(a: RunReport, b: RunReport) -> tuple[SettingDifference, ...]:
    ours, theirs = (
        {"county": run.county, "segmenter": run.segmenter, "weights_sha256": run.weights_sha256}
        | run.settings
        for run in (a, b)
    )
    names = [*ours, *(name for name in theirs if name not in ours)]
    return tuple(
        SettingDifference(setting=name, a=ours.get(name), b=theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    )


def _counts(a: RunReport, b: RunReport) -> tuple[CountPair, ...]:
    ours, theirs = (
        {(count.state, count.reason): count.properties for count in run.counts} for run in (a, b)
    )
    return tuple(
        CountPair(state=state, reason=reason, a=ours.get(key, 0), b=theirs.get(key, 0))
        for key in sorted(ours.keys() | theirs.keys())
        for state, reason in [key]
    )


def _change(areas: AreaPair) -> AreaChange:
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
    )


def _stages(a: RunReport, b: RunReport) -> tuple[StagePair, ...]:
    ours, theirs = ({stage.stage: stage for stage in run.stages} for run in (a, b))
    names = [*ours, *(name for name in theirs if name not in ours)]
    return tuple(StagePair(stage=name, a=ours.get(name), b=theirs.get(name)) for name in names)

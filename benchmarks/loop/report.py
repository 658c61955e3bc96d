"""`python -m benchmarks.loop.report DIR`: the results of finished runs, as tables and curves.

The gate compares each run with sam3-nano as it is shipped, as `lotline models judge` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.loop.judged import JudgedWeights, error_m2
from benchmarks.loop.known_lots import LABELS
from benchmarks.loop.pooled import pooled_folds
from benchmarks.loop.runs import BASE, RunResults
from pipeline.learning.judging.gate import GateResult, GateRow, gate
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.judging.gate_table import gate_table
from pipeline.learning.judging.prompt_checks import prompt_rows
from pipeline.learning.judging.traced_check import traced_rows

_DPI: Final = 110
_SIZE: Final = (9.5, 3.4)


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table.

    Attributes:
        judged: what its weights answered.
        gated: the gate's comparison with the base; None of the base.
        error_m2: of all labels, the mean over held-out lots; `low` and `high` bound its difference
            from the base's.
        iou: the mean over labels on these lots, `old_iou` on the old county's.
        ap50: the mean over discrete labels.
    """

    name: str
    facts: Mapping[str, Any]
    judged: JudgedWeights
    gated: GateResult | None
    error_m2: float
    low: float | None
    high: float | None
    iou: float
    ap50: float
    old_error_m2: float
    old_iou: float
    traced_iou: float | None

    @property
    def verdict(self) -> str:
        """The gate's sentence; empty of the base."""
        return self.gated.sentence if self.gated else ""


def rows_of(folder: Path) -> list[Row]:
    """The base and all finished runs; of a real place, its folds together."""
    results = RunResults(folder)
    judged = answers_of(results)
    base = judged[BASE]
    return [
        _row(name, _facts(results, name), each, None if name == BASE else compare(base, each))
        for name, each in judged.items()
    ]


def answers_of(results: RunResults) -> dict[str, JudgedWeights]:
    """What the base and the finished runs answered, the base first."""
    base = results.judged(BASE)
    if base is not None:
        found = {name: results.judged(name) for name in results.finished()}
        return {BASE: base} | {name: each for name, each in found.items() if each is not None}
    folds = pooled_folds(results)
    if not folds:
        raise SystemExit(f"{results.folder} has no results: run `python -m benchmarks.loop` first")
    return folds


def _facts(results: RunResults, name: str) -> Mapping[str, Any]:
    return results.facts(name) if name in results.finished() else {"lots": 0}


def compare(base: JudgedWeights, judged: JudgedWeights) -> GateResult:
    """The gate's verdict on a run."""
    settings = GateSettings()
    further: list[GateRow] = []
    if judged.prompts and base.prompts:
        further += prompt_rows(base.prompts, judged.prompts, settings)
    if judged.traced and base.traced:
        further += traced_rows(base.traced, judged.traced, settings)
    return gate(base.lots, judged.lots, settings, further)


def _row(
    name: str, facts: Mapping[str, Any], judged: JudgedWeights, gated: GateResult | None
) -> Row:
    low, high = (gated.rows[0].low, gated.rows[0].high) if gated else (None, None)
    objects = [_ap50(each["objects"]) for each in judged.figures.values() if "objects" in each]
    traced = [value for value in judged.traced_iou.values() if value is not None]
    return Row(
        name, facts, judged, gated, error_m2(judged.lots), low, high,
        mean_iou(judged.figures), _mean([value for value in objects if value is not None]),
        error_m2(judged.old), mean_iou(judged.old_figures), mean(traced) if traced else None,
    )  # fmt: skip


def _ap50(figures: Mapping[str, Any]) -> float | None:
    found = figures["ap50"]
    return float(found["value"]) if isinstance(found, Mapping) else None


def mean_iou(figures: Mapping[str, Any]) -> float:
    """The mean over labels of the pooled IoU."""
    return _mean([each["iou"] for each in figures.values() if each["iou"] is not None])


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else float("nan")


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown."""
    lines = [
        "| run | m² error a lot | difference, 95 % | IoU | AP50 | old m² error | old IoU | "
        "traced IoU | training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        bounds = "-" if row.low is None else f"{row.low:+.0f} to {row.high:+.0f}"
        traced = "-" if row.traced_iou is None else f"{row.traced_iou:.3f}"
        seconds = f"{row.facts['training_s']:.0f} s" if "training_s" in row.facts else "-"
        lines.append(
            f"| {row.name} | {row.error_m2:.1f} | {bounds} | {row.iou:.3f} | {row.ap50:.2f} | "
            f"{row.old_error_m2:.1f} | {row.old_iou:.3f} | {traced} | {seconds} |"
        )
    return lines


def labels_table(rows: Sequence[Row]) -> list[str]:
    """m² error a lot and IoU of each label, by run, as Markdown."""
    lines = ["| run | " + " | ".join(LABELS) + " |", "| --- |" + " --- |" * len(LABELS)]
    for row in rows:
        figures = row.judged.figures
        cells = [
            f"{figures[label]['error_m2']['mean']:.1f} m², {_iou_text(row.judged, label)}"
            for label in LABELS
        ]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return lines


def _iou_text(judged: JudgedWeights, label: str) -> str:
    value = judged.figures[label]["iou"]
    return "-" if value is None else f"{value:.3f}"


def draw_curves(folder: Path, rows: Sequence[Row], path: Path) -> None:
    """Error, IoU and effort over the number of corrected lots, as a PNG."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    error, quality, effort = figure.subplots(1, 3)
    base = rows[0]
    for tier in ("mask", "heads", "deep"):
        own = _by_dose(rows, tier)
        doses = [0, *(int(row.facts["lots"]) for row in own)]
        if own:
            error.plot(doses, [r.error_m2 for r in (base, *own)], marker="o", label=tier)
            quality.plot(doses, [r.iou for r in (base, *own)], marker="o", label=tier)
    old = [base, *_by_dose(rows, "heads")]
    quality.plot(
        [int(row.facts["lots"]) for row in old], [row.old_iou for row in old], "--", marker=".",
        label="heads, old county",
    )  # fmt: skip
    error.set_title("m² error a held-out lot", fontsize=10)
    error.set_ylim(bottom=0)
    quality.set_title("mean IoU", fontsize=10)
    for axes in (error, quality):
        axes.set_xlabel("corrected lots")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    _draw_effort(effort, folder)
    figure.savefig(path, dpi=_DPI)


def _by_dose(rows: Sequence[Row], tier: str) -> list[Row]:
    """The runs of a tier from which nothing was left out, by their corrected lots."""
    own = [row for row in rows if row.name.startswith(f"{tier}-") and row.name.count("-") == 1]
    return sorted(own, key=lambda row: int(row.facts["lots"]))


def _draw_effort(axes: Any, folder: Path) -> None:  # noqa: ANN401  matplotlib's Axes
    path = folder / "results" / "turns.json"
    turns = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    numbers = [row["turn"] for row in turns]
    for name, text, style in (("base", "sam3-nano as shipped", "--"), ("loop", "the loop", "-")):
        values = [row[name]["vertices"] / row["lots"] for row in turns]
        axes.plot(numbers, values, style, marker="o", label=text)
    axes.set_title("vertices moved a lot", fontsize=10)
    axes.set_xlabel("turn")
    axes.set_xticks(numbers)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def main() -> None:
    """Print the tables and the gates; draw curves.png of doses and turns."""
    folder = Path(sys.argv[1])
    rows = rows_of(folder)
    print("\n".join([*table(rows), "", *labels_table(rows)]))
    for row in rows:
        if row.gated is not None:
            lines = gate_table([asdict(each) for each in row.gated.rows])
            print("\n".join(["", row.name, *lines, row.verdict, str(row.judged.thresholds)]))
    if (folder / "results" / f"{BASE}.json").exists():
        draw_curves(folder, rows, folder / "curves.png")
        print(f"\n{folder / 'curves.png'}")


if __name__ == "__main__":
    main()

"""The curves of a training run as PNG: loss and its terms, gradients, learning rate, scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from detection.training.proof import read_proof
from detection.training.run_record import read_metrics
from parcels.untrusted import sanitize_text

CURVES_NAME = "curves.png"
# Thin lines are steps, thick ones their running median over this share of the run.
_WINDOW_SHARE = 0.02


@mpl.rc_context({"text.parse_math": False})
def draw_curves(folder: Path) -> Path | None:
    """Draw metrics.jsonl of a run's folder; the picture's path, or None without any steps."""
    rows = read_metrics(folder)
    if not rows:
        return None
    figure = Figure(figsize=(11, 7), dpi=120, layout="constrained")
    losses, terms, norms, scores = figure.subplots(2, 2).flat
    steps = np.array([row["step"] for row in rows])
    _line(losses, steps, _values(rows, "loss"), "loss")
    _mark_skipped(losses, rows)
    losses.set_title("Loss")
    for name in sorted({name for row in rows for name in row["terms"]}):
        values = [row["terms"].get(name) for row in rows]
        _line(terms, steps, np.array(values, float), sanitize_text(name))
    terms.set_title("Weighted terms of the loss")
    if terms.get_legend_handles_labels()[0]:
        terms.legend(fontsize=8)
    _line(norms, steps, _values(rows, "norm"), "norm of the gradients")
    rate = norms.twinx()
    rate.plot(steps, _values(rows, "lr"), color="0.4", linestyle="--", linewidth=1)
    rate.set_ylabel("learning rate (dashed)")
    norms.set_title("Norm of the gradients before clipping")
    _draw_scores(scores, folder)
    for axes in (losses, terms, norms):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(_plain_number)
        axes.yaxis.set_minor_formatter(NullFormatter())
    for axes in (losses, terms, norms, scores):
        axes.set_xlabel("step")
        axes.set_xlim(0, steps[-1] + 1)
        axes.grid(alpha=0.3)
    path = folder / CURVES_NAME
    draft = path.with_suffix(".draft.png")
    figure.savefig(draft)
    draft.replace(path)
    return path


def _plain_number(value: float, _: int | None) -> str:
    """Without powers, which would need the parser of formulas."""
    return f"{value:g}"


def _values(rows: list[dict[str, Any]], name: str) -> NDArray[np.float64]:
    """A value of each step; NaN where it is not finite."""
    return np.array([row[name] for row in rows], float)


def _line(axes: Axes, steps: NDArray[np.int64], values: NDArray[np.float64], label: str) -> None:
    """The values, and their running median."""
    [line] = axes.plot(steps, values, linewidth=0.6, alpha=0.35)
    known = np.isfinite(values)
    if not known.any():
        return
    steps, values = steps[known], values[known]
    window = max(1, int(len(values) * _WINDOW_SHARE))
    medians = [np.median(values[max(0, i - window) : i + window + 1]) for i in range(len(values))]
    axes.plot(steps, medians, color=line.get_color(), linewidth=1.6, label=label)


def _mark_skipped(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for step in (row["step"] for row in rows if row["skipped"]):
        axes.axvline(step, color="tab:red", linewidth=0.8, linestyle=":")


def _draw_scores(axes: Axes, folder: Path) -> None:
    """The judged scores of the kept checkpoints, the best marked."""
    axes.set_title("Score of the kept checkpoints")
    points = []
    for checkpoint in sorted((folder / "checkpoints").glob("step-*")):
        proof = read_proof(checkpoint)
        if proof is not None and proof.score is not None:
            points.append((int(checkpoint.name.removeprefix("step-")), proof.score))
    if not points:
        axes.text(0.5, 0.5, "none is proven", ha="center", transform=axes.transAxes)
        return
    axes.plot(*zip(*points, strict=True), marker="o", color="tab:blue")
    best_path = folder / "best.json"
    if best_path.is_file():
        best = json.loads(best_path.read_text(encoding="utf-8"))
        axes.plot(best["step"], best["score"], marker="*", markersize=16, color="tab:orange")
        axes.annotate(
            f"best {best['score']:.4f}", (best["step"], best["score"]),
            xytext=(-12, -28), textcoords="offset points", ha="right",
        )  # fmt: skip

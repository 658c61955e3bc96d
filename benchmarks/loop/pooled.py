"""The folds of the real place as one result: each lot is judged by the weights of one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.loop.judged import JudgedWeights
from benchmarks.loop.runs import BASE, RunResults
from pipeline.learning.judging.label_figures import label_figures


def pooled_folds(results: RunResults) -> dict[str, JudgedWeights]:
    """What the base and the folds' weights answered, on the lots of the finished folds."""
    numbers = [
        name.removeprefix("fold-")
        for name in results.finished()
        if name.startswith("fold-") and results.judged(name) is not None
    ]
    if not numbers:
        return {}
    return {
        name: _pooled([JudgedWeights.load(results.path_of(f"{prefix}-{n}")) for n in numbers])
        for name, prefix in ((BASE, BASE), ("folds", "fold"))
    }


def _pooled(folds: Sequence[JudgedWeights]) -> JudgedWeights:
    lots = [lot for fold in folds for lot in fold.lots]
    old = [lot for fold in folds for lot in fold.old]
    labels = {name for fold in folds for name in fold.traced}
    traced = {
        name: [window for fold in folds for window in fold.traced[name]] for name in sorted(labels)
    }
    prompts = [each for fold in folds for each in fold.prompts]
    figures = _with_objects(label_figures(lots), folds)
    return JudgedWeights(lots, old, prompts, traced, figures, label_figures(old))


def _with_objects(
    figures: Mapping[str, Mapping[str, Any]], folds: Sequence[JudgedWeights]
) -> dict[str, Any]:
    """The figures with the mean AP50 of the folds: masks of objects are not kept."""
    found: dict[str, Any] = {}
    for name, each in figures.items():
        ap50 = [
            fold.figures[name]["objects"]["ap50"]["value"]
            for fold in folds
            if isinstance(fold.figures.get(name, {}).get("objects", {}).get("ap50"), Mapping)
        ]
        objects = {"objects": {"ap50": {"value": mean(ap50)}}} if ap50 else {}
        found[name] = {**each, **objects}
    return found

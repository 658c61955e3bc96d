"""The figures of several rivals as Markdown: one row each, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detection.evaluation.segmenter_report import OBJECT_LABELS
from detection.evaluation.traced import CODES_OF
from detection.evaluation.window_errors import worst_lots

_CANNOT = "-"
_OBJECT_HEADS = [f"{label} {figure}" for label in OBJECT_LABELS for figure in ("AP50", "F1")]


def rivals_markdown(rivals: Sequence[Mapping[str, Any]]) -> str:
    """The report of rivals' figures, as `evaluate_rival` gives them."""
    parts = [
        "# Evaluation on windows traced by eye\n",
        _scope(rivals),
        "## IoU over sure pixels\n", _iou_table(rivals, "sure"),
        "## IoU over all pixels\n",
        "An unsure pixel counts as without the label: a lower bound.\n", _iou_table(rivals, "all"),
        "## Objects and calibration\n", _object_table(rivals),
        "## False alarms\n",
        "Share of the parts of 29 m without a label in which it is reported.\n",
        _alarm_table(rivals),
        "## Lots\n", _lot_table(rivals),
        _absent_text(rivals),
        "## IoU by city and year, sure pixels\n", _group_table(rivals),
        worst_markdown(rivals),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _scope(rivals: Sequence[Mapping[str, Any]]) -> str:
    first = rivals[0]
    return (
        f"{first['windows']} windows on {first['tiles']} tiles, if a row does not say otherwise. "
        "In brackets: 95 % intervals, 10,000 bootstrap resamples of tiles.\n"
    )


def _iou_table(rivals: Sequence[Mapping[str, Any]], over: str) -> str:
    rows = [
        [rival["name"], str(rival["windows"]),
         *(_iou(rival["labels"].get(label), over) for label in CODES_OF)]
        for rival in rivals
    ]  # fmt: skip
    return _table(["rival", "windows", *CODES_OF], rows)


def _iou(figures: Mapping[str, Any] | None, over: str) -> str:
    if figures is None:
        return _CANNOT
    return figures[over] if isinstance(figures[over], str) else _text(figures[over]["iou"])


def _object_table(rivals: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for rival in rivals:
        calibration = [rival["labels"][n]["calibration"] for n in CODES_OF if n in rival["labels"]]
        errors = [each["ece"] for each in calibration if each]
        worst = f"{max(errors):.3f}" if errors else _CANNOT
        rows.append([rival["name"], *_object_cells(rival["objects"]), worst])
    return _table(["rival", *_OBJECT_HEADS, "largest calibration error"], rows)


def _object_cells(objects: Mapping[str, Any]) -> list[str]:
    found = [objects.get(label) for label in OBJECT_LABELS]
    return [_CANNOT if o is None else _text(o[key]) for o in found for key in ("ap50", "f1")]


def _alarm_table(rivals: Sequence[Mapping[str, Any]]) -> str:
    heads = [*CODES_OF, "any"]
    rows = [
        [rival["name"], *(_alarm(rival["false_alarms"].get(label)) for label in heads)]
        for rival in rivals
    ]
    return _table(["rival", *heads], rows)


def _alarm(alarms: Mapping[str, Any] | None) -> str:
    if alarms is None or not alarms["parts_without_it"]:
        return _CANNOT
    counts = f"{alarms['reported']} of {alarms['parts_without_it']}"
    return f"{_text(alarms['share'])}, {counts}"


def _lot_table(rivals: Sequence[Mapping[str, Any]]) -> str:
    found = [rival for rival in rivals if "lawn_area" in rival]
    if not found:
        return "No lots were given (`--lots`).\n"
    rows = []
    for rival in found:
        area = rival["lawn_area"]
        rows.append([
            rival["name"], str(area["lots"]), str(area["compared"]), str(area["unsure"]),
            _text(area["median_error"]), _text(area["p90_error"]),
            *_object_cells(rival["lot_objects"]),
        ])  # fmt: skip
    heads = ["lots", "compared", "unsure", "median relative error of lawn", "p90", *_OBJECT_HEADS]
    return _table(["rival", *heads], rows)


def _absent_text(rivals: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{rival['name']}: {found['reported']} of {found['prompts']} absent prompts reported "
        f"something: {_text(found['share'])}.\n"
        for rival in rivals
        if (found := rival.get("absent_prompts"))
    ]
    return "\n".join(lines)


def _group_table(rivals: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [rival["name"], group, str(figures["windows"]),
         *(_text(figures.get(label, _CANNOT)) for label in CODES_OF)]
        for rival in rivals
        for kind in ("by_city", "by_year")
        for group, figures in rival[kind].items()
    ]  # fmt: skip
    return _table(["rival", "group", "windows", *CODES_OF], rows)


def worst_markdown(rivals: Sequence[Mapping[str, Any]], number: int = 5) -> str:
    """The windows and lots on which each rival is worst, with the largest confusions."""
    parts = []
    for rival in rivals:
        rows = [
            [row["tile"], str(row["window"]), f"{row['mean_iou']:.2f}",
             ", ".join(f"{label} {value:.2f}" for label, value in row["iou"].items()),
             _confusions(row["confusions"])]
            for row in rival["window_rows"][:number]
            if row["mean_iou"] is not None
        ]  # fmt: skip
        heads = ["tile", "window", "mean IoU", "IoU", "largest errors: truth → answer"]
        parts += [f"## Worst windows of {rival['name']}\n", _table(heads, rows)]
        rows = [
            [row["lot"], f"{row['true_m2']:.0f}", f"{row['found_m2']:.0f}",
             f"{row['relative_error']:+.0%}", f"{row['unsure_share']:.0%}"]
            for row in worst_lots(rival, number)
        ]  # fmt: skip
        if rows:
            heads = ["lot", "true lawn, m²", "found, m²", "error", "unsure pixels"]
            parts += [f"## Worst lots of {rival['name']}\n", _table(heads, rows)]
    return "\n".join(parts)


def _confusions(found: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['true']} → {each['found']} {each['m2']:.0f} m²" for each in found)


def _text(figure: Mapping[str, float | None] | str | None) -> str:
    """0.81 (0.75-0.86); without an interval, the value."""
    if figure is None or isinstance(figure, str):
        return figure or _CANNOT
    value, low, high = figure["value"], figure["low"], figure["high"]
    return f"{value:.2f}" if low is None else f"{value:.2f} ({low:.2f}-{high:.2f})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

"""One picture of the windows on which a rival is worst, and of those of its worst lots."""

from __future__ import annotations

from pathlib import Path

from detection.evaluation.evaluate import Evaluation, RivalResult
from detection.evaluation.lot_objects import window_of
from detection.evaluation.pictures import window_panels
from detection.evaluation.window_errors import worst_lots

_DPI, _QUALITY = 80, 65
_PANEL_IN, _TITLE_IN = 2.3, 0.45


def draw_worst(path: Path, evaluation: Evaluation, result: RivalResult, number: int = 5) -> None:
    """A JPEG with a row for each of the worst windows, and of the windows of the worst lots.

    Lots are drawn in, the worst ones thick.

    Raises:
        ModuleNotFoundError: the extra `evaluation` is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(evaluation, result, number)
    if not rows:
        return
    size = (4 * _PANEL_IN, len(rows) * (_PANEL_IN + _TITLE_IN))
    figure = Figure(figsize=size, dpi=_DPI)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    tiles = {tile.name: tile for tile in evaluation.tiles}
    for line, (name, index, title, worst) in zip(axes, rows, strict=True):
        tile = tiles[name]
        answer = result.answers[name][index]
        panels = window_panels(evaluation, tile, index, answer)
        window = tile.windows[index]
        part = (
            slice(window.row, window.row + window.height),
            slice(window.column, window.column + window.width),
        )
        for axis, (_, panel) in zip(line, panels, strict=True):
            axis.imshow(panel, interpolation="nearest")
            axis.axis("off")
            for lot in () if evaluation.lots is None else evaluation.lots.lots:
                outline = lot.pixels[part]
                if lot.tile is tile and outline.any() and not outline.all():
                    width = 1.8 if lot.name in worst else 0.6
                    axis.contour(outline, levels=[0.5], colors="yellow", linewidths=width)
        line[0].set_title(title, fontsize=7, loc="left")
    for axis, (head, _) in zip(axes[-1], panels, strict=True):
        axis.text(0.5, -0.05, head, transform=axis.transAxes, ha="center", va="top", fontsize=7)
    figure.subplots_adjust(0.01, 0.03, 0.99, 0.97, wspace=0.03, hspace=0.12)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="jpg", pil_kwargs={"quality": _QUALITY})


def _rows(
    evaluation: Evaluation, result: RivalResult, number: int
) -> list[tuple[str, int, str, set[str]]]:
    """(tile, window, title, worst lots) of each row; a window is drawn once."""
    found: dict[tuple[str, int], tuple[list[str], set[str]]] = {}
    for row in result.figures["window_rows"][:number]:
        if row["mean_iou"] is not None:
            errors = "; ".join(
                f"{each['true']} → {each['found']} {each['m2']:.0f} m²"
                for each in row["confusions"]
            )
            found[row["tile"], row["window"]] = (
                [f"mean IoU {row['mean_iou']:.2f}: {errors}"],
                set(),
            )
    for lot in worst_lots(result.figures, number):
        index = _window_of(evaluation, lot["lot"])
        texts, names = found.setdefault((lot["tile"], index), ([], set()))
        texts.append(
            f"lot {lot['lot'].rpartition('/')[2]}: lawn {lot['true_m2']:.0f} m², "
            f"found {lot['found_m2']:.0f}"
        )
        names.add(lot["lot"])
    return [
        (tile, index, f"{tile}, window {index}. " + ". ".join(texts), names)
        for (tile, index), (texts, names) in found.items()
    ]


def _window_of(evaluation: Evaluation, name: str) -> int:
    lots = () if evaluation.lots is None else evaluation.lots.lots
    return next(window_of(lot) for lot in lots if lot.name == name)

"""Truth, imagery and a segmenter -> its figures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.errors import TruthError
from detection.evaluation.absent_prompts import absent_prompt_figures
from detection.evaluation.answers import Rival, WindowAnswer
from detection.evaluation.code_answers import CodeRival
from detection.evaluation.lot_areas import TracedLots, lot_figures, traced_lot_figures
from detection.evaluation.lot_objects import lot_object_figures
from detection.evaluation.segmenter_answers import SegmenterRival
from detection.evaluation.segmenter_report import (
    EvaluatedWindow,
    evaluate_window,
    rival_figures,
)
from detection.evaluation.tile_images import RGB, RGB_NIR, TileImages
from detection.evaluation.traced import TracedTile, read_traced
from detection.evaluation.window_errors import window_rows
from detection.segmenters import build_segmenter


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What rivals are compared on.

    Attributes:
        lots: whose lawn areas are compared; None without lots.
    """

    tiles: Sequence[TracedTile]
    images: TileImages
    lots: TracedLots | None = None

    @classmethod
    def open(
        cls,
        truth: Path,
        imagery: Sequence[Path],
        scratch: Path,
        tiles: Sequence[str] = (),
        lots: Path | None = None,
    ) -> Evaluation:
        """Read the truth, and check that each tile has its imagery before anything runs.

        Args:
            imagery: folders of tiles.
            scratch: an empty folder.
            tiles: names or patterns; empty for all.
            lots: as `read_lot_outlines` takes it.

        Raises:
            TruthError: any of it is missing or wrong.
        """
        traced, images = read_traced(truth, tiles), TileImages(imagery, scratch)
        for tile in traced:
            images.path_of(tile)
        return cls(traced, images, None if lots is None else TracedLots.read(lots, traced, images))


@dataclass(frozen=True, slots=True)
class RivalResult:
    """A rival's figures, ready for JSON, and its answers by tile."""

    name: str
    figures: dict[str, Any]
    answers: Mapping[str, Sequence[WindowAnswer]]


def evaluate_segmenter(
    evaluation: Evaluation,
    segmenter: str,
    weights: str | None = None,
    *,
    nir: bool = False,
    gsd_m: float | None = None,
    absent_prompts: bool = False,
) -> RivalResult:
    """All figures of a segmenter, by its name.

    Args:
        weights: as for `build_segmenter`.
        nir: whether it sees near infrared too.
        gsd_m: to which the tiles are resampled; None for their own.
        absent_prompts: whether a segmenter with text prompts is also asked for what is not there.

    Raises:
        DetectionError: the segmenter cannot be built, or failed on a window.
    """
    built = build_segmenter(segmenter, weights)
    rival = SegmenterRival(built, evaluation.images, RGB_NIR if nir else RGB, gsd_m)
    result = evaluate_rival(evaluation, rival)
    result.figures.update(
        segmenter=built.name, weights_sha256=built.weights_sha256, bands=list(rival.bands),
        gsd_m=gsd_m,
    )  # fmt: skip
    if evaluation.lots is not None and "lawn" in rival.labels:
        result.figures["lawn_area"] = lot_figures(evaluation.lots, rival)
    if absent_prompts and built.labels is None:
        result.figures["absent_prompts"] = absent_prompt_figures(rival, evaluation.tiles)
    return result


def evaluate_codes(evaluation: Evaluation, folder: Path, name: str = "") -> RivalResult:
    """All figures of a folder of class codes: another model's, or the tracer's other pass.

    Args:
        name: for the report; by default the folder's.

    Raises:
        TruthError: a tile has no codes there, or of another size.
    """
    rival = CodeRival(folder, name)
    result = evaluate_rival(evaluation, rival)
    if evaluation.lots is not None:
        result.figures["lawn_area"] = traced_lot_figures(evaluation.lots, rival)
    return result


def evaluate_second_pass(
    evaluation: Evaluation, truth: Path, second_pass: Path, lots: Path | None = None
) -> RivalResult:
    """The tracer's own error: the first pass against the second, in the windows of the second.

    Args:
        truth: the folder of the first pass.
        second_pass: traced without sight of the first.
        lots: as `Evaluation.open`.

    Raises:
        TruthError: the second pass cannot be read, or has none of the evaluated tiles.
    """
    wanted = {tile.name for tile in evaluation.tiles}
    tiles = [tile for tile in read_traced(second_pass) if tile.name in wanted]
    if not tiles:
        raise TruthError(
            f"{second_pass} has none of the evaluated tiles: trace some of them again there, or "
            "leave --second-pass out"
        )
    read = None if lots is None else TracedLots.read(lots, tiles, evaluation.images)
    return evaluate_codes(Evaluation(tiles, evaluation.images, read), truth, "the tracer again")


def evaluate_rival(evaluation: Evaluation, rival: Rival) -> RivalResult:
    """The figures of any rival on all windows.

    Raises:
        DetectionError: it has no answer of a tile; that is never an empty answer.
    """
    started = time.perf_counter()
    windows: list[EvaluatedWindow] = []
    answers: dict[str, Sequence[WindowAnswer]] = {}
    for tile in evaluation.tiles:
        pixel_m2 = evaluation.images.place_of(tile).pixel_m2
        answers[tile.name] = rival.answer(tile)
        for index, answer in enumerate(answers[tile.name]):
            windows.append(evaluate_window(tile, index, answer, pixel_m2))
    figures = {"name": rival.name, **rival_figures(rival.labels, windows)}
    figures["window_rows"] = window_rows(windows, answers)
    if evaluation.lots is not None:
        figures["lot_objects"] = lot_object_figures(evaluation.lots, answers, rival.labels)
    figures["seconds"] = round(time.perf_counter() - started, 1)
    return RivalResult(rival.name, figures, answers)

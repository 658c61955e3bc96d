"""Click to mask from SAM3's output: which query, how far, and when there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyproj import CRS
from transformers import Sam3Model

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.segmenters import build_promptable, build_segmenter, can_prompt
from detection.segmenters.interface import BoxPrompt, ClickPrompt, PromptableSegmenter
from detection.segmenters.sam3.clicks import exemplar_of, mask_at
from detection.segmenters.sam3.exemplars import BoxExemplar, PointExemplar, add_points, has_points
from detection.segmenters.sam3.forward import Sam3Output
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import Weights

LABEL = Label("roof", "house roof", "discrete", 4.0)
SIDE, CELLS = 80, 40
_GRID = PixelGrid("EPSG:32616", 0.5)
_WINDOW = PixelWindow(0, 0, SIDE, SIDE)


def _chip(seed: int = 0) -> Chip:
    pixels = np.random.default_rng(seed).integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
    return Chip(
        pixels, np.ones((SIDE, SIDE), bool), _GRID.transform(_WINDOW),
        CRS.from_user_input(_GRID.crs), ("red", "green", "blue"),
    )  # fmt: skip


def _output(*blocks: tuple[slice, slice, float, float], semantic: float = -8.0) -> Sam3Output:
    """An output with a query for each block of cells: its rows, columns, logit and score."""
    masks = torch.full((1, len(blocks), CELLS, CELLS), -8.0)
    for number, (rows, columns, logit, _) in enumerate(blocks):
        masks[0, number, rows, columns] = logit
    scores = torch.tensor([[score for *_, score in blocks]])
    boxes = torch.zeros(1, len(blocks), 4)
    return Sam3Output(scores, torch.ones(1), boxes, masks, torch.full((1, CELLS, CELLS), semantic))


LEFT = (slice(5, 15), slice(5, 15), 6.0, 0.9)
RIGHT = (slice(5, 15), slice(25, 35), 6.0, 0.2)


def _cells(output: Sam3Output, prompt: ClickPrompt | BoxPrompt) -> set[tuple[int, int]]:
    mask = mask_at(output, LABEL, prompt, _chip())
    assert mask is not None
    assert mask.cells == (CELLS, CELLS)
    assert np.isfinite(mask.field).all()
    assert ((mask.confidence >= 0) & (mask.confidence <= 1)).all()
    return {(int(r), int(c)) for r, c in np.argwhere(mask.field > 0)}


def _block(rows: slice, columns: slice) -> set[tuple[int, int]]:
    return {
        (r, c) for r in range(rows.start, rows.stop) for c in range(columns.start, columns.stop)
    }


def test_the_query_at_the_click_is_taken_though_another_has_a_better_score() -> None:
    output = _output(LEFT, RIGHT)
    assert _cells(output, ClickPrompt(60, 20)) == _block(*RIGHT[:2])
    assert _cells(output, ClickPrompt(20, 20)) == _block(*LEFT[:2])


def test_only_the_connected_part_at_the_click_is_the_object() -> None:
    both = (slice(5, 15), slice(5, 35), 6.0, 0.9)
    output = _output(both)
    output.masks[0, 0, :, 18:22] = -8.0
    assert _cells(output, ClickPrompt(60, 20)) == _block(slice(5, 15), slice(22, 35))


def test_an_outline_is_moved_out_to_the_click_within_limits() -> None:
    output = _output(LEFT)
    output.masks[0, 0, 5:15, 15:18] = -1.0
    grown = _cells(output, ClickPrompt(33, 20))
    assert grown == _block(slice(5, 15), slice(5, 18))
    assert mask_at(output, LABEL, ClickPrompt(60, 60), _chip()) is None


def test_the_semantic_map_is_taken_where_no_query_is() -> None:
    output = _output(LEFT)
    output.semantic[0, 30:35, 30:35] = 5.0
    assert _cells(output, ClickPrompt(65, 65)) == _block(slice(30, 35), slice(30, 35))


def test_a_click_at_the_edge_of_the_chip_is_in_its_outer_cells() -> None:
    corner = (slice(35, 40), slice(35, 40), 6.0, 0.9)
    assert _cells(_output(corner), ClickPrompt(SIDE, SIDE)) == _block(*corner[:2])


def test_a_box_takes_the_object_that_fills_it() -> None:
    large = (slice(2, 38), slice(2, 38), 6.0, 0.95)
    output = _output(large, RIGHT)
    assert _cells(output, BoxPrompt(50, 10, 70, 30)) == _block(*RIGHT[:2])
    # What is outside of the box, but for a margin, is not part of it.
    half = _cells(_output(large), BoxPrompt(4, 4, 76, 40))
    assert max(row for row, _ in half) <= 23
    assert mask_at(_output(LEFT), LABEL, BoxPrompt(50, 50, 78, 78), _chip()) is None


def test_a_click_is_a_point_only_where_the_weights_encode_points() -> None:
    prompt = ClickPrompt(40, 20)
    assert exemplar_of(prompt, _chip(), points=True) == PointExemplar(0.5, 0.25)
    box = exemplar_of(prompt, _chip(), points=False)
    assert isinstance(box, BoxExemplar)
    assert (box.right - box.left) * SIDE * 0.5 == pytest.approx(3.0)
    drawn = exemplar_of(BoxPrompt(8, 16, 40, 80), _chip(), points=True)
    assert drawn == BoxExemplar(0.1, 0.2, 0.5, 1.0)


@pytest.mark.parametrize("points", [False, True])
def test_the_encoder_runs_once_for_a_chip(model: Sam3Model, points: bool) -> None:
    if points:
        add_points(model)
    try:
        sam3 = Sam3(Weights(model, "0" * 64), device="cpu", batch=1, fast=False)
        assert has_points(model) is points
        for label in (LABEL, Label("lawn", "grass", "continuous", 4.0)):
            for prompt in (ClickPrompt(20, 20), BoxPrompt(10, 10, 60, 60)):
                sam3.mask_at(_chip(), label, prompt)
        assert (sam3.encoder_calls, sam3.text_calls) == (1, 2)
        sam3.mask_at(_chip(1), LABEL, ClickPrompt(20, 20))
        assert sam3.encoder_calls == 2
    finally:
        for name in ("points_direct_project", "points_pool_project", "points_pos_enc_project"):
            if points:
                delattr(model.geometry_encoder, name)


def test_which_segmenters_can_be_asked() -> None:
    assert can_prompt("sam3-tiny-1")
    assert can_prompt("sam3-1")
    assert not any(map(can_prompt, ("spectral-2", "person", "", "sam3-tiny", "x" * 1000)))
    assert not isinstance(build_segmenter("spectral"), PromptableSegmenter)
    assert isinstance(build_promptable("sam3-tiny-1"), PromptableSegmenter)
    with pytest.raises(SegmenterError, match="draw the outline"):
        build_promptable("spectral-2")
    with pytest.raises(SegmenterError, match="measure again"):
        build_promptable("sam3-tiny-2")

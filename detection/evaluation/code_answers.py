"""Class codes as a rival: the answers of another model, or the tracer's second pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as connected_parts

from detection.errors import TruthError
from detection.evaluation.answers import FoundObject, LabelAnswer, WindowAnswer
from detection.evaluation.traced import CODES_OF, UNSURE, TracedTile, read_codes, truth_of
from detection.labels import LABELS


class CodeRival:
    """A folder of TILE.png with class codes as the truth has them; 255 is no answer.

    Each connected part of a discrete label is an object of score 1. A second pass has codes in its
    own windows only: pixels beyond them have no answer.
    """

    labels = tuple(CODES_OF)

    def __init__(self, folder: Path, name: str = "") -> None:
        """`name` is for the report; by default that of the folder."""
        self._folder, self.name = folder, name or folder.name

    def answer(self, tile: TracedTile) -> list[WindowAnswer]:
        """The codes in each window; errors as `codes_of`."""
        codes = self.codes_of(tile)
        answers = []
        for window in tile.windows:
            part = codes[window.row : window.row + window.height,
                         window.column : window.column + window.width]  # fmt: skip
            labels = {label: _label_answer(part, label) for label in self.labels}
            answers.append(WindowAnswer(labels, part != UNSURE))
        return answers

    def codes_of(self, tile: TracedTile) -> NDArray[np.uint8]:
        """The codes (height, width) of a tile.

        Raises:
            TruthError: the tile has no codes, or of another size.
        """
        path = self._folder / f"{tile.name}.png"
        codes = read_codes(path)
        if codes.shape != tile.codes.shape:
            raise TruthError(
                f"{path} has {codes.shape[1]} x {codes.shape[0]} px, but the truth of {tile.name} "
                f"has {tile.codes.shape[1]} x {tile.codes.shape[0]}"
            )
        return codes


def _label_answer(codes: NDArray[np.uint8], label: str) -> LabelAnswer:
    inside = truth_of(codes, label)
    if LABELS[label].kind != "discrete":
        return LabelAnswer(inside)
    numbers, count = connected_parts(inside)
    objects = tuple(FoundObject(numbers == number, 1.0) for number in range(1, count + 1))
    return LabelAnswer(inside, objects=objects)

"""Labels, and the public names of `detection`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import detection
from detection import LABELS, DetectionError, choose_labels
from detection.errors import LabelError


def test_labels_come_in_the_order_asked_each_once() -> None:
    chosen = choose_labels(["tree", "lawn", "tree"])
    assert chosen == (LABELS["tree"], LABELS["lawn"])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["grass"], "unknown label 'grass': choose from lawn, "), ([], "no label given: choose")],
)
def test_a_wrong_label_says_which_there_are(names: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        choose_labels(names)


def test_every_label_has_a_prompt_and_its_own_key() -> None:
    for key, label in LABELS.items():
        assert key == label.name
        assert label.prompt
        assert label.kind in ("discrete", "continuous")
        assert label.min_area_m2 > 0


def test_the_public_names_are_these() -> None:
    assert detection.__all__ == [
        "LABELS",
        "Chip",
        "Detection",
        "DetectionError",
        "Detector",
        "Label",
        "LotResult",
        "build_segmenter",
        "choose_labels",
        "open_imagery",
    ]
    assert all(hasattr(detection, name) for name in detection.__all__)
    assert issubclass(LabelError, DetectionError)


def test_importing_detection_loads_no_torch() -> None:
    code = "import sys, detection; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

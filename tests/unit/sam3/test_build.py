"""Building segmenters by name, and SAM3 from its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import Sam3Model

from detection.errors import SegmenterError
from detection.segmenters import build_segmenter, check_segmenter


def test_sam3_without_weights_lists_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment is read by the command line only, not here.
    monkeypatch.setenv("SAM3_WEIGHTS", "facebook/sam3")
    with pytest.raises(
        SegmenterError, match=r"sam3 needs weights .sam3-nano has its own.: .*facebook/sam3$"
    ):
        check_segmenter("sam3")
    check_segmenter("sam3", "facebook/sam3")
    check_segmenter("sam3-tiny")


def test_a_wrong_path_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "base.safetensors").touch()  # its content is not read
    check_segmenter("sam3", str(tmp_path / "base.safetensors"))
    for wrong, said in (
        ("gone", "does not exist"),
        ("empty", "is an incomplete copy"),
        ("base.safetensors:gone", "the delta gone does not exist"),
        ("", "needs weights "),
    ):
        with pytest.raises(SegmenterError, match=said):
            check_segmenter("sam3", wrong and f"{tmp_path}/{wrong}")


def test_sam3_is_built_from_the_given_weights(tmp_path: Path, model: Sam3Model) -> None:
    model.save_pretrained(tmp_path)
    built = build_segmenter("sam3", str(tmp_path))
    assert built.name == "sam3-1"
    assert len(built.weights_sha256 or "") == 64
    with pytest.raises(SegmenterError, match="does not exist"):
        build_segmenter("sam3", str(tmp_path / "gone"))

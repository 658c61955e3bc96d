"""What a segmenter's numbers are worth goes with every result and every sum."""

from __future__ import annotations

from detection import LABELS
from detection.caveats import result_caveats, segmenter_caveats, untested_labels
from detection.labels import contained_labels, merge_label_entries, parse_label_option
from pipeline.report.advice import SYNTHETIC_NOTE, caveats


def test_the_baseline_and_the_tiny_network_say_what_they_are() -> None:
    assert "baseline" in segmenter_caveats("spectral-2")[0]
    assert "synthetic images only" in segmenter_caveats("sam3-tiny-1")[0]
    assert segmenter_caveats("sam3") == ()


def test_labels_and_prompts_of_your_own_are_untested() -> None:
    assert untested_labels(["lawn", "pool"], {"lawn": LABELS["lawn"].prompt}) == {}
    assert untested_labels(["lawn"], {"lawn": "dry grass"}) == {"lawn": "dry grass"}
    assert untested_labels(["moat"], {}) == {"moat": ""}
    labels = merge_label_entries(LABELS, parse_label_option("shed=garden shed"), "here")
    assert result_caveats("sam3", [labels["lawn"]]) == ()
    [own] = result_caveats("sam3", [labels["lawn"], labels["shed"]])
    assert own.endswith("untested: shed")


def test_all_caveats_of_a_set_of_numbers() -> None:
    notes = caveats(["spectral-2"], ["lawn", "shed"], {"shed": "garden shed"}, synthetic=True)
    assert notes == [
        SYNTHETIC_NOTE,
        "Found by spectral-2, a baseline without weights: colour and texture only, not SAM3.",
        "Labels or prompts of your own, whose accuracy is untested: shed (garden shed).",
    ]


def test_vegetation_contains_lawn_and_tree() -> None:
    assert contained_labels() == {"vegetation": ("lawn", "tree")}

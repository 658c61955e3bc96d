"""Labels, and the public names of `detection`."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import detection
from detection import LABELS, DetectionError, Label, choose_labels
from detection.errors import LabelError
from detection.labels import check_labels, merge_label_entries, parse_label_option, read_labels
from detection.registry.label_entry import LabelEntry
from detection.sample.truth import LABELS as IN_THE_SAMPLE
from detection.segmenters.sam3.phrases import PHRASES


def test_labels_are_in_the_requested_order_without_duplicates() -> None:
    chosen = choose_labels(["tree", "lawn", "tree"])
    assert chosen == (LABELS["tree"], LABELS["lawn"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["grass"], r"unknown label 'grass': choose from lawn, .*under 'labels' in the reg"),
        ([], "no label given: choose"),
    ],
)
def test_an_unknown_label_lists_the_known_ones(names: list[str], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        choose_labels(names)


def test_a_phrase_needs_a_segmenter_that_takes_phrases() -> None:
    [(name, entry)] = parse_label_option("chimney=brick chimney").items()
    labels = merge_label_entries(LABELS, {name: entry}, "--label")
    with pytest.raises(LabelError, match=r"a segmenter that can: sam3-nano or sam3$"):
        check_labels("landcover", ("lawn", "tree"), [labels["chimney"]])


def test_the_shipped_labels() -> None:
    assert set(LABELS) == set(IN_THE_SAMPLE)
    for key, label in LABELS.items():
        assert key == label.name
        assert label.prompt in PHRASES[key], "the tiny SAM3 was not trained on this prompt"
        assert label.min_area_m2 > 0
    kinds = {label.kind: {k for k, v in LABELS.items() if v.kind == label.kind}
             for label in LABELS.values()}  # fmt: skip
    assert kinds["discrete"] == {"roof", "pool"}


def test_docs_and_labels_yaml_agree() -> None:
    page = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")
    said = re.findall(
        r"^\| `(\w+)` \| ([\w ]+) \| (continuous|discrete) \| (\d+) m² \|$", page, re.M
    )
    assert said == [
        (label.name, label.prompt, label.kind, f"{label.min_area_m2:g}")
        for label in LABELS.values()
    ]


def test_labels_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LABELS["lawn"].prompt = "moss"  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        LABELS["moss"] = LABELS["lawn"]  # type: ignore[index]  # what is tested


def test_a_changed_label_keeps_its_other_values() -> None:
    known = merge_label_entries(LABELS, {"lawn": LabelEntry(prompt="dry grass")}, "here")
    assert known["lawn"] == dataclasses.replace(LABELS["lawn"], prompt="dry grass")
    known = merge_label_entries(LABELS, {"pool": LabelEntry(min_area_m2=9)}, "here")
    assert known["pool"] == dataclasses.replace(LABELS["pool"], min_area_m2=9.0)
    assert {k: v for k, v in known.items() if k != "pool"} == {
        k: v for k, v in LABELS.items() if k != "pool"
    }


def test_a_new_label_is_discrete_by_default() -> None:
    entries = {
        "trampoline": LabelEntry(prompt="round backyard trampoline"),
        "gravel": LabelEntry(prompt="gravel bed", kind="continuous", score_threshold=0.3),
    }
    known = merge_label_entries(LABELS, entries, "here")
    assert list(known) == [*LABELS, "trampoline", "gravel"]
    assert known["trampoline"] == Label("trampoline", "round backyard trampoline", "discrete", 1.0)
    assert known["gravel"] == Label("gravel", "gravel bed", "continuous", 1.0, 0.3)
    with pytest.raises(LabelError, match=r"here: 'labels\.moat': a new label needs a prompt"):
        merge_label_entries(LABELS, {"moat": LabelEntry(kind="discrete")}, "here")


def test_a_label_option() -> None:
    assert parse_label_option(" trampoline = round  backyard trampoline ") == {
        "trampoline": LabelEntry(prompt="round backyard trampoline")
    }
    assert parse_label_option("a=b=c")["a"].prompt == "b=c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trampoline", "write a name and its prompt"),
        ("=x", "'' is not a label name"),
        ("trampoline=", "'labels.trampoline.prompt': write a few words"),
        ("trampoline=a\0b", "'labels.trampoline.prompt': write a few words"),
        (f"trampoline={'x' * 201}", "'labels.trampoline.prompt': write a few words"),
        ("Trampoline=x", "'Trampoline' is not a label name; write a-z, digits and '_'"),
        ("../x=y", "'../x' is not a label name"),
        ("solar panel=x", "'solar panel' is not a label name; write a-z, digits and '_', a"),
        (f"{'x' * 41}=y", "is not a label name"),
        ("boundary_area=x", "is a column of the exports already"),
    ],
)
def test_invalid_label_options(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        parse_label_option(text)
    assert str(caught.value).startswith("label '")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lawn: {prompt: x}", "write all labels under 'labels:', the only top-level key"),
        ("labels: {}\nmore: 1", "write all labels under 'labels:', the only top-level key"),
        ("labels: [lawn]", "'labels': write a name and a prompt for each label"),
        ("labels: {lawn: }", "'labels.lawn': write its prompt, or a mapping of prompt, kind"),
        ("labels: {lawn: {prmpt: x}}", "'labels.lawn.prmpt' is not a key; did you mean 'prompt'?"),
        ("labels: {lawn: {kind: soft}}", "'labels.lawn.kind': 'soft' is wrong; write discrete or"),
        (
            "labels: {lawn: {prompt: x, min_area_m2: -1}}",
            "'labels.lawn.min_area_m2': -1 is wrong; write square metres, from 0 to 10,000",
        ),
        (
            "labels: {lawn: {prompt: x, score_threshold: 1.5}}",
            "'labels.lawn.score_threshold': 1.5 is wrong; write a number above 0 and below 1",
        ),
        (
            "labels: {lawn: {prompt: x, simplify_share: .nan}}",
            "'labels.lawn.simplify_share': nan is wrong; write a fraction from 0 to 0.1",
        ),
        ("labels: {lawn: {prompt: [x]}}", "'labels.lawn.prompt': a list is wrong; write a few wo"),
        ("labels: {lawn: {kind: discrete}}", "'labels.lawn': a new label needs a prompt"),
        (
            "labels: {lawn: x, lawn: y}",
            "line 1: not valid YAML: 'lawn' is a duplicate key; keep one",
        ),
        ("labels: {1: x}", "'labels': '1' is not a label name"),
    ],
)
def test_mistakes_in_a_file_are_named_with_a_fix(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text(text)
    with pytest.raises(LabelError) as caught:
        read_labels(file)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{file}: {message}")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"labels\.yaml: no such file"):
        read_labels(tmp_path / "labels.yaml")


def test_public_names() -> None:
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

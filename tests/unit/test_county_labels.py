"""The labels of a batch: those of labels.yaml, of the county, and of the command line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from detection import LABELS
from detection.county_labels import CountyLabels
from detection.errors import LabelError
from detection.registry.county import DetectionCounty
from detection.registry.label_entry import LabelEntry
from pipeline.batch import BatchRequest
from pipeline.cli.batch import batch
from pipeline.open_county import open_county

COUNTY = DetectionCounty(key="here", path=Path("x"))
OWN = DetectionCounty(
    key="here",
    path=Path("x"),
    labels={"shed": LabelEntry(prompt="garden shed"), "lawn": LabelEntry(prompt="dry grass")},
)
TRAMPOLINE = "trampoline=round backyard trampoline"
SPECTRAL = ("lawn", "tree", "vegetation")


def _labels(request: BatchRequest, county: DetectionCounty) -> CountyLabels:
    return CountyLabels(county, request.labels, request.own_labels)


def _names(
    request: BatchRequest, county: DetectionCounty, supported: tuple[str, ...] | None
) -> list[str]:
    return [label.name for label in _labels(request, county).for_segmenter("a test", supported)]


def test_default_is_all_labels_that_the_segmenter_supports() -> None:
    assert _names(BatchRequest("here"), COUNTY, None) == list(LABELS)
    assert _names(BatchRequest("here"), COUNTY, SPECTRAL) == ["lawn", "tree", "vegetation"]
    assert _names(BatchRequest("here"), OWN, None) == [*LABELS, "shed"]
    # A county label that the segmenter does not support is left out.
    assert _names(BatchRequest("here"), OWN, SPECTRAL) == ["lawn", "tree", "vegetation"]


def test_own_labels_are_added() -> None:
    request = BatchRequest("here", own_labels=(TRAMPOLINE,))
    assert _names(request, COUNTY, None) == [*LABELS, "trampoline"]
    with pytest.raises(LabelError, match="a test cannot detect 'trampoline', only lawn, tree"):
        _names(request, COUNTY, SPECTRAL)
    request = BatchRequest("here", labels=("pool",), own_labels=(TRAMPOLINE,))
    assert _names(request, COUNTY, None) == ["pool", "trampoline"]
    assert _names(BatchRequest("here", labels=("shed",)), OWN, None) == ["shed"]


def test_another_prompt_for_a_known_label_changes_nothing_else() -> None:
    [lawn, *_] = _labels(BatchRequest("here"), OWN).for_segmenter("a test", None)
    assert (lawn.prompt, lawn.kind, lawn.min_area_m2) == ("dry grass", "continuous", 4.0)
    [lawn] = _labels(
        BatchRequest("here", labels=("lawn",), own_labels=("lawn=moss",)), OWN
    ).for_segmenter("a test", None)
    assert (lawn.prompt, lawn.kind, lawn.min_area_m2) == ("moss", "continuous", 4.0)


@pytest.mark.parametrize(
    ("request_with_error", "message"),
    [
        (BatchRequest("here", labels=("moat",)), "unknown label 'moat': choose from lawn, "),
        (BatchRequest("here", own_labels=("moat",)), "write a name and its prompt"),
        (BatchRequest("here", own_labels=("a=b", "a=c")), "the label 'a' is given twice"),
    ],
)
def test_invalid_labels_are_rejected(request_with_error: BatchRequest, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        _labels(request_with_error, COUNTY)


def test_a_county_label_without_a_prompt_is_rejected() -> None:
    county = COUNTY.model_copy(update={"labels": {"moat": LabelEntry(kind="discrete")}})
    with pytest.raises(
        LabelError, match=r"county 'here': 'labels\.moat': a new label needs a prompt"
    ):
        _labels(BatchRequest("here"), county)


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, ()),
        ([], {"LABEL": ""}, ()),
        ([], {"LABEL": "a=b c; d=e ;"}, ("a=b c", " d=e ")),
        (["--label", "a=b; c", "--label", "d=e"], {}, ("a=b; c", "d=e")),
        (["--label", "a=b"], {"LABEL": "c=d"}, ("a=b",)),
    ],
)
def test_label_option_and_variable(
    arguments: list[str], environment: dict[str, str], expected: tuple[str, ...]
) -> None:
    values: list[tuple[str, ...]] = []
    [option] = [o for o in batch.params if o.name == "own_labels"]

    @click.command(params=[option])
    def command(own_labels: tuple[str, ...]) -> None:
        values.append(own_labels)

    result = CliRunner().invoke(command, arguments, env={"LABEL": None, **environment})
    assert result.exit_code == 0, result.output
    assert values == [expected]


def test_a_synthetic_county_keeps_the_settings_of_its_entry(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "counties:\n  made:\n    synthetic: {seed: 3, lots: 4}\n    lot_offset_m: [1, -2]\n"
        "    line_tolerance_m: 3\n    imagery: {chip_gsd_m: 0.6}\n"
        "    labels: {trampoline: round backyard trampoline}\n    extent: [-91, 34, -89, 36]\n"
    )
    county = open_county("made", registry, tmp_path / "home").county
    assert (county.lot_offset_m, county.line_tolerance_m) == ((1.0, -2.0), 3.0)
    assert county.labels["trampoline"].prompt == "round backyard trampoline"
    assert county.extent == (-91.0, 34.0, -89.0, 36.0)
    assert (county.imagery.chip_gsd_m, county.imagery.url) == (0.6, None)
    assert county.source == "file"

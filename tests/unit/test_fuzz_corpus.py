"""What fuzzing found once is read or refused now, and sound inputs are accepted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, Target, is_refused

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.filterwarnings("ignore")  # GDAL's and numpy's about damaged files
def test_a_found_input_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    target = TARGETS[path.parent.name]
    # Under another name: formats are told by their content.
    copy = Path(shutil.copy(path, tmp_path / f"input{target.suffix}"))
    is_refused(target, copy)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_sound_inputs_are_accepted(target: Target, tmp_path: Path) -> None:
    for sound in target.sound:
        path = tmp_path / f"input{target.suffix}"
        path.write_bytes(sound)
        target.read(path)

"""Each untrusted reader gives a sound result or an error for whatever damaged input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.session import fuzz
from fuzz.targets import TARGETS

SECONDS = 60.0


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_inputs_are_read_or_refused(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = fuzz(name, tmp_path, SECONDS, seed=1)
    record_property("inputs", found.inputs)
    reports = [fault.read_text()[-2_000:] for fault in (tmp_path / "faults").glob("*.txt")]
    assert not found.faults, "\n\n".join(reports)
    assert found.inputs > found.refused > 0

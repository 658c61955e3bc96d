"""Every case of the tricky geometries benchmark."""

from __future__ import annotations

import pytest

from benchmarks.tricky_cases import Case, cases
from benchmarks.tricky_geometries import RIGHT, WRONG, by_us, verdict

CASES = cases()


def test_there_are_22_kinds() -> None:
    assert len({case.kind for case in CASES}) == 22


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_conversion_is_correct(case: Case) -> None:
    [lot] = by_us([case])
    assert verdict(case, lot) == RIGHT


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_a_different_shape_is_detected(case: Case) -> None:
    others = [other.truth for other in CASES if not other.truth.equals(case.truth)]
    near = [
        case.truth.buffer(1e-4),
        case.truth.envelope.buffer(1e-4),
        case.truth.convex_hull.buffer(-1e-6),
    ]
    assert {verdict(case, other) for other in (*others, *near, None)} == {WRONG}

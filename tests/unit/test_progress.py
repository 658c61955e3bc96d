"""Progress in plain lines: what begins, how far it is, and how fast."""

from __future__ import annotations

import pytest

from pipeline.cli import progress
from pipeline.cli.progress import LineProgress


@pytest.mark.parametrize(
    ("seconds", "speed"),
    [(0.5, "400 a second"), (200.0, "1 a second"), (400.0, "2.0 s each"), (3_000.0, "15.0 s each")],
)
def test_how_fast_it_is(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    speed: str,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = LineProgress("properties")
    lines.start(200, "Here")
    now[0] = seconds
    lines.advance(200)
    assert capsys.readouterr().err.splitlines() == [
        "Here: 200 properties to do",
        f"Here: 200 of 200, {speed}",
    ]


@pytest.mark.parametrize(
    ("count", "things", "said"),
    [(1, "properties", "1 property"), (0, "properties", "0 properties"), (1, "rows", "1 row"),
     (2_345, "parcels", "2,345 parcels")],
)  # fmt: skip
def test_one_is_no_plural(
    capsys: pytest.CaptureFixture[str], count: int, things: str, said: str
) -> None:
    LineProgress(things).start(count, "Here")
    assert capsys.readouterr().err == f"Here: {said} to do\n"


def test_what_is_waited_for_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress("properties").message("asking Here's parcel server")
    assert capsys.readouterr().err == "asking Here's parcel server\n"

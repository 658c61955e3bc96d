"""Progress as plain lines: the task, the count and the speed."""

from __future__ import annotations

import pytest

from pipeline.cli import progress
from pipeline.cli.progress import BarProgress, LineProgress


@pytest.mark.parametrize(
    ("seconds", "speed"),
    [(0.5, "400 a second"), (200.0, "1 a second"), (400.0, "2.0 s each"), (3_000.0, "15.0 s each")],
)
def test_the_last_line_has_the_speed(
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
    ("count", "things", "text"),
    [(1, "properties", "1 property"), (0, "properties", "0 properties"), (1, "rows", "1 row"),
     (2_345, "parcels", "2,345 parcels")],
)  # fmt: skip
def test_one_item_is_singular(
    capsys: pytest.CaptureFixture[str], count: int, things: str, text: str
) -> None:
    LineProgress(things).start(count, "Here")
    assert capsys.readouterr().err == f"Here: {text} to do\n"


def test_a_message_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress("properties").message("querying Here's parcel server")
    assert capsys.readouterr().err == "querying Here's parcel server\n"


@pytest.mark.parametrize("width", [40, 71, 72, 120])
def test_a_narrow_terminal_shows_the_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    bar = BarProgress("properties")
    bar.start(1_234, "Sample county (synthetic)")
    bar.advance(17)
    bar.stop()
    shown = capsys.readouterr().err
    assert "17/1234" in shown
    assert "Sample county (synthetic)" in shown
    assert "…" not in shown

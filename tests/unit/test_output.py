"""Output: a stream that fails does not stop the command, and text from outside is only text."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline.cli.console import console
from pipeline.cli.output import echo, echo_json, print_message
from pipeline.cli.summary_tables import table_of

_PRINTS_AND_CONTINUES = """
import logging, sys, click
from rich.console import Console
from pipeline.cli.streams import wrap_standard_streams

wrap_standard_streams()
logging.basicConfig()
for stream in (sys.stdout, sys.stderr):
    for _ in range(3):
        print("lost", file=stream, flush=True)
        click.echo("lost", file=stream)
        Console(file=stream).print("lost")
logging.warning("lost")
with open(sys.argv[1], "w") as done:
    done.write("done")
print("lost" * 99_999)
sys.exit(3)
"""


def test_a_closed_pipe_does_not_stop_the_command(tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    marker = tmp_path / "done"
    try:
        finished = subprocess.run(
            [sys.executable, "-c", _PRINTS_AND_CONTINUES, str(marker)],
            stdout=written, stderr=written, check=False,
        )  # fmt: skip
    finally:
        os.close(written)
    assert finished.returncode == 3
    assert marker.read_text() == "done"


def test_unencodable_characters_become_question_marks() -> None:
    code = (
        "from pipeline.cli.streams import wrap_standard_streams;"
        "wrap_standard_streams(); print('1 m²')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"1 m?\n"


FULL = Path("/dev/full")
_LOTLINE = "import sys; from pipeline.cli.app import main; sys.argv[0] = 'lotline'; main()"


def _shell(redirection: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = f'"$0" "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, sys.executable, "-c", _LOTLINE, *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("redirection", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_lost_output_has_an_exit_code_of_its_own(redirection: str, tmp_path: Path) -> None:
    done = _shell(redirection, "config", cwd=tmp_path)
    assert done.returncode == 3
    if "2>" not in redirection:
        assert "error: standard output could not be written (No space left on device)" in (
            done.stderr
        )


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&- 0<&-"])
def test_a_lost_log_changes_nothing(redirection: str, tmp_path: Path) -> None:
    done = _shell(redirection, "config", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lotline.toml" in done.stdout
    assert _shell(redirection, "config", "--nonsense", cwd=tmp_path).returncode == 2


def test_closed_standard_output_is_discarded_output(tmp_path: Path) -> None:
    done = _shell(">&-", "config", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


_OPENS = """
import os, sys
import pipeline.cli
from pipeline.cli.streams import wrap_standard_streams
wrap_standard_streams()
with open(sys.argv[1], "w") as file:
    os.write(2, b"from a library")
    sys.stderr.write("logged")
    file.write("rows")
"""


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = '"$0" -c "$1" "$2" 2>&-'
    subprocess.run(["sh", "-c", script, sys.executable, _OPENS, str(tmp_path / "f")], check=True)
    assert (tmp_path / "f").read_text() == "rows"


def test_a_full_pipe_that_does_not_block_loses_nothing() -> None:
    read, written = os.pipe()
    os.set_blocking(written, False)
    code = (
        "from pipeline.cli.streams import wrap_standard_streams;"
        "wrap_standard_streams(); print('x' * 300_000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=written) as process:
        os.close(written)
        with os.fdopen(read) as pipe:
            assert len(pipe.read()) == 300_001
    assert process.returncode == 0


HOSTILE = "R:100:7 [red]x[/red] \x1b[2J\x1b]0;t\x07\x9b31m\u202eabc\r\x00"
SHOWN = "R:100:7 [red]x[/red]  [2J ]0;t  31m abc  "


def test_a_console_shows_text_from_outside_as_it_is() -> None:
    out = console()
    out.file = io.StringIO()
    out.width = 200
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    for renderable in (HOSTILE, Text(HOSTILE), table):
        out.print(renderable)
    printed = out.file.getvalue()
    # Rich drops a bell in its own texts.
    shown = re.findall(r"R:100:7 \[red\]x\[/red\]  \[2J \]0;t {1,2}31m abc", printed)
    assert len(shown) == 6
    assert all(character.isprintable() or character == "\n" for character in printed)


def test_a_line_from_outside_is_not_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("county\nerror: forged\n  listed", logging.ERROR)
    echo(HOSTILE)
    captured = capsys.readouterr()
    assert captured.err == "error: county\n  error: forged\n  listed\n"
    assert captured.out == f"{SHOWN}\n"


def test_json_shows_nothing_that_a_terminal_acts_on(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.dumps({"id": HOSTILE + "\U000e0041é"}, ensure_ascii=False, indent=1)
    echo_json(document)
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"id": HOSTILE + "\U000e0041é"}
    assert "é" in printed
    assert all(character.isprintable() or character == "\n" for character in printed)


@pytest.mark.parametrize("width", [10, 20, 40, 79, 100, 200])
def test_a_narrow_terminal_cuts_no_number(width: int) -> None:
    table = table_of("Areas", ("label", "boundary"), ("properties", "detections", "m²", "sq ft"))
    table.add_row("vegetation", "lot", "1,039", "80,080", "21,445,000", "230,831,001")
    table.add_row("lawn", "", "39", "119", "17,618", "189,644")
    out = console()
    out.width = width
    with out.capture() as captured:
        out.print(table)
    printed = captured.get()
    for text in ("Areas", "1,039", "80,080", "21,445,000", "230,831,001", "189,644", "sq ft"):
        assert text in printed
    assert "…" not in printed


@pytest.mark.parametrize("hostile", ["\x1b[31m", "[red]", ":100:", "a\nERROR: run 1", "\u202e"],
                         ids=["escape", "markup", "emoji", "line break", "bidi"])  # fmt: skip
def test_a_table_as_lines_shows_text_alone(hostile: str) -> None:
    table = table_of("T", ("label", "reason"), ("lots",))
    table.add_row(hostile, hostile, "1,234,567")
    out = console()
    out.width = 8
    with out.capture() as captured:
        out.print(table)
    printed = captured.get()
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert printed.count("\n") == 2
    if hostile.isprintable():
        assert hostile in printed


@pytest.mark.parametrize("width", [20, 40])
def test_a_progress_bar_is_a_bar_in_a_narrow_terminal(width: int) -> None:
    out = console()
    out.width = width
    bar = Progress(TextColumn("Sample county (synthetic):"), BarColumn(), console=out)
    bar.add_task("", total=5)
    with out.capture() as captured:
        out.print(bar.get_renderable())
    assert "<" not in captured.get()


def test_ctrl_c_during_the_imports_is_no_traceback() -> None:
    code = (
        "import sys, types; from pipeline.cli import main;"
        "app = types.ModuleType('pipeline.cli.app');"
        "app.__getattr__ = lambda name: (_ for _ in ()).throw(KeyboardInterrupt);"
        "sys.modules['pipeline.cli.app'] = app; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")

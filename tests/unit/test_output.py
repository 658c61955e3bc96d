"""Standard streams: a closed pipe or a narrow encoding does not stop the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PRINTS_AND_CONTINUES = """
import logging, sys, click
from rich.console import Console
from pipeline.cli.output import wrap_standard_streams

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
        "from pipeline.cli.output import wrap_standard_streams;"
        "wrap_standard_streams(); print('1 m²')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"1 m?\n"

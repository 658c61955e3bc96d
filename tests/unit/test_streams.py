"""A reader that is gone stops no command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SAYS_AND_WORKS_ON = """
import logging, sys, click
from rich.console import Console
from pipeline.cli.streams import open_streams

open_streams()
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


def test_what_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    done = tmp_path / "done"
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _SAYS_AND_WORKS_ON, str(done)],
            stdout=written, stderr=written, check=False,
        )  # fmt: skip
    finally:
        os.close(written)
    assert ended.returncode == 3
    assert done.read_text() == "done"


def test_what_somebody_reads_arrives() -> None:
    said = "from pipeline.cli.streams import open_streams\nopen_streams()\nprint('1 m²')"
    told = subprocess.run(
        [sys.executable, "-c", said], env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert told.stdout == b"1 m?\n"

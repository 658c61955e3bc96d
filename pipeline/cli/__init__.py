"""The command `lotline`. Exit codes: 0 done, 1 some properties failed (listed), 2 wrong usage."""

from pipeline.cli.main import main

__all__ = ["main"]

"""The `lotline` command. Exit codes: 0 success, 1 some properties failed, 2 error, 130 Ctrl-C."""

from pipeline.cli.app import main

__all__ = ["main"]

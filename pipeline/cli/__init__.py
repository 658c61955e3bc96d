"""The `lotline` command. Exit codes: 0 success, 1 some properties failed, 2 error, 130 Ctrl-C."""

from __future__ import annotations

import sys

from parcels.missing_extra import missing_extra

__all__ = ["main"]


def main() -> None:
    """Run the command; without the packages that it needs, say which extra brings them."""
    try:
        from pipeline.cli.app import main as run

        run()
    except ModuleNotFoundError as error:
        message = missing_extra(error, _wanted(error))
        if message is None:
            raise
        sys.stderr.write(f"error: {message}\n")
        sys.exit(2)


def _wanted(error: ModuleNotFoundError) -> str | None:
    """Every command needs the extra `pipeline`, except what `ray` adds to it."""
    return None if (error.name or "").partition(".")[0] == "ray" else "pipeline"

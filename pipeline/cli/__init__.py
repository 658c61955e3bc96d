"""The `lotline` command.

Exit codes: 0 success, 1 some properties failed, 2 error, 3 the work is done, but standard output,
the map or the report could not be written, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys

from pipeline.cli.streams import open_closed_streams
from pipeline.exit_codes import INTERRUPTED

__all__ = ["main"]

# First of all: an import opens files, which would get the number of a closed standard stream.
open_closed_streams()


def main() -> None:
    """Run the command; without the packages that it needs, say which extra brings them."""
    # Compiled packages turn a KeyboardInterrupt during their import into an ImportError.
    by_default = signal.getsignal(signal.SIGINT)
    if by_default is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        from pipeline.cli.app import main as run

        signal.signal(signal.SIGINT, by_default)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        from parcels.missing_extra import missing_extra

        message = missing_extra(error, _wanted(error))
        if message is None:
            raise
        if sys.stderr is not None:  # not closed
            sys.stderr.write(f"error: {message}\n")
        sys.exit(2)


def _wanted(error: ModuleNotFoundError) -> str | None:
    """Every command needs the extra `pipeline`, except what `ray` and `review` add to it."""
    added = ("ray", "fastapi", "starlette", "uvicorn")
    return None if (error.name or "").partition(".")[0] in added else "pipeline"

"""The `lotline` command.

Exit codes: 0 success, 1 some properties failed, 2 error, 3 standard output could not be written,
130 Ctrl-C.
"""

# First of all: an import opens files, which would get the number of a closed standard stream.
from pipeline.cli.streams import open_closed_streams

open_closed_streams()

from pipeline.cli.app import main  # noqa: E402

__all__ = ["main"]

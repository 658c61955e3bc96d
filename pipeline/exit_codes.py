"""Exit codes of `lotline` besides 0 (success), 1 (some properties failed) and 2 (error)."""

from __future__ import annotations

# The work is done, but what was to be printed or written is lost.
OUTPUT_LOST = 3
INTERRUPTED = 130

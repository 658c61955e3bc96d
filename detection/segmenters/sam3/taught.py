"""The phrases that a small network was taught, from the metadata of its weights, without torch.

SAM3 itself takes any noun phrase. A small network knows only those of its training, and says so: an
untaught phrase is a caveat of the results.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from pathlib import Path

TAUGHT_PHRASES_KEY = "taught_phrases"
# A safetensors file begins with the length of its header.
_LENGTH = struct.Struct("<Q")
_MAX_HEADER_BYTES = 1 << 24


@lru_cache(maxsize=8)
def taught_phrases(weights: Path) -> frozenset[str] | None:
    """The normalized phrases of a safetensors file; None if it names none, or cannot be read.

    What is wrong with a damaged file is said where its weights are loaded.
    """
    try:
        with weights.open("rb") as file:
            [length] = _LENGTH.unpack(file.read(_LENGTH.size))
            header = json.loads(file.read(min(length, _MAX_HEADER_BYTES)))
        phrases = json.loads(header["__metadata__"][TAUGHT_PHRASES_KEY])
        return frozenset(normalized(phrase) for phrase in phrases)
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError):
        return None


def normalized(phrase: str) -> str:
    """As the tokenizer reads it: lower case, single spaces."""
    return " ".join(phrase.lower().split())

"""Text -> token ids, offline: CLIP's byte pair encoding with the vocabulary in this package."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from detection.errors import SegmenterError

CONTEXT_LENGTH = 32
_START, _END = "<|startoftext|>", "<|endoftext|>"


def tokenize(phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(ids, mask) of n phrases, int64 and bool (n, 32); the mask is False for padding.

    Raises:
        SegmenterError: an empty phrase, or one with too many tokens.
    """
    ids = torch.zeros(len(phrases), CONTEXT_LENGTH, dtype=torch.int64)
    mask = torch.zeros(len(phrases), CONTEXT_LENGTH, dtype=torch.bool)
    for row, phrase in enumerate(phrases):
        found = _tokenizer()(phrase).input_ids
        if len(found) <= 2:
            raise SegmenterError(f"the prompt {phrase!r} is empty. Name the objects to detect")
        if len(found) > CONTEXT_LENGTH:
            raise SegmenterError(
                f"the prompt {phrase!r} has {len(found) - 2} tokens, but SAM3 takes at most "
                f"{CONTEXT_LENGTH - 2}. Shorten it to a noun phrase"
            )
        ids[row, : len(found)] = torch.tensor(found)
        mask[row, : len(found)] = True
    return ids, mask


@cache
def _tokenizer() -> CLIPTokenizer:
    packed = files(__package__).joinpath("vocabulary/merges.txt.gz").read_bytes()
    merges = [
        (left, right)
        for left, right in (line.split() for line in gzip.decompress(packed).decode().splitlines())
    ]
    symbols = _byte_symbols()
    words = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    words += [left + right for left, right in merges] + [_START, _END]
    vocabulary = {word: number for number, word in enumerate(words)}
    # Annotated as strings, but pairs are required.
    return CLIPTokenizer(vocab=vocabulary, merges=merges)  # type: ignore[arg-type]


def _byte_symbols() -> list[str]:
    """CLIP's character for each byte: printable bytes as themselves first, then the others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = len(set(range(256)) - set(printable))
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(hidden)]

"""Compilation of the parts, and how they round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

# A part is compiled for each number of chips and prompts; PyTorch stops at 8 by default.
_MOST_SHAPES = 64


def compile_part(function: Callable[P, T], *, compiled: bool) -> Callable[P, T]:
    """`function`, compiled as one graph for the shapes that it meets if `compiled`.

    Parts that repeat, such as a layer, are compiled once and not once a layer.
    """
    if not compiled:
        return function
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _MOST_SHAPES)
    ready: Callable[P, T] = torch.compile(function, fullgraph=True, dynamic=False)
    return ready


@contextmanager
def tf32_matmul() -> Iterator[None]:
    """Float32 products with inputs rounded to 10 bits (TF32), where the GPU has units for them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""Compilation of the network's parts, and TF32 rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

# A part is compiled for each number of chips and prompts; PyTorch's default limit is 8.
_MAX_SHAPES = 64


def compile_part(function: Callable[P, T], *, compiled: bool) -> Callable[P, T]:
    """`function`; if `compiled`, as one graph for each shape of its input.

    A repeated part, such as a layer, is compiled once for all repetitions.
    """
    if not compiled:
        return function
    dynamo = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _MAX_SHAPES)
    graph: Callable[P, T] = torch.compile(function, fullgraph=True, dynamic=False)
    return graph


@contextmanager
def tf32_matmul() -> Iterator[None]:
    """Float32 matrix products in TF32 (inputs rounded to 10 bits), if the GPU supports it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

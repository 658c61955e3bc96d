"""Compilation of the parts, and CUDA graphs of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# A part is compiled for each number of chips and prompts; PyTorch stops at 8 by default.
_MOST_SHAPES = 64


def part(function: Callable[P, T], *, compiled: bool) -> Callable[P, T]:
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
def tensor_float32() -> Iterator[None]:
    """Float32 products with inputs rounded to 10 bits (TF32), where the GPU has units for them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Replayed(Generic[T]):
    """A function of CUDA tensors of fixed shapes, recorded once and replayed.

    Its hundreds of small kernels then start without Python. Each call overwrites what the call
    before it returned. `arguments` are examples; their shapes are those of every call.
    """

    def __init__(self, function: Callable[..., T], *arguments: Tensor) -> None:
        self.arguments = [argument.clone() for argument in arguments]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(2):  # compiles, and lets libraries take their memory
                function(*self.arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self.graph):
            self.result = function(*self.arguments)

    def __call__(self, *arguments: Tensor) -> T:
        """The function's result, in memory that the next call overwrites."""
        for mine, given in zip(self.arguments, arguments, strict=True):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.result

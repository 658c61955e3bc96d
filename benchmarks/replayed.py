"""CUDA graphs: a function's cost without the Python that launches its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Replayed(Generic[T]):
    """A function of CUDA tensors of fixed shapes, recorded once and replayed.

    Its hundreds of small kernels then launch without Python. Each call overwrites the result of the
    previous one. `arguments` are examples; their shapes are those of every call.
    """

    def __init__(self, function: Callable[..., T], *arguments: Tensor) -> None:
        self.arguments = [argument.clone() for argument in arguments]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(2):  # compiles, and lets libraries allocate their memory
                function(*self.arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self.graph):
            self.result = function(*self.arguments)

    def __call__(self, *arguments: Tensor) -> T:
        """Return the function's result, in memory that the next call overwrites."""
        for mine, given in zip(self.arguments, arguments, strict=True):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.result

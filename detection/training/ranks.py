"""Several processes that train one network together: one for each GPU, started by torchrun.

Each process (rank) computes its part of a step's batch; gradients, losses and their divisors are
averaged over all, so that the step is that of one process with the whole batch. The first rank
alone writes, judges and reports. What changes the course of a run is agreed by all of them: its
end, the sizes of a step, the checkpoint of a resume.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from detection.errors import TrainingError

T = TypeVar("T")

# The first rank may judge for long. A process that ended is noticed by torchrun, which ends all.
_TIMEOUT: Final = timedelta(hours=24)
# Gradients travel in parts of so many numbers, which takes little memory.
_BUCKET: Final = 1 << 23


class Ranks:
    """One process among those that train together; alone, nothing is exchanged.

    Attributes:
        number: of the process, from 0.
        count: of all.
    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number, self.count = number, count
        self._is_exchanging = count > 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes, judges and reports."""
        return self.number == 0

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exchange nothing meanwhile: a step that is tried, and that may fail here only."""
        before, self._is_exchanging = self._is_exchanging, False
        try:
            yield
        finally:
            self._is_exchanging = before

    @torch.no_grad()
    def average(self, value: Tensor) -> Tensor:
        """The mean of all ranks' tensors, without a gradient; it stays on the device."""
        if not self._is_exchanging:
            return value.detach()
        mean = value.detach().clone()
        dist.all_reduce(mean)
        return mean.div_(self.count)

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by the mean of all ranks; a missing one counts as 0."""
        if not self._is_exchanging:
            return
        waiting: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if sum(each.numel() for each in waiting) + parameter.numel() > _BUCKET and waiting:
                self._average_all(waiting)
                waiting = []
            waiting.append(parameter.grad)
        if waiting:
            self._average_all(waiting)

    def _average_all(self, gradients: Sequence[Tensor]) -> None:
        mean = self.average(torch.cat([each.flatten() for each in gradients]))
        parts = torch.split(mean, [each.numel() for each in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def begin_alike(self, network: nn.Module) -> None:
        """Give every rank the first one's parameters and buffers."""
        if self.are_several:
            for tensor in (*network.parameters(), *network.buffers()):
                dist.broadcast(tensor.data, 0)

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """The sums of all ranks' numbers, by the hosts: waits for the others."""
        if not self.are_several:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(each) for each in total]

    def gather(self, value: T) -> list[T]:
        """All ranks' values, in their order: waits for the others."""
        if not self.are_several:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def from_first(self, value: T) -> T:
        """The first rank's value: waits for it."""
        return self.gather(value)[0]

    def wait(self) -> None:
        """Until all ranks are here."""
        self.gather(None)

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first rank does something, then the others do: they find its files."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


ALONE: Final = Ranks()


def process_count() -> int:
    """The number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process is the first of those that torchrun started, or alone."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def open_ranks(device: str | None) -> Iterator[tuple[Ranks, str | None]]:
    """The ranks that torchrun started, and the device of this one.

    Args:
        device: as it was asked for; None is a GPU where there is one.

    Raises:
        TrainingError: a machine has fewer GPUs than processes, or one GPU was named.
    """
    if process_count() <= 1:
        yield ALONE, device
        return
    own = _device_of_rank(device, int(os.environ.get("LOCAL_RANK", "0")))
    on_gpu = own.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(own)
    # What the hosts agree on never waits for a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()), own
    finally:
        dist.destroy_process_group()


def _device_of_rank(asked: str | None, local: int) -> str:
    if asked not in (None, "cpu", "cuda"):
        raise TrainingError(
            f"--device {asked}: several processes take a GPU each; write cuda or cpu, or leave it "
            "out"
        )
    if asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    if local >= torch.cuda.device_count():
        raise TrainingError(
            f"this machine has {torch.cuda.device_count()} GPUs, which is fewer than processes: "
            "start torchrun with --nproc-per-node set to the number of GPUs"
        )
    return f"cuda:{local}"

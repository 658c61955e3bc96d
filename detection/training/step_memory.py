"""Keeps the step of a training within memory.

Before a run, one real step is taken at the sizes that were asked for: forward, backward, optimizer.
If it does not fit, the batch is halved until it does, then the other sizes of the task; then
everything is put back, so that the run is the same as one without that step. Should memory run out
later, because another process takes it, the same halving goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from detection.errors import TrainingError
from detection.memory_ladder import MemoryLadder
from detection.training.optimizer import GuardedOptimizer
from detection.training.random_states import random_states, restore_random_states
from detection.training.task import ResizableTask, TrainingTask

T = TypeVar("T")
_GIB = 1 << 30


class StepMemory:
    """The sizes of a task's step, halved where they do not fit.

    Attributes:
        peak_gib: GPU memory that the trial step took; None without a GPU, or before it.
    """

    def __init__(
        self, task: TrainingTask, device: torch.device, on_message: Callable[[str], None]
    ) -> None:
        self.peak_gib: float | None = None
        self._task, self._device = task, device
        self._resizable = task if isinstance(task, ResizableTask) else None
        sizes = self._resizable.sizes if self._resizable is not None else {}
        self._ladder = MemoryLadder(sizes, device_text(device), on_message)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that are used now; empty if the task has none."""
        return self._ladder.sizes

    def record(self) -> dict[str, Any]:
        """For run.json: the sizes that were asked for, those that are used, and the peak."""
        content: dict[str, Any] = {"asked": self._ladder.asked, "used": self.sizes}
        return content if self.peak_gib is None else content | {"peak_gib": self.peak_gib}

    def use(self, sizes: Mapping[str, int]) -> None:
        """Use the sizes with which a run was saved, as far as the task still has them."""
        for name in self.sizes.keys() & sizes.keys():
            self._ladder[name] = min(self._ladder[name], sizes[name])
        self._resize()

    def run(self, step: Callable[[], T], undo: Callable[[], None]) -> T:
        """The result of a step, taken again with smaller sizes until it fits.

        Args:
            undo: called after an attempt that did not fit.

        Raises:
            TrainingError: not even the smallest sizes fit.
        """
        while (result := self._ladder.attempt(step)) is None:
            undo()
            if not self._ladder.halve():
                raise TrainingError(self._no_memory())
            self._resize()
        return result

    def try_out(
        self, step: Callable[[], Any], network: nn.Module, optimizer: GuardedOptimizer
    ) -> None:
        """Take a step to see whether it fits, then put everything back as it was.

        Raises:
            TrainingError: as `run`.
        """
        saved = _SavedState(network, optimizer)
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self._device)
        try:
            self.run(step, optimizer.undo)
            if on_gpu:
                torch.cuda.synchronize(self._device)
                peak = torch.cuda.max_memory_allocated(self._device) / _GIB
                self.peak_gib = round(peak, 3)
        finally:
            saved.restore()

    def _resize(self) -> None:
        if self._resizable is not None:
            self._resizable.resize(self.sizes)

    def _no_memory(self) -> str:
        smallest = " and ".join(f"{name} {size}" for name, size in self.sizes.items())
        with_sizes = f" with {smallest}" if smallest else ""
        return no_memory_text(f"one step of {self._task.name}{with_sizes}", self._ladder)


def no_memory_text(what: str, ladder: MemoryLadder) -> str:
    """The message where nothing is left to halve."""
    return (
        f"{what} does not fit into the memory of {ladder.device} ({ladder.reason}). Stop other "
        "processes (on a GPU, `nvidia-smi` lists them), raise the container's memory limit, or use "
        "another --device; `lotline doctor` says what fits here"
    )


class _SavedState:
    """What a step changes: parameters, buffers, the optimizer's state and the random generators.

    The copies lie in the memory of the host: on a GPU they would take what the step needs.
    """

    def __init__(self, network: nn.Module, optimizer: GuardedOptimizer) -> None:
        self._tensors: list[Tensor] = [
            *(each.data for each in network.parameters() if each.requires_grad),
            *network.buffers(),
        ]
        self._copies = [tensor.to("cpu", copy=True) for tensor in self._tensors]
        self._optimizer = optimizer
        self._state = _on_host(optimizer.optimizer.state_dict())
        self._random = random_states()

    @torch.no_grad()
    def restore(self) -> None:
        for tensor, copy in zip(self._tensors, self._copies, strict=True):
            tensor.copy_(copy)
        self._optimizer.optimizer.load_state_dict(self._state)
        self._optimizer.optimizer.zero_grad(set_to_none=True)
        restore_random_states(self._random)


def device_text(device: torch.device) -> str:
    """A device's name, for messages."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "this machine" if device.type == "cpu" else str(device)


def _on_host(value: Any) -> Any:  # noqa: ANN401  of any nesting
    if isinstance(value, Tensor):
        return value.to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _on_host(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_on_host(each) for each in value]
    return value

"""AdamW with clipped gradients, which leaves everything as it was where a value is not finite.

Whether the loss and the norm of the gradients are finite is decided on the device: the fused AdamW
takes the flag as `found_inf`, as PyTorch's GradScaler passes it, and then changes neither weights
nor moments. So the weights are never spoiled, although the flag is read back only now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from detection.training.settings import TrainingSettings
from detection.training.task import ParameterGroup


class GuardedOptimizer:
    """AdamW of a network's parameter groups.

    Attributes:
        optimizer: with the state to save.
        parameters: that it trains.
    """

    def __init__(
        self, network: nn.Module, groups: Sequence[ParameterGroup], settings: TrainingSettings
    ) -> None:
        self.optimizer = torch.optim.AdamW(
            [dict(group) for group in groups],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )
        self.parameters = [each for group in groups for each in group["params"]]
        self._clip_norm = settings.clip_norm
        # Other buffers do not change in a forward pass.
        self._statistics = list(_running_statistics(network))
        self._kept = [statistic.clone() for statistic in self._statistics]

    def begin(self, rate: float) -> None:
        """Before the forward pass: set the learning rate, clear gradients, keep statistics."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self.optimizer.zero_grad(set_to_none=True)
        if self._kept:
            torch._foreach_copy_(self._kept, self._statistics)

    @torch.no_grad()
    def undo(self) -> None:
        """After a step that was not finished: drop its gradients, and put back the statistics."""
        self.optimizer.zero_grad(set_to_none=True)
        if self._kept:
            torch._foreach_copy_(self._statistics, self._kept)

    @torch.no_grad()
    def finish(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """After the backward pass: update the weights if all values are finite.

        Returns:
            the norm of the gradients before clipping, and whether the step was skipped (1.0 or
            0.0); both stay on the device.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self._clip_norm)
        finite = torch.isfinite(total.detach()) & torch.isfinite(norm)
        skipped = (~finite).float()
        optimizer: Any = self.optimizer
        optimizer.grad_scale, optimizer.found_inf = None, skipped
        optimizer.step()
        for kept, statistic in zip(self._kept, self._statistics, strict=True):
            torch.where(finite, statistic, kept, out=statistic)
        return norm, skipped


def _running_statistics(network: nn.Module) -> Iterator[Tensor]:
    """The running means and variances of batch norms, which a forward pass changes."""
    for module in network.modules():
        if isinstance(module, _NormBase):
            yield from module.buffers(recurse=False)

"""A running mean of a network's weights, which is smoother than the last step's."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average (EMA) of the parameters; buffers are copied.

    Attributes:
        network: a copy of the network with the averaged weights, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.network.train(mode=False)
        self.network.requires_grad_(requires_grad=False)
        self._decay = decay
        self._means = [parameter.data for parameter in self.network.parameters()]
        self._mean_buffers = list(self.network.buffers())

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step (from 0)."""
        # The first weights are random: a short memory at the start forgets them.
        decay = min(self._decay, (1 + step) / (10 + step))
        values: list[Tensor] = [parameter.data for parameter in network.parameters()]
        torch._foreach_lerp_(self._means, values, 1 - decay)
        if self._mean_buffers:
            torch._foreach_copy_(self._mean_buffers, list(network.buffers()))

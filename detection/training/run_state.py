"""The state of a run in memory: to a checkpoint and back."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.optim import Optimizer

from detection.errors import CheckpointError
from detection.training.ema import WeightAverage
from detection.training.random_states import random_states, restore_random_states


def capture(
    network: nn.Module, average: WeightAverage | None, optimizer: Optimizer
) -> dict[str, Any]:
    """Everything that the next step depends on."""
    return {
        "network": network.state_dict(),
        "average": None if average is None else average.network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": random_states(),
    }


def restore(
    state: dict[str, Any], network: nn.Module, average: WeightAverage | None, optimizer: Optimizer
) -> None:
    """Go on from a captured state.

    Raises:
        CheckpointError: it does not fit the network.
    """
    try:
        network.load_state_dict(state["network"])
        if average is not None:
            average.network.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        restore_random_states(state["random"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint does not fit this network: {error}") from error


def exported_network(network: nn.Module, average: WeightAverage | None) -> nn.Module:
    """A copy of the network whose weights are exported: the average if there is one."""
    source = network if average is None else average.network
    exported = copy.deepcopy(source)
    exported.train(mode=False)
    return exported


def saved_network(state: dict[str, Any], network: nn.Module) -> nn.Module:
    """The same of a saved state, with the architecture of a network."""
    saved = copy.deepcopy(network)
    weights = state["network"] if state["average"] is None else state["average"]
    try:
        saved.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit this network: {error}") from error
    saved.train(mode=False)
    return saved

"""Copies from the host to a device that do not wait for what the device is doing."""

from __future__ import annotations

import torch
from torch import Tensor


def copy_to(values: Tensor, device: torch.device) -> Tensor:
    """A host tensor on a device; its values must not change afterwards.

    From pageable memory CUDA would first wait for everything that is queued.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)

"""The Hungarian matcher: which query of each decoder layer answers for which object.

The costs of all rows and layers are computed on the device and copied to the host once; the device
goes on with whatever was queued in between (`start` before it, `PendingMatch.finish` after it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from detection.segmenters.sam3.host_copy import copy_to
from detection.training.sam3.boxes import pairwise_giou

# The weights of SAM3's matcher.
CLASS_COST, L1_COST, GIOU_COST = 2.0, 5.0, 2.0
_FOCAL_ALPHA, _FOCAL_GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class MatchedObjects:
    """Which query answers for which object.

    Attributes:
        queries: (layers, r, k) int64, the query of each object of each row; 0 for padding.
        rows, slots: (t,) int64: where the t objects are among r rows and their k places.
        most: the number of objects in the row that has most.
    """

    queries: Tensor
    rows: Tensor
    slots: Tensor
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class PendingMatch:
    """Costs on their way to the host."""

    _costs: Tensor
    _counts: Tensor
    _copied: torch.cuda.Event | None
    _device: torch.device

    def finish(self) -> MatchedObjects:
        """Wait for the costs, and match; the tensors are on the device."""
        if self._copied is not None:
            self._copied.synchronize()
        counts = self._counts.numpy()
        places = np.arange(self._costs.shape[-1])[None] < counts[:, None]
        parts = (assign(self._costs.numpy(), counts), *np.nonzero(places))
        found = [copy_to(torch.from_numpy(part), self._device) for part in parts]
        return MatchedObjects(found[0], found[1], found[2], int(counts.max(initial=0)))


@torch.no_grad()
def start(logits: Tensor, boxes: Tensor, true_boxes: Tensor, counts: Tensor) -> PendingMatch:
    """Compute the costs and begin to copy them to the host.

    Args:
        logits: (layers, rows, queries).
        boxes: (layers, rows, queries, 4), centre and size in 0..1.
        true_boxes: (rows, k, 4), the first `counts` of each row are objects.
        counts: (rows,) int64.
    """
    # A diverged network must show as a loss that is not finite, not as an error of the solver.
    costs = matching_costs(logits.float(), boxes.float(), true_boxes).nan_to_num(nan=1e4)
    if costs.device.type != "cuda":
        return PendingMatch(costs, counts, None, costs.device)
    on_host = [
        torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)
        for part in (costs, counts)
    ]
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record()
    return PendingMatch(on_host[0], on_host[1], copied, costs.device)


def matching_costs(logits: Tensor, boxes: Tensor, true_boxes: Tensor) -> Tensor:
    """(layers, rows, queries, k): the cost of each query for each object.

    Focal class cost (Lin et al., 2017), L1 distance and generalised IoU of the boxes.
    """
    score = logits.sigmoid()
    positive = _FOCAL_ALPHA * (1 - score) ** _FOCAL_GAMMA * -torch.nn.functional.logsigmoid(logits)
    negative = (1 - _FOCAL_ALPHA) * score**_FOCAL_GAMMA * -torch.nn.functional.logsigmoid(-logits)
    class_cost = (positive - negative)[..., None]
    distance = (boxes[..., :, None, :] - true_boxes[..., None, :, :]).abs().sum(-1)
    giou = pairwise_giou(boxes, true_boxes.expand(*boxes.shape[:-2], -1, -1))
    return CLASS_COST * class_cost + L1_COST * distance - GIOU_COST * giou


def assign(costs: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(layers, rows, k): the queries with the lowest total cost; 0 where there is no object.

    A row has at most as many objects as there are queries.
    """
    layers, rows, _, most = costs.shape
    found = np.zeros((layers, rows, most), np.int64)
    for row, count in enumerate(counts.tolist()):
        if not count:
            continue
        for layer in range(layers):
            queries, objects = linear_sum_assignment(costs[layer, row, :, :count])
            found[layer, row, objects] = queries
    return found

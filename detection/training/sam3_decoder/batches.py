"""The truth of several views together, as the losses take it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detection.training.sam3.targets import KnownGround, RowTargets
from detection.training.sam3_decoder.views import ViewTruth


def batch_targets(truths: Sequence[ViewTruth], device: torch.device) -> RowTargets:
    """The targets of views x prompts, view by view; only rows with objects are `object_rows`."""
    prompts = len(truths[0].phrases)

    def rows(name: str, scale: float = 1.0) -> Tensor:
        stacked = torch.cat([getattr(truth, name) for truth in truths]).to(device).float()
        return stacked / scale

    places, with_objects = object_places(truths)
    counts = [sum(place[0] == row for place in places) for row in range(len(with_objects))]
    boxes, masks = rows("boxes"), torch.cat([truth.masks for truth in truths]).to(device)
    most = max(counts, default=1)
    shape = (len(with_objects), most)
    padded_boxes = boxes.new_zeros(*shape, 4)
    padded_masks = torch.zeros(*shape, *masks.shape[1:], dtype=torch.float16, device=device)
    if places:
        at = torch.tensor(places, device=device).unbind(1)
        padded_boxes[at] = boxes
        padded_masks[at] = masks.half() / 255
    window = torch.stack([truth.window for truth in truths]).to(device)
    ground = torch.stack([truth.ground for truth in truths]).to(device).float()
    return RowTargets(
        semantic=rows("semantic", 255),
        weight=rows("weight"),
        present=rows("present"),
        present_weight=rows("present_weight"),
        scored=rows("scored"),
        object_rows=torch.tensor(with_objects, dtype=torch.long, device=device),
        counts=torch.tensor(counts, dtype=torch.long, device=device),
        boxes=padded_boxes,
        masks=padded_masks,
        known=KnownGround(
            negatives=rows("negatives"),
            masks=ground.repeat_interleave(prompts, 0),
            window=window.repeat_interleave(prompts, 0),
        ),
    )


def object_places(truths: Sequence[ViewTruth]) -> tuple[list[tuple[int, int]], list[int]]:
    """Where the objects of views are, in order: (place of the row among rows with objects, slot).

    Also those rows, numbered view by view.
    """
    prompts = len(truths[0].phrases)
    owners = [
        number * prompts + row for number, truth in enumerate(truths) for row in truth.rows.tolist()
    ]
    with_objects = sorted(set(owners))
    index = {row: number for number, row in enumerate(with_objects)}
    seen: dict[int, int] = {}
    places = []
    for row in owners:
        slot = seen.get(row, 0)
        seen[row] = slot + 1
        places.append((index[row], slot))
    return places, with_objects

"""One step of sam3-nano's training: views, prompts and loss as a function of (seed, step)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import Sam3Model

from detection.segmenters.sam3.exemplars import BoxExemplar
from detection.segmenters.sam3.forward import (
    Pyramid,
    decode_queries,
    encode_image,
    feature_pyramid,
    fuse_prompt,
)
from detection.segmenters.sam3.host_copy import copy_to
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens
from detection.training.profiling import part
from detection.training.sam3 import matcher
from detection.training.sam3.augment import photometric
from detection.training.sam3.labels import LABELS, OBJECT_LABELS
from detection.training.sam3.losses import LossWeights, sam3_losses
from detection.training.sam3.mask_heads import embed_pixels, object_masks, semantic_map
from detection.training.sam3.network import GSD_M, NANO, NanoSize
from detection.training.sam3.prompts import PromptSampler
from detection.training.sam3.targets import RowTargets
from detection.training.sam3.tiles import Tiles
from detection.training.sam3.views import Views, cat_views, cut_views, random_poses
from detection.training.task import ParameterGroup, decay_groups, split_batch

# The seed of a step: far apart for different seeds, so that runs share no batch.
_SEED_STRIDE = 1_000_003
# In one step of so many, each view shows an example of one of its labels, as a click does.
_EXEMPLAR_STEPS = 8
_CLICK_M = 3.0
# Parts of the names of embeddings, which have no weight decay.
_NO_DECAY = ("embed", "reference_points", "presence_token")


@dataclass(frozen=True, slots=True)
class NanoSettings:
    """What a run of sam3-nano can be told.

    Attributes:
        batch: views per step.
        absent: prompts of a view that name nothing, besides one for each label.
        synthetic_share: the share of a batch's views that show synthetic scenes.
        weight_decay: of matrices; biases, norms and embeddings have none.
        augment: whether colours and sharpness are changed.
        losses: the weights of the terms.
    """

    batch: int = 64
    absent: int = 1
    synthetic_share: float = 0.125
    weight_decay: float = 0.05
    augment: bool = True
    losses: LossWeights = field(default_factory=LossWeights)


class NanoTask:
    """The task for the trainer: `network`, and the loss of each step.

    Attributes:
        name, data_sha256: as in `TrainingTask`.
        network: on the device of the tiles.
    """

    def __init__(
        self,
        network: Sam3Model,
        tiles: Tiles,
        synthetic: Tiles | None,
        settings: NanoSettings,
        seed: int,
        size: NanoSize = NANO,
        data_sha256: str = "",
    ) -> None:
        """Train on tiles, which are on the network's device already.

        Args:
            synthetic: tiles of synthetic scenes; None trains without.
            size: of the network.
            data_sha256: identifies the files of tiles.
        """
        self.name = "sam3-nano"
        self.data_sha256 = data_sha256
        self.network: nn.Module = network
        self._model = network
        self._settings = settings
        self._seed = seed
        self._size = size
        self._device = tiles.pixels.device
        self._batch = settings.batch
        self._synthetic_share = settings.synthetic_share if synthetic is not None else 0.0
        self._sources = [tiles] if synthetic is None else [tiles, synthetic]
        self._prompts = PromptSampler(settings.absent, self._device, seed)
        self._generator = torch.Generator(self._device)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The views in a step."""
        return {"batch": self._batch}

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Cut fewer views, with the same share of synthetic ones."""
        self._batch = sizes["batch"]

    def loss(self, step: int) -> dict[str, Tensor]:
        """The weighted terms of a step's batch; their sum is the loss."""
        with part("views and colours"):
            views = self.views(step)
            pixels = self._pixels(views)
        rng = random.Random(self._step_seed(step))  # noqa: S311  reproducible, not cryptography
        with part("phrases"), torch.autocast(self._device.type, enabled=False):
            text = self._prompts.draw(self._model, rng)
        truth = row_targets(views, len(text.tokens))
        shown = None
        if step % _EXEMPLAR_STEPS == 0:
            shown = example_boxes(views, len(text.tokens), self._size.chip_px * GSD_M, rng)
        return batch_losses(self._model, pixels, text, truth, self._settings.losses, shown)

    def _pixels(self, views: Views) -> Tensor:
        if self._settings.augment:
            return photometric(views.pixels, GSD_M, self._generator)
        return torch.where(views.pixels < 0, 127.5, views.pixels) / 127.5 - 1

    def views(self, step: int) -> Views:
        """The views of a step, without changed colours."""
        self._generator.manual_seed(self._step_seed(step))
        parts = []
        counts = split_batch(self._batch, self._synthetic_share, step)
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            for tiles, count in zip(self._sources, counts, strict=False):
                if not count:
                    continue
                rows, poses = random_poses(tiles, count, self._size, self._generator)
                parts.append(cut_views(tiles, rows, poses, self._size))
        return parts[0] if len(parts) == 1 else cat_views(parts)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Matrices with weight decay, the rest without; all learn at the same rate."""
        named, decay = self._model.named_parameters(), self._settings.weight_decay
        return decay_groups(named, decay, no_decay=_NO_DECAY)

    def batch_name(self, step: int) -> str:
        """How to find the batch of a step again."""
        return f"the {self._batch} views of step {step} (seed {self._seed})"

    def _step_seed(self, step: int) -> int:
        return self._seed * _SEED_STRIDE + step


def row_targets(views: Views, prompts: int) -> RowTargets:
    """The truth of views for the labels' prompts in order, then for prompts that name nothing."""
    device = views.semantic.device
    count, labels = views.semantic.shape[:2]
    absent = prompts - labels
    columns = copy_to(torch.tensor([LABELS.index(label) for label in OBJECT_LABELS]), device)
    object_rows = torch.arange(count, device=device)[:, None] * prompts + columns
    scored = views.present.index_copy(1, columns, (views.counts > 0).float())
    return RowTargets(
        semantic=_with_absent(views.semantic, absent, 0).flatten(0, 1),
        weight=_with_absent(views.weight, absent, 1).flatten(0, 1),
        present=_with_absent(views.present, absent, 0).flatten(),
        present_weight=_with_absent(views.present_weight, absent, 1).flatten(),
        scored=_with_absent(scored, absent, 0).flatten(),
        object_rows=object_rows.flatten(),
        counts=views.counts.flatten(),
        boxes=views.boxes.flatten(0, 1),
        masks=views.masks.flatten(0, 1),
    )


def example_boxes(
    views: Views, prompts: int, side_m: float, rng: random.Random
) -> list[list[BoxExemplar]]:
    """For each row an example or none: in each view a random object of a random label.

    Half of the boxes are around the object, within a tenth of its size; half have the size of a
    click and lie in its middle. Copies the boxes to the host.
    """
    boxes, counts = views.boxes.tolist(), views.counts.tolist()
    rows: list[list[BoxExemplar]] = []
    for of_labels, number in zip(boxes, counts, strict=True):
        examples: list[list[BoxExemplar]] = [[] for _ in range(prompts)]
        found = [label for label, count in zip(OBJECT_LABELS, number, strict=True) if count]
        if found:
            label = rng.choice(found)
            plane = OBJECT_LABELS.index(label)
            x, y, width, height = of_labels[plane][rng.randrange(number[plane])]
            if rng.random() < 0.5:
                width = height = _CLICK_M / side_m
            else:
                x, y = (
                    at + rng.uniform(-0.1, 0.1) * size for at, size in ((x, width), (y, height))
                )
            box = BoxExemplar(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            examples[LABELS.index(label)].append(box)
        rows += examples
    return rows


def _with_absent(planes: Tensor, absent: int, value: float) -> Tensor:
    """(b, labels, ...) with rows of a value for the prompts that name nothing."""
    extra = planes.new_full((len(planes), absent, *planes.shape[2:]), value)
    return torch.cat([planes, extra], 1)


def batch_losses(
    model: Sam3Model,
    pixels: Tensor,
    text: TextTokens,
    truth: RowTargets,
    weights: LossWeights,
    shown: list[list[BoxExemplar]] | None = None,
) -> dict[str, Tensor]:
    """The loss terms of views (b, 3, side, side) and phrases: b x phrases rows.

    Prompts, decoder and boxes are computed in float32, as in the adapter, also under autocast.

    Args:
        shown: for each row the boxes around examples; None for none at all.
    """
    kind = pixels.device.type
    with part("image encoder"):
        features = feature_pyramid(model, encode_image(model, pixels))
    with part("prompts and examples"), torch.autocast(kind, enabled=False):
        coarse = features.levels[-1].float()
        prompt, valid = prompt_tokens(model, text, coarse, features.position, shown)
    with part("fusion"):
        rows = Pyramid((features.levels[-1],), features.position).repeat_rows(len(text.tokens))
        memory = fuse_prompt(model, rows, prompt, valid)
    with part("decoder"), torch.autocast(kind, enabled=False):
        decoded = decode_queries(model, memory.float(), features.position, prompt, valid)
    with part("matching: costs"):
        pending = matcher.start(
            decoded.logits[:, truth.object_rows],
            decoded.boxes[:, truth.object_rows],
            truth.boxes,
            truth.counts,
        )
    with part("pixel embedding"):
        embedded = embed_pixels(model, features, memory, prompt, valid)
        semantic = semantic_map(model, embedded)
    with part("matching: assignment on the host"):
        matched = pending.finish()
    with part("masks of objects"):
        masks = object_masks(
            model, embedded.index_select(0, truth.object_rows),
            decoded.queries[-1].index_select(0, truth.object_rows), matched,
        )  # fmt: skip
    with part("losses"), torch.autocast(kind, enabled=False):
        return sam3_losses(decoded, masks, semantic, matched, truth, weights)

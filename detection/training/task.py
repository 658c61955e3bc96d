"""What the trainer needs from a network and its data; each recipe implements it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict, runtime_checkable

from torch import Tensor, nn

if TYPE_CHECKING:  # training itself needs torch and numpy only, no imagery
    from detection.chip import Chip
    from detection.labels import Label
    from detection.segmenters.interface import Segmenter
    from detection.training.ranks import Ranks


class ParameterGroup(TypedDict):
    """Parameters that learn alike, as the optimiser takes them.

    `lr_scale` is a factor of the schedule's learning rate. Biases, norms and embeddings have a
    `weight_decay` of 0; `decay_groups` splits a network's parameters so.
    """

    params: list[nn.Parameter]
    lr_scale: float
    weight_decay: float


class TrainingTask(Protocol):
    """A network, its data and its loss.

    The batch of a step is a function of the seed and the step only: no state is carried from one
    step to the next, so that a resumed run sees the same batches. Drawing from the global random
    generators (dropout) is fine, because the trainer saves and restores their states.
    """

    @property
    def name(self) -> str:
        """What is trained: "landcover", "sam3-tiny", ... A checkpoint fits only this."""
        ...

    @property
    def network(self) -> nn.Module:
        """The network to train, on its device, in float32."""
        ...

    @property
    def data_sha256(self) -> str:
        """Identifies the training data and how they are drawn; a resume needs the same."""
        ...

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The weighted loss terms of a step's batch, scalars on the network's device.

        Their sum is minimised. The trainer calls this under autocast; no term may be read back.
        """
        ...

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The parameters to train; others stay as they are."""
        ...

    def batch_name(self, step: int) -> str:
        """The images in a step's batch, for the report of a loss that is not finite."""
        ...


@runtime_checkable
class ResizableTask(Protocol):
    """A task whose step can be made smaller where memory is short; see `step_memory`."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """What a step's memory depends on, such as "batch": all at least 1.

        The first one is halved down to 1 before the next, so what costs the least accuracy is
        first.
        """
        ...

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Use these sizes from the next step on; `data_sha256` stays that of the asked ones."""
        ...


@runtime_checkable
class SharedTask(Protocol):
    """A task whose steps several processes can take together; see `ranks`."""

    def share(self, ranks: Ranks) -> None:
        """Compute one rank's part of each step from now on.

        The batch of a step is then `ranks.count` times as large, and drawn as one process with
        such a batch draws it. The mean of all ranks' losses must be the loss of that process:
        what a term is divided by is averaged over the ranks.
        """
        ...


@dataclass(frozen=True, eq=False)
class Probe:
    """Fixed chips and labels on which exported weights must answer like the trained network."""

    chips: Sequence[Chip]
    labels: Sequence[Label]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good exported weights are, measured through the segmenter.

    Attributes:
        score: what decides between checkpoints; higher is better. Never a loss.
        figures: what it was computed from (IoU, relative area error, ...), for the record.
    """

    score: float
    figures: Mapping[str, float]


class WeightsExport(Protocol):
    """How a trained network becomes weights that detection loads, and how good those are."""

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the weights, in the form that `load` and detection read, into an empty folder."""
        ...

    def load(self, folder: Path) -> Segmenter:
        """Load exported weights strictly, by the code that detection uses.

        Raises:
            SegmenterError: the weights are damaged or do not fit.
        """
        ...

    def wrap(self, network: nn.Module) -> Segmenter:
        """The same segmenter around the network itself, without a file in between."""
        ...

    @property
    def probe(self) -> Probe:
        """What both must answer alike."""
        ...

    def judge(self, segmenter: Segmenter) -> Judgement:
        """Measure the loaded segmenter on data that is not trained on."""
        ...


@runtime_checkable
class SealsWeights(Protocol):
    """An export that also writes into the weights how good they are."""

    def seal(self, folder: Path, judgement: Judgement) -> str:
        """Put the judgement into exported weights, without changing a tensor; their new hash."""
        ...


def split_batch(batch: int, share: float, step: int) -> tuple[int, int]:
    """(rest, part) of a step's batch, where `share` of all steps' samples are the part.

    Constant where the share is of whole samples; else it varies by one, so that a small batch too
    has the share over time.
    """
    part = math.floor(batch * share * (step + 1) + 0.5) - math.floor(batch * share * step + 0.5)
    return batch - part, part


def decay_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    weight_decay: float,
    lr_scale: float = 1.0,
    no_decay: Sequence[str] = (),
) -> list[ParameterGroup]:
    """Two groups: matrices and kernels with weight decay; biases and norms without.

    Args:
        no_decay: parts of names that have none either, such as "embed".
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            exempt = parameter.ndim < 2 or any(part in name for part in no_decay)
            (others if exempt else decayed).append(parameter)
    return [
        ParameterGroup(params=params, lr_scale=lr_scale, weight_decay=decay)
        for params, decay in ((decayed, weight_decay), (others, 0.0))
        if params
    ]

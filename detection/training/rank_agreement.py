"""What processes that train together agree on, and what only the first one has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detection.errors import CheckpointError, TrainingError
from detection.training.checkpoints import CheckpointManifest, checkpoint_name
from detection.training.proof import Proof
from detection.training.random_states import random_states
from detection.training.ranks import Ranks
from detection.training.run_folder import RunFolder, open_run
from detection.training.settings import TrainingSettings
from detection.training.task import SharedTask, TrainingTask

_COUNT, _RANDOM, _OWN_RANDOM = "ranks", "random_of_ranks", "random"


class FollowedRun(RunFolder):
    """The folder of a run that the first rank writes: other ranks only read checkpoints."""

    def describe(self, *_: object) -> None:
        """The first rank does."""

    def save(self, step: int, seconds: float, state: dict[str, Any]) -> Path:
        """The first rank does."""
        del step, seconds, state
        return self.path

    def best(self) -> tuple[Path, Proof] | None:
        """None: the first rank knows it."""
        return None

    def prune(self) -> None:
        """The first rank does."""

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The first rank does."""

    def drop_metrics(self, step: int) -> None:
        """The first rank does."""


@contextmanager
def open_run_of(
    ranks: Ranks, path: Path, task: TrainingTask, settings: TrainingSettings, *, resume: bool
) -> Iterator[RunFolder]:
    """The folder of a run, which the first rank locks.

    Raises:
        TrainingError: as `open_run`; or the ranks have other data or settings.
    """
    _check_alike(ranks, task, settings)
    if ranks.is_first:
        with open_run(path, task, settings, resume=resume) as run:
            yield run
            ranks.wait()
        return
    yield FollowedRun(path, task, settings)
    ranks.wait()


def load_last(
    run: RunFolder, ranks: Ranks, on_message: Callable[[str], None]
) -> tuple[CheckpointManifest, dict[str, Any]] | None:
    """The newest checkpoint that the first rank can read, in all ranks; None if there are none.

    Raises:
        CheckpointError: none can be read, or it is of other settings or data, or of another number
            of processes.
    """
    loaded = run.load_last(on_message) if ranks.is_first else None
    name = ranks.from_first(None if loaded is None else checkpoint_name(loaded[0].step))
    if name is None:
        return None
    manifest, state = loaded or run.load_named(name)
    return manifest, _own_state(state, ranks)


def share_steps(task: TrainingTask, ranks: Ranks) -> None:
    """Have a task compute this rank's part of each step.

    Raises:
        TrainingError: it cannot.
    """
    if not ranks.are_several:
        return
    if not isinstance(task, SharedTask):
        raise TrainingError(
            f"{task.name} cannot be trained by several processes: start it without torchrun"
        )
    task.share(ranks)


def smallest(ranks: Ranks, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of a step that fit in every rank."""
    found = ranks.gather(dict(sizes))
    return {name: min(each[name] for each in found) for name in sizes}


def state_of_ranks(ranks: Ranks, network: nn.Module) -> dict[str, Any]:
    """What a checkpoint has of all ranks: their number and their random generators.

    Raises:
        TrainingError: the ranks' weights are not the same any more.
    """
    if not ranks.are_several:
        return {}
    sums = ranks.gather(_checksum(network))
    if len(set(sums)) > 1:
        raise TrainingError(
            "the processes have different weights, so what they average means nothing: resume "
            "from the last checkpoint, and check the GPUs' memory (nvidia-smi) and driver"
        )
    return {_COUNT: ranks.count, _RANDOM: ranks.gather(random_states())}


def _own_state(state: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """The state of a checkpoint with the random generators of this rank.

    Raises:
        CheckpointError: it was saved by another number of processes.
    """
    saved = int(state.get(_COUNT, 1))
    if saved != ranks.count:
        raise CheckpointError(
            f"{saved} processes trained the run, and now there are {ranks.count}: resume with as "
            "many (torchrun --nproc-per-node), or the batches would be others"
        )
    return state | {_OWN_RANDOM: state[_RANDOM][ranks.number]} if ranks.are_several else state


def _check_alike(ranks: Ranks, task: TrainingTask, settings: TrainingSettings) -> None:
    if len(set(ranks.gather((task.name, task.data_sha256, repr(settings))))) > 1:
        raise TrainingError(
            "the processes have other data or settings: start all of them with the same options "
            "and the same files"
        )


@torch.no_grad()
def _checksum(network: nn.Module) -> float:
    # By their order, so that two weights that were exchanged are noticed.
    sums = [each.double().sum() * (1 + n) for n, each in enumerate(network.parameters())]
    return float(torch.stack(sums).sum())

"""Proves and judges the checkpoints of a run after it, on another machine if need be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from detection.errors import CheckpointError, DamagedCheckpoint
from detection.training.loop import TrainedState
from detection.training.recipes import Training
from detection.training.run_folder import open_run
from detection.training.run_state import saved_network
from detection.training.settings import TrainingSettings


def prove_saved(
    training: Training, settings: TrainingSettings, folder: Path, on_message: Callable[[str], None]
) -> TrainedState:
    """Prove and judge every checkpoint in a run's folder again; nothing is trained.

    Raises:
        CheckpointError: there is none that can be read, or they are of another task.
    """
    if training.export is None:
        raise CheckpointError(f"{training.task.name} has nothing that proves its checkpoints")
    with open_run(folder, training.task, settings, resume=True) as run:
        last = None
        for checkpoint in run.checkpoints.folders():
            try:
                last, state = run.checkpoints.load(checkpoint)
            except DamagedCheckpoint as error:
                on_message(f"{error}; left out")
                continue
            network = saved_network(state, training.task.network)
            on_message(run.prove(training.export, network, checkpoint, again=True))
        if last is None:
            raise CheckpointError(f"{folder} has no checkpoint that can be read: train first")
        best = run.best()
        return TrainedState(
            "measured", last.step, last.seconds,
            best[0] if best else None, best[1].score if best else None, 0,
        )  # fmt: skip

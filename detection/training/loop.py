"""The training loop: steps, losses read now and then, checkpoints, and a clean end.

    state = train(task, settings, folder, export=export)

A step is queued on the device without waiting for it. Losses, norms of gradients and the flags of
skipped steps stay there, and are read every `read_every` steps in one transfer; `optimizer` says
why a value that is not finite spoils nothing meanwhile. `step_memory` tries one before the run, and
halves the batch where it does not fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from detection.errors import TrainingDiverged
from detection.training.ema import WeightAverage
from detection.training.optimizer import GuardedOptimizer
from detection.training.random_states import random_states, restore_random_states, seed_all
from detection.training.rank_agreement import (
    load_last,
    open_run_of,
    share_steps,
    smallest,
    state_of_ranks,
)
from detection.training.ranks import ALONE, Ranks
from detection.training.run_folder import RunFolder
from detection.training.run_record import finite_or_null
from detection.training.run_state import capture, exported_network, restore
from detection.training.schedule import progress_at, rate_at
from detection.training.settings import TrainingSettings
from detection.training.step_memory import StepMemory
from detection.training.stop_request import StopRequest, stop_on_signals
from detection.training.task import TrainingTask, WeightsExport
from detection.training.tracking.tracked_run import tracked

EndReason = Literal["finished", "time limit", "interrupted", "measured", "profiled"]


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step, as read back from the device.

    Attributes:
        seconds: of training when the step was queued.
        loss: the sum of the terms; it and other numbers may be not finite.
        norm: of the gradients, before clipping.
        skipped: whether the update was left out, because loss or norm is not finite.
    """

    step: int
    seconds: float
    rate: float
    loss: float
    norm: float
    skipped: bool
    terms: Mapping[str, float]

    def line(self) -> str:
        """For a terminal."""
        terms = "  ".join(f"{name} {value:.3f}" for name, value in self.terms.items())
        return (
            f"{self.step:6d}  {self.seconds:5.0f} s  lr {self.rate:.1e}  {self.loss:.3f}: {terms}"
        )

    def row(self) -> dict[str, object]:
        """For metrics.jsonl, with null for what is not finite."""
        return {
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "lr": self.rate,
            "loss": finite_or_null(self.loss),
            "norm": finite_or_null(self.norm),
            "skipped": self.skipped,
            "terms": {name: finite_or_null(value) for name, value in self.terms.items()},
        }


@dataclass(frozen=True, slots=True)
class TrainedState:
    """How a run ended.

    Attributes:
        step: number of steps done, over all resumes.
        seconds: of training, likewise.
        best: the folder of the best proven checkpoint; None if none is.
        best_score: its score.
        skipped: number of steps skipped by this process.
    """

    ended: EndReason
    step: int
    seconds: float
    best: Path | None
    best_score: float | None
    skipped: int


def train(
    task: TrainingTask,
    settings: TrainingSettings,
    folder: Path,
    *,
    export: WeightsExport | None = None,
    resume: bool = False,
    on_step: Callable[[StepMetrics], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    recipe_settings: Mapping[str, object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    ranks: Ranks = ALONE,
) -> TrainedState:
    """Train the task's network into a folder, from the start or from the last checkpoint.

    Args:
        export: how checkpoints are proven and judged; None only saves them, to prove them later.
        resume: continue the run in the folder, if it has a checkpoint.
        on_step: called for each step, in order, when its losses are read.
        on_message: called with what people should know: a skipped batch, a damaged checkpoint, a
            batch that does not fit into memory.
        recipe_settings: what else is written to run.json.
        ranks: the processes that train together. All of them call this; the first one alone
            writes, and the others need no `export`.

    Raises:
        TrainingError: the folder is in use or has another run, settings or data differ on a resume,
            a checkpoint cannot be saved or read, not even the smallest step fits into memory, or
            the training diverged.
    """
    say = on_message or _ignore
    share_steps(task, ranks)
    with (
        open_run_of(ranks, folder, task, settings, resume=resume) as run,
        tracked(folder, say, is_on=ranks.is_first) as sent,
        stop_on_signals() as stop,
    ):
        trainer = _Trainer(
            task, settings, run, export, on_step or _ignore, say, recipe_settings or {}, clock,
            ranks,
        )  # fmt: skip
        sent.begin(trainer.step)
        state = trainer.run(stop)
        sent.end(state.ended)
        return state


class _Trainer:
    def __init__(
        self,
        task: TrainingTask,
        settings: TrainingSettings,
        run: RunFolder,
        export: WeightsExport | None,
        on_step: Callable[[StepMetrics], None],
        on_message: Callable[[str], None],
        recipe_settings: Mapping[str, object],
        clock: Callable[[], float],
        ranks: Ranks,
    ) -> None:
        self._recipe_settings = recipe_settings
        self._task, self._settings, self._run, self._export = task, settings, run, export
        self._ranks = ranks
        self._on_step, self._on_message, self._clock = on_step, on_message, clock
        self._network = task.network
        self._device = next(self._network.parameters()).device
        self._started = clock()  # of this process, for the time limit
        self._step, self._seconds_before, self._now_s = 0, 0.0, 0.0
        self._is_resumed = False
        self._bad_in_a_row = self._skipped = 0
        self._unread: list[tuple[int, float, float, tuple[str, ...], Tensor]] = []
        seed_all(settings.seed + ranks.number)  # the dropout of each is another one
        self._network.train()
        self._optimizer = GuardedOptimizer(self._network, task.parameter_groups(), settings)
        self._average = (
            WeightAverage(self._network, settings.ema_decay) if settings.ema_decay else None
        )
        self._memory = StepMemory(task, self._device, self._on_message)
        self._resume()
        if progress_at(settings, self._step, self._seconds_before) < 1:
            with ranks.alone():
                self._memory.try_out(self._forward_and_update, self._network, self._optimizer)
            self._memory.use(smallest(ranks, self._memory.sizes))
        self._describe()
        self._resumed_at = clock()

    @property
    def step(self) -> int:
        """The step that is next."""
        return self._step

    def _resume(self) -> None:
        loaded = load_last(self._run, self._ranks, self._on_message)
        if loaded is not None:
            manifest, state = loaded
            restore(state, self._network, self._average, self._optimizer.optimizer)
            self._is_resumed = True
            self._step, self._seconds_before = manifest.step, manifest.seconds
            self._bad_in_a_row = int(state["bad_in_a_row"])
            self._memory.use(state.get("sizes", {}))
            self._on_message(f"resumed after step {manifest.step} ({manifest.seconds:.0f} s)")
        else:
            self._ranks.begin_alike(self._network)
        self._run.drop_metrics(self._step)

    def run(self, stop: StopRequest) -> TrainedState:
        """Train until the end, the time limit or a signal; save; prove what counts."""
        saved = self._step if self._is_resumed else -1
        ended = self._ended(stop)
        while ended is None:
            self._do_step()
            if self._step % self._settings.read_every == 0:
                self._read()
            ended = self._ended(stop)
            if self._step % self._settings.checkpoint_every == 0 and ended is None:
                self._save(prove=True)
                saved = self._step
                ended = self._ended(stop)
        self._read()
        if self._step != saved:
            self._save(prove=ended != "interrupted")
        elif ended != "interrupted":
            self._prove(self._run.checkpoints.folders()[-1])
        best = self._run.best()
        score = best[1].score if best else None
        return TrainedState(
            ended, self._step, self._seconds(), best[0] if best else None, score, self._skipped
        )

    def _ended(self, stop: StopRequest) -> EndReason | None:
        """Whether the run ends before the next step: by the first rank's clock, or any signal."""
        limit = self._settings.time_limit_s
        is_late = bool(limit and self._clock() - self._started >= limit)
        own = (self._seconds(), is_late) if self._ranks.is_first else (0.0, False)
        self._now_s, late, signals = self._ranks.sum([*own, bool(stop)])
        if progress_at(self._settings, self._step, self._now_s) >= 1:
            return "finished"
        if signals:
            return "interrupted"
        return "time limit" if late else None

    def _seconds(self) -> float:
        """Seconds of training; saving and judging stop this clock."""
        return self._seconds_before + self._clock() - self._resumed_at

    def _do_step(self) -> None:
        seconds = self._now_s
        rate = rate_at(self._settings, progress_at(self._settings, self._step, seconds))
        sizes = self._memory.sizes
        step = partial(self._forward_and_update, rate)
        if self._ranks.are_several:  # one rank cannot take a smaller step: its end ends all
            names, numbers = step()
        else:
            names, numbers = self._memory.run(step, self._optimizer.undo)
        if self._memory.sizes != sizes:
            self._describe()
        if self._average is not None:
            self._average.update(self._network, self._step)
        self._unread.append((self._step, seconds, rate, names, numbers))
        self._step += 1

    def _forward_and_update(self, rate: float = 0.0) -> tuple[tuple[str, ...], Tensor]:
        """(names of the loss's terms; total, norm, skipped and the terms, on the device)."""
        self._optimizer.begin(rate)
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=uses_bf16(self._settings, self._device)
        ):
            terms = self._task.loss(self._step)
        values = torch.stack([value.float() for value in terms.values()])
        values.sum().backward()  # type: ignore[no-untyped-call]
        self._ranks.average_gradients(self._optimizer.parameters)
        values = self._ranks.average(values)
        total = values.sum()
        norm, skipped = self._optimizer.finish(total)
        return tuple(terms), torch.cat([torch.stack([total, norm, skipped]), values])

    def _describe(self) -> None:
        """Write run.json."""
        self._run.describe(self._task, self._recipe_settings, self._memory.record())

    def _read(self) -> None:
        """Read the losses since the last read, record them, and stop a divergence.

        Raises:
            TrainingDiverged: too many steps in a row were skipped.
        """
        if not self._unread:
            return
        numbers = torch.cat([each[-1] for each in self._unread]).tolist()
        metrics: list[StepMetrics] = []
        position = 0
        for step, seconds, rate, names, _ in self._unread:
            total, norm, skipped, *values = numbers[position : position + 3 + len(names)]
            position += 3 + len(names)
            terms = dict(zip(names, values, strict=True))
            metrics.append(StepMetrics(step, seconds, rate, total, norm, skipped > 0, terms))
        self._unread.clear()
        self._run.append_metrics(each.row() for each in metrics)
        for each in metrics:
            self._on_step(each)
            self._check(each)

    def _check(self, metrics: StepMetrics) -> None:
        if not metrics.skipped:
            self._bad_in_a_row = 0
            return
        self._bad_in_a_row += 1
        self._skipped += 1
        bad = [name for name, value in metrics.terms.items() if not math.isfinite(value)]
        what = f"the loss ({', '.join(bad)})" if bad else "a gradient"
        batch = self._task.batch_name(metrics.step)
        message = f"step {metrics.step}: {what} is not finite. Batch: {batch}"
        self._on_message(f"{message}. Skipped; the weights are those before it")
        if self._bad_in_a_row >= self._settings.max_bad_steps:
            raise TrainingDiverged(
                f"{message}. It is the last of {self._bad_in_a_row} such steps in a row. "
                f"Checkpoints before them are in {self._run.path}: remove or repair these images, "
                "or resume with a lower learning_rate"
            )

    def _save(self, *, prove: bool) -> None:
        self._read()
        seconds = self._seconds()
        spoiled = [
            name for name, value in self._network.state_dict().items() if not _all_finite(value)
        ]
        if spoiled:
            raise TrainingDiverged(
                f"step {self._step}: the weights are not finite ({', '.join(spoiled[:3])}). Resume "
                "from the last checkpoint with a lower learning_rate"
            )
        state = capture(self._network, self._average, self._optimizer.optimizer)
        state |= {"bad_in_a_row": self._bad_in_a_row, "sizes": self._memory.sizes}
        state |= state_of_ranks(self._ranks, self._network)
        folder = self._run.save(self._step, seconds, state)
        if prove:
            self._prove(folder)
        self._run.prune()
        self._seconds_before, self._resumed_at = seconds, self._clock()

    def _prove(self, folder: Path) -> None:
        """Prove a checkpoint of the weights as they are now."""
        if self._export is None:
            return
        network = exported_network(self._network, self._average)
        states = random_states()  # a judge may draw from the global generators
        self._on_message(self._run.prove(self._export, network, folder))
        restore_random_states(states)


def uses_bf16(settings: TrainingSettings, device: torch.device) -> bool:
    """Whether the forward pass runs under autocast to bf16."""
    return settings.autocast == "bf16" or (settings.autocast == "auto" and device.type == "cuda")


def _all_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _ignore(_: object) -> None:
    pass

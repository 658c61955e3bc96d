"""Where the time of a step goes: `--profile STEPS`, which trains nothing that is kept.

Three measurements, each after a warm-up: steps as the trainer takes them, the phases of a step with
the device waited for after each, and torch's profiler. On a GPU also where the host waits for it.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from detection.training.ema import WeightAverage
from detection.training.loop import uses_bf16
from detection.training.optimizer import GuardedOptimizer
from detection.training.random_states import seed_all
from detection.training.recipes import Training
from detection.training.settings import TrainingSettings

# The ranges that a task marks (`part`) have names with this beginning.
PART_PREFIX = "part: "
_WARM_UP_STEPS = 3
_PROFILED_STEPS = 2
_OPERATORS = 15


@contextmanager
def part(name: str) -> Iterator[None]:
    """Mark a part of a step, so that a profile names it; nothing otherwise."""
    with torch.profiler.record_function(PART_PREFIX + name):
        yield


def profile_steps(
    training: Training,
    settings: TrainingSettings,
    steps: int,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """Take steps, and say where their time goes.

    Args:
        steps: timed for each of the first two measurements.

    Returns:
        lines for people.
    """
    stepper = _Stepper(training, settings, clock)
    for _ in range(_WARM_UP_STEPS):
        stepper.step()
    lines = [stepper.described(), *stepper.throughput(steps), *stepper.phases(steps)]
    lines += stepper.host_waits()
    return "\n".join([*lines, "", *stepper.profile()])


class _Stepper:
    def __init__(
        self, training: Training, settings: TrainingSettings, clock: Callable[[], float]
    ) -> None:
        seed_all(settings.seed)
        self._task, self._settings, self._clock = training.task, settings, clock
        self._network = training.task.network
        self._network.train()
        self._device = next(self._network.parameters()).device
        groups = training.task.parameter_groups()
        self._optimizer = GuardedOptimizer(self._network, groups, settings)
        self._average = WeightAverage(self._network, settings.ema_decay)
        self._step = 0
        self._seconds = {"forward": 0.0, "backward": 0.0, "update": 0.0}

    def described(self) -> str:
        on_gpu = self._device.type == "cuda"
        device = torch.cuda.get_device_name(self._device) if on_gpu else "CPU"
        kind = "bf16" if uses_bf16(self._settings, self._device) else "float32"
        return f"{self._task.name} on {device}, {kind}, {torch.get_num_threads()} host threads"

    def step(self, *, waiting: bool = False) -> None:
        """One step as the trainer takes it; with `waiting`, its phases are timed."""
        started = self._clock()
        self._optimizer.begin(self._settings.learning_rate)
        with torch.autocast(
            self._device.type, torch.bfloat16, enabled=uses_bf16(self._settings, self._device)
        ):
            total = torch.stack([t.float() for t in self._task.loss(self._step).values()]).sum()
        started = self._lap("forward", started, waiting=waiting)
        total.backward()  # type: ignore[no-untyped-call]
        started = self._lap("backward", started, waiting=waiting)
        self._update(total)
        self._lap("update", started, waiting=waiting)
        self._step += 1

    def _update(self, total: Tensor) -> None:
        self._optimizer.finish(total)
        self._average.update(self._network, self._step)

    def _lap(self, phase: str, started: float, *, waiting: bool) -> float:
        if not waiting:
            return started
        self._wait()
        now = self._clock()
        self._seconds[phase] += now - started
        return now

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def throughput(self, steps: int) -> list[str]:
        self._wait()
        started = self._clock()
        for _ in range(steps):
            self.step()
        queued = self._clock()
        self._wait()
        taken = (self._clock() - started) / steps
        text = f"{taken:.4f} s a step, over {steps} steps"
        if self._device.type == "cuda":
            busy = (queued - started) / steps
            text += f"; the host is done with queueing after {busy:.4f} s of it"
        return [text]

    def phases(self, steps: int) -> list[str]:
        for _ in range(steps):
            self.step(waiting=True)
        parts = ", ".join(f"{name} {each / steps:.4f} s" for name, each in self._seconds.items())
        return [f"waiting after each phase: {parts}"]

    def host_waits(self) -> list[str]:
        """Where a step waits for the GPU, by the line that asked for it."""
        if self._device.type != "cuda":
            return []
        self._wait()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        places = Counter(f"{each.filename}:{each.lineno}" for each in caught)
        listed = [f"  {count} x {place}" for place, count in places.most_common()]
        return [f"the host waits for the GPU {places.total()} times in a step", *listed]

    def profile(self) -> list[str]:
        """The marked parts and the operators that take longest, for one step."""
        activities = [ProfilerActivity.CPU]
        if self._device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profiled:
            for _ in range(_PROFILED_STEPS):
                self.step()
            self._wait()
        events = profiled.key_averages()
        lines = [f"{'part of the forward pass':40} {'host ms':>9} {'GPU ms':>9}"]
        for event in sorted(events, key=lambda each: -each.cpu_time_total):
            if event.key.startswith(PART_PREFIX):
                host, gpu = (
                    time_us / 1000 / _PROFILED_STEPS
                    for time_us in (event.cpu_time_total, event.device_time_total)
                )
                lines.append(f"{event.key.removeprefix(PART_PREFIX):40} {host:9.2f} {gpu:9.2f}")
        order = "self_device_time_total" if self._device.type == "cuda" else "self_cpu_time_total"
        table: str = events.table(sort_by=order, row_limit=_OPERATORS, max_name_column_width=50)
        return [*lines, "", f"operators of {_PROFILED_STEPS} steps", *table.splitlines()]

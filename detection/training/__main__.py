"""`python -m detection.training`: trains where only torch, NumPy and the task's needs are there."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from detection.errors import DetectionError
from detection.training.entry import TrainOptions, run_training
from detection.training.loop import StepMetrics
from detection.training.ranks import is_first_process
from detection.training.recipes import RECIPE_NAMES
from detection.training.settings import duration_s, pairs


def main(arguments: list[str] | None = None) -> int:
    """Train; 0 if the run ended as planned, 130 after Ctrl-C, 2 after an error."""
    parser = argparse.ArgumentParser(prog="python -m detection.training", description=__doc__)
    parser.add_argument("recipe", choices=RECIPE_NAMES)
    parser.add_argument("--data", type=Path, help="folder of training data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cuda, cuda:1, cpu")
    parser.add_argument("--steps", type=int, help="length of the run")
    parser.add_argument("--length", metavar="DURATION", help="length of the run by time, as 7.5m")
    parser.add_argument("--time-limit", metavar="DURATION", help="save and end after, as 9m")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--no-prove", action="store_true", help="only save checkpoints")
    parser.add_argument("--measure-only", action="store_true", help="prove checkpoints in --out")
    parser.add_argument("--profile", type=int, metavar="STEPS", help="time steps; train nothing")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args(arguments)
    if chosen.profile is not None and chosen.profile < 1:
        parser.error("--profile: at least 1 step")
    try:
        options = TrainOptions(
            chosen.recipe, chosen.out, chosen.data, chosen.seed, chosen.device, chosen.steps,
            duration_s(chosen.length), duration_s(chosen.time_limit), chosen.resume,
            not chosen.no_prove, chosen.measure_only, chosen.profile, pairs(chosen.set),
        )  # fmt: skip
        state = run_training(options, _say, _StepLines())
    except DetectionError as error:
        _say(f"error: {error}")
        return 2
    if state.ended == "profiled":
        return 0
    if not is_first_process():  # which reports
        return 0
    best = f"best {state.best} with score {state.best_score}" if state.best else "no proven weights"
    _say(f"{state.ended} after step {state.step}, {state.seconds:.0f} s; {best}")
    return 130 if state.ended == "interrupted" else 0


class _StepLines:
    """A line at most every five seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, metrics: StepMetrics) -> None:
        now = time.monotonic()
        if now - self._last >= 5:
            self._last = now
            _say(metrics.line())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

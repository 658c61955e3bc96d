"""One run of the loop: train sam3-nano on corrected lots, judge what comes out, keep the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.loop.judged import JudgedGround, JudgedWeights, judge, segmenter_of
from benchmarks.loop.known_lots import SEGMENTER
from detection.evaluation.evaluate import Evaluation
from detection.training.entry import TrainOptions, run_training

BASE: Final = "base"
TASK: Final = "sam3-decoder"


@dataclass(frozen=True, slots=True)
class TrainingLength:
    """What all runs of an experiment have in common.

    Attributes:
        steps, batch, views: as `lotline train sam3-decoder` has them.
        learning_rate: three times the default, which suits 300 steps: so short a training needs it.
        autocast: "bf16" is twice as fast on a CPU that has it.
    """

    steps: int = 80
    batch: int = 4
    views: int = 2
    learning_rate: float = 6e-4
    device: str = "cpu"
    autocast: str = "bf16"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoopRun:
    """A training to be compared with others.

    Attributes:
        data: the folder of its chips.
        lots: corrected lots in it.
        rehearsal: the folder of labelled chips of before; None for a training without.
        words: whether words that name nothing are asked too.
    """

    name: str
    data: Path
    lots: int
    tier: str = "heads"
    rehearsal: Path | None = None
    words: bool = True


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """What every run of an experiment is judged on; see `judge`."""

    test: JudgedGround
    validation: JudgedGround | None = None
    old: JudgedGround | None = None
    traced: Evaluation | None = None
    with_prompts: bool = False


class RunResults:
    """The results of an experiment in a folder, each written when its run is finished."""

    def __init__(self, folder: Path, on_message: Callable[[str], None] = print) -> None:
        self.folder, self._on_message = folder, on_message
        (folder / "results").mkdir(parents=True, exist_ok=True)

    def path_of(self, name: str) -> Path:
        """The answers of a run's weights."""
        return self.folder / "results" / f"{name}.json"

    def weights_of(self, name: str) -> Path | None:
        """The delta that a run trained; None of the base."""
        return None if name == BASE else self.folder / "runs" / name / "weights"

    def judged(self, name: str) -> JudgedWeights | None:
        """What a run's weights answered; None if it is not finished."""
        path = self.path_of(name)
        return JudgedWeights.load(path) if path.exists() else None

    def finished(self) -> list[str]:
        """The names of the trainings that were judged."""
        facts = (self.folder / "results").glob("*.facts.json")
        return sorted(path.name.removesuffix(".facts.json") for path in facts)

    def facts(self, name: str) -> dict[str, Any]:
        """How a run was trained."""
        path = self.folder / "results" / f"{name}.facts.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def judge_base(self, by: JudgedBy, name: str = BASE) -> JudgedWeights:
        """The answers of sam3-nano as it is shipped, with its own thresholds."""
        found = self.judged(name)
        if found is None:
            self._on_message(f"{name}: judging")
            found = _judged(None, replace(by, validation=None))
            found.save(self.path_of(name))
        return found

    def run(self, run: LoopRun, length: TrainingLength, by: JudgedBy) -> JudgedWeights:
        """Train and judge, unless it was done before; a training that was stopped goes on.

        Raises:
            TrainingError: the training failed.
            SegmenterError: its weights cannot be loaded.
        """
        found = self.judged(run.name)
        if found is not None:
            return found
        self._on_message(f"{run.name}: training")
        facts = self._train(run, length)
        self._on_message(f"{run.name}: judging")
        found = _judged(self.weights_of(run.name), by)
        path = self.folder / "results" / f"{run.name}.facts.json"
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        found.save(self.path_of(run.name))
        return found

    def _train(self, run: LoopRun, length: TrainingLength) -> dict[str, Any]:
        overrides = {
            "tier": run.tier, "start": SEGMENTER, "batch": str(length.batch),
            "views": str(length.views), "autocast": length.autocast,
            "cache": str(self.folder / "views"), "checkpoint_every": str(length.steps),
            "learning_rate": f"{length.learning_rate:g}",
        }  # fmt: skip
        if run.rehearsal is not None:
            overrides["rehearsal"] = str(run.rehearsal)
        if not run.words:
            overrides["words"] = ""
        started, cpu_s = time.perf_counter(), time.process_time()
        state = run_training(
            TrainOptions(
                TASK, self.folder / "runs" / run.name, run.data, seed=length.seed,
                device=length.device, steps=length.steps, resume=True, overrides=overrides,
            ),
            self._on_message,
        )  # fmt: skip
        return {
            "lots": run.lots, "tier": run.tier, "rehearsal": run.rehearsal is not None,
            "words": run.words, "length": asdict(length), "training_s": round(state.seconds, 1),
            "score": state.best_score, "wall_s": round(time.perf_counter() - started, 1),
            "cpu_s": round(time.process_time() - cpu_s, 1),
        }  # fmt: skip


def _judged(delta: Path | None, by: JudgedBy) -> JudgedWeights:
    return judge(
        segmenter_of(delta), by.test, validation=by.validation, old=by.old, traced=by.traced,
        with_prompts=by.with_prompts,
    )  # fmt: skip

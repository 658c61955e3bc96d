"""The loop on a shifted county: dry, brown lawns and brown roofs, corrected to the exact truth.

The lots that are corrected, those that choose checkpoints and thresholds and those that judge are
of three neighbourhoods of the same style. What was learned before is a county of the old style and
traced windows of real imagery.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.loop.judged import JudgedGround, review_effort, segmenter_of
from benchmarks.loop.known_lots import KnownLot
from benchmarks.loop.reviewer import Effort
from benchmarks.loop.runs import BASE, JudgedBy, LoopRun, RunResults
from benchmarks.loop.sample_lots import sample_lots
from benchmarks.loop.training_folder import write_training
from detection.evaluation.evaluate import Evaluation

_TRAIN_SEED, _VALIDATION_SEED, _TEST_SEED = 3101, 3102, 3103
_REHEARSAL_SEED, _OLD_SEED = 3201, 3203
# Sample counties have a few lots more than are asked for.
_EXTRA = 6


@dataclass(frozen=True, slots=True)
class ShiftedSizes:
    """How many lots each part has; `doses` are numbers of corrected lots."""

    doses: tuple[int, ...] = (10, 50, 100)
    validation: int = 10
    test: int = 40
    rehearsal: int = 20
    old: int = 20


class ShiftedCounty:
    """The lots of the experiment, and the folders of what is corrected."""

    def __init__(
        self,
        folder: Path,
        sizes: ShiftedSizes,
        traced: Evaluation | None = None,
        rehearsed: Sequence[KnownLot] = (),
        *,
        with_prompts: bool = False,
    ) -> None:
        """Generate the counties, or read them if they are there.

        Args:
            traced: windows of real imagery that nothing learns from.
            rehearsed: windows of real imagery that are rehearsed.
            with_prompts: whether other prompts are judged too, which takes as long as the rest.
        """
        self._with_prompts = with_prompts
        self._folder, self.sizes, self._traced = folder, sizes, traced
        self._corrected = self._lots("dry", _TRAIN_SEED, max(sizes.doses))
        self._validation = self._lots("dry", _VALIDATION_SEED, sizes.validation)
        self._test = self._lots("dry", _TEST_SEED, sizes.test)
        self._old = self._lots("green", _OLD_SEED, sizes.old)
        self._rehearsed = [*self._lots("green", _REHEARSAL_SEED, sizes.rehearsal), *rehearsed]

    def judged_by(self) -> JudgedBy:
        """The held-out lots, exported."""
        ground = self._folder / "judged"
        return JudgedBy(
            JudgedGround.export(ground / "test", self._test),
            JudgedGround.export(ground / "validation", self._validation),
            JudgedGround.export(ground / "old", self._old),
            self._traced,
            with_prompts=self._with_prompts,
        )

    def run(self, dose: int, tier: str = "heads", what: str = "") -> LoopRun:
        """A run on so many corrected lots.

        Args:
            what: "" for all that is the default; "no rehearsal"; "no negatives": no known absence,
                but rehearsal; "positives only": neither.
        """
        name = run_name(dose, tier, what)
        has_negatives = what in ("", "no rehearsal")
        data = self._chips(f"corrected-{dose}", self._corrected[:dose], positives=not has_negatives)
        rehearsal = None
        if what in ("", "no negatives"):
            rehearsal = self._chips("rehearsal", self._rehearsed, validation=())
        return LoopRun(name, data, dose, tier, rehearsal, words=has_negatives)

    def turns(self, results: RunResults) -> list[dict[str, object]]:
        """The effort on each turn's new lots: proposals of the turn before, and of the base.

        A turn corrects the lots that the dose before it had not; after the last dose, the test.
        """
        path = results.folder / "results" / "turns.json"
        rows: list[dict[str, object]] = []
        if path.exists():
            rows = json.loads(path.read_text(encoding="utf-8"))
        doses = (0, *self.sizes.doses)
        for turn, dose in enumerate(doses):
            if any(row["turn"] == turn + 1 for row in rows):
                continue
            before = BASE if dose == 0 else self.run(dose).name
            judged = results.judged(before)
            if judged is None:
                continue
            ends = self.sizes.doses[turn] if turn < len(self.sizes.doses) else None
            lots = self._test if ends is None else self._corrected[dose:ends]
            ground = JudgedGround.export(self._folder / "judged" / f"turn-{turn + 1}", lots)
            segmenter = segmenter_of(results.weights_of(before))
            efforts = {"loop": review_effort(segmenter, ground, judged.thresholds)}
            efforts["base"] = (
                efforts["loop"] if dose == 0 else review_effort(segmenter_of(None), ground, {})
            )
            sums = {name: asdict(sum(each, Effort())) for name, each in efforts.items()}
            rows.append({"turn": turn + 1, "learned_from": dose, "lots": len(lots), **sums})
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        return rows

    def _lots(self, style: str, seed: int, count: int) -> list[KnownLot]:
        return sample_lots(self._folder / "counties", style, seed, count + _EXTRA)[:count]

    def _chips(
        self,
        name: str,
        lots: Sequence[KnownLot],
        validation: Sequence[KnownLot] | None = None,
        *,
        positives: bool = False,
    ) -> Path:
        """The folder of chips."""
        folder = self._folder / "data" / (f"{name}-positives" if positives else name)
        judging = self._validation if validation is None else validation
        return write_training(folder, lots, judging, positives_only=positives)


def run_name(dose: int, tier: str, what: str) -> str:
    """The name of a run, such as mask-10-no-rehearsal; see `ShiftedCounty.run`."""
    return "-".join([tier, str(dose), *what.split()])

"""The loop on real imagery: windows of Riverside, traced by eye, correct what judges the others.

sam3-nano saw nothing of Riverside. Its places are divided into folds; a fold's weights learn from
the windows of the other folds and are judged on the fold's lots and windows, so that each is judged
once. All years of a place are in one fold, and places that adjoin too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.loop.judged import JudgedGround
from benchmarks.loop.runs import JudgedBy, LoopRun
from benchmarks.loop.sample_lots import sample_lots
from benchmarks.loop.traced_lots import TracedPlace, traced_places
from benchmarks.loop.training_folder import write_training
from detection.evaluation.evaluate import Evaluation
from detection.evaluation.tile_images import TileImages

_CITY: Final = "riverside"
_OLD_SEED: Final = 3203
_OLD_LOTS: Final = 20
# Of the places that a fold does not judge, one part in so many chooses checkpoints and thresholds.
_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Fold:
    """A training, and what judges it.

    Attributes:
        base_name: of the result of sam3-nano as it is shipped, on the same lots.
    """

    run: LoopRun
    base_name: str
    by: JudgedBy


@dataclass(frozen=True, slots=True)
class RealPlace:
    """The folds of a city."""

    folds: Sequence[Fold]

    @classmethod
    def read(
        cls,
        folder: Path,
        truth: Path,
        images: TileImages,
        imagery: Sequence[Path],
        scratch: Path,
        count: int = 3,
        rehearsed: int = 36,
        *,
        with_prompts: bool = False,
    ) -> RealPlace:
        """Divide the places, and export what each fold learns from and is judged on.

        Args:
            truth: tests/data/traced.
            count: of folds.
            rehearsed: windows of other cities that are rehearsed.
            with_prompts: whether other prompts are judged too.

        Raises:
            TruthError: the truth or its imagery cannot be read.
        """
        places = traced_places(truth, images, (f"{_CITY}_*",), truth / "lots.json")
        others = [w for p in traced_places(truth / "train", images) for w in p.windows]
        step = max(1, len(others) // rehearsed)
        rehearsal = write_training(folder / "data" / "rehearsal", others[::step][:rehearsed])
        old_lots = sample_lots(folder / "counties", "green", _OLD_SEED, _OLD_LOTS + 6)[:_OLD_LOTS]
        old = JudgedGround.export(folder / "judged" / "old", old_lots)
        folds = []
        for number, held_out in enumerate(divide(places, count), start=1):
            own = {place.ground for place in held_out}
            others_of_city = [place for place in places if place.ground not in own]
            choosing, *teaching = divide(others_of_city, _PARTS)
            windows = [w for part in teaching for p in part for w in p.windows]
            data = write_training(
                folder / "data" / f"fold-{number}",
                windows,
                [w for p in choosing for w in p.windows],
            )
            test = [lot for place in held_out for lot in place.lots]
            chosen = [lot for place in choosing for lot in place.lots]
            tiles = sorted({w.reviewed.county.split()[-1] for p in held_out for w in p.windows})
            by = JudgedBy(
                JudgedGround.export(folder / "judged" / f"fold-{number}", test),
                JudgedGround.export(folder / "judged" / f"choosing-{number}", chosen),
                old=old,
                traced=Evaluation.open(truth, imagery, scratch / f"fold-{number}", tiles),
                with_prompts=with_prompts,
            )
            run = LoopRun(f"fold-{number}", data, len(windows), rehearsal=rehearsal)
            folds.append(Fold(run, f"base-{number}", by))
        return cls(folds)


def divide(places: Iterable[TracedPlace], count: int) -> list[list[TracedPlace]]:
    """The places in so many folds with about as many lots each; one ground is in one fold."""
    by_ground: dict[str, list[TracedPlace]] = {}
    for place in places:
        by_ground.setdefault(place.ground, []).append(place)
    folds: list[list[TracedPlace]] = [[] for _ in range(count)]
    for group in sorted(by_ground.values(), key=_size, reverse=True):
        min(folds, key=_size).extend(group)
    return folds


def _size(places: Sequence[TracedPlace]) -> tuple[int, int]:
    return sum(len(each.lots) for each in places), sum(len(each.windows) for each in places)

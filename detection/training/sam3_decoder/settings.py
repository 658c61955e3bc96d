"""What a training of SAM3's decoder can be told."""

from __future__ import annotations

from dataclasses import dataclass

from detection.errors import TrainingError
from detection.training.sam3_decoder.tiers import check_tier


@dataclass(frozen=True, slots=True)
class TierSettings:
    """What is particular to the training of SAM3's decoder.

    Attributes:
        tier: "mask" for corrected shapes only; "heads" also for what was missed or wrongly found;
            "deep" also what fuses the prompt with the image; "full" everything.
        start: weights to start from, as detection names them: "sam3-tiny" or "sam3-nano" for the
            package's own, a folder, a file or a hub id. "BASE:DELTA" goes on from a delta instead
            of from the base, which unlearns old images.
        batch: views in a step.
        rehearsal: a folder of labelled chips of what must not be forgotten; "" is none.
        rehearsal_share: their share of a batch.
        views: fixed views a chip.
        scale: changed views are up to this factor larger or smaller.
        prompts: prompts a view, of which the last is one of `words`; 0 is as many as the chip with
            the most labels needs.
        words: of things that no chip has, separated by commas, as negatives; "" is none.
        judged_one_in: without chips for validation, one of so many judges the checkpoints.
        cache: folder of kept views; DATA/views if empty.
        cache_gib: that it may take.
        keep_pyramid: for the tier `mask`, also keep the pyramid, five times as large as the
            tokens. On a GPU computing it again is faster.
        weight_decay: of matrices and kernels.
        chip_px: the side of detection's chips in pixels of 0.3 m; 0 is 336 for a network of that
            input, as sam3-nano, else 1008.
    """

    tier: str = "heads"
    start: str = ""
    batch: int = 8
    rehearsal: str = ""
    rehearsal_share: float = 0.5
    views: int = 4
    scale: float = 1.25
    prompts: int = 0
    words: str = "car,dog,airplane,sofa,boat"
    judged_one_in: int = 5
    cache: str = ""
    cache_gib: float = 20.0
    keep_pyramid: bool = True
    weight_decay: float = 0.1
    chip_px: int = 0

    def __post_init__(self) -> None:
        check_tier(self.tier)
        limits = {
            "batch": (self.batch >= 1, "at least 1"),
            "rehearsal_share": (0 <= self.rehearsal_share < 1, "from 0 to less than 1"),
            "views": (self.views >= 1, "at least 1"),
            "scale": (1 <= self.scale <= 4, "from 1 to 4"),
            "prompts": (self.prompts == 0 or self.prompts >= 2, "0 or at least 2"),
            "judged_one_in": (self.judged_one_in >= 2, "at least 2"),
            "cache_gib": (self.cache_gib > 0, "more than 0"),
            "chip_px": (self.chip_px >= 0, "at least 0"),
        }
        for name, (valid, range_text) in limits.items():
            if not valid:
                raise TrainingError(f"{name} is {getattr(self, name)}, but must be {range_text}")

    @property
    def absent_words(self) -> tuple[str, ...]:
        """The words of things that no chip has."""
        return tuple(word for word in (part.strip() for part in self.words.split(",")) if word)

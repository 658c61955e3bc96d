"""What the gate tolerates and wants, in one place, each with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, fields

from detection.training.settings import changed
from pipeline.errors import ModelError


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The gate's settings; `lotline models judge --set NAME=VALUE` changes one.

    Attributes:
        min_lots: judged lots that each label needs. With fewer, one lot decides.
        min_blocks: blocks of ground that they must be in: the bootstrap draws blocks, and with
            fewer its interval is too narrow.
        min_lots_with_label: lots that have a label from which its IoU is judged too. On fewer, one
            outline decides; its area error is judged all the same.
        area_tolerance: by how much the area error of a label may grow, as a share of the label's
            mean true area on a lot. A person who traces the same lawn twice differs by 3 % (the
            median; docs/evaluation.md): less is not seen.
        area_tolerance_m2: likewise in m² a lot, if that is more. A label that is rare has next to
            no mean area; a false polygon of the smallest size (4 m²) on one lot of eight is 0.5.
        iou_tolerance: by how much the pooled IoU of a label may fall. An area can be right in the
            wrong place, which the area error does not show.
        traced_tolerance: by how much the mean IoU of a label on traced windows, of the first
            training's imagery, may fall: one point, so that old imagery is not unlearned.
        prompt_tolerance: of prompts that were not trained, by how much the pooled IoU may fall.
        absent_tolerance: by how much the share of false alarms on absent prompts may grow.
    """

    min_lots: int = 20
    min_blocks: int = 8
    min_lots_with_label: int = 5
    area_tolerance: float = 0.03
    area_tolerance_m2: float = 0.5
    iou_tolerance: float = 0.02
    traced_tolerance: float = 0.01
    prompt_tolerance: float = 0.02
    absent_tolerance: float = 0.02

    def __post_init__(self) -> None:
        if self.min_lots < 2 or self.min_blocks < 2:
            raise ModelError(
                "min_lots and min_blocks must be at least 2: one block has no interval"
            )
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                raise ModelError(f"{field.name} must be 0 or more")


def gate_settings(texts: dict[str, str]) -> GateSettings:
    """The settings with some of them changed ("min_lots": "10").

    Raises:
        ModelError: a value that cannot be.
        TrainingError: no such setting, or a text that is no number.
    """
    return changed(GateSettings(), texts)

"""A checkpoint counts only when it is proven: exported, loaded strictly, and answering the same.

After each save, the weights are exported and loaded by the code that detection uses. On fixed chips
that segmenter must answer like the network itself; then it is judged on data that is not trained
on. The best checkpoint is the one with the highest score, never that with the lowest loss.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from detection.errors import DetectionError
from detection.training.atomic import new_folder, remove_folder, write_text
from detection.training.run_record import finite_or_null
from detection.training.task import SealsWeights

if TYPE_CHECKING:
    from detection.segmenters.interface import Mask, Segmenter
    from detection.training.task import Probe, WeightsExport

WEIGHTS_NAME, _PROOF_NAME = "weights", "proof.json"
# Half precision moves a logit by a thousandth of it, so an edge may move by a cell here and there.
_MAX_DIFFERENT = 0.005
_MAX_CONFIDENCE_DIFFERENCE = 0.01


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether exported weights are proven, and how good they are.

    Attributes:
        reason: why they are not proven; "" if they are.
        weights_sha256: as detection stores it with each result.
        different: largest share of a label's cells on a chip that are inside for one and outside
            for the other.
        confidence_difference: largest mean difference of a label's confidence on a chip.
        score, figures: of the judge; None and empty without proof.
    """

    proven: bool
    reason: str = ""
    weights_sha256: str | None = None
    different: float | None = None
    confidence_difference: float | None = None
    score: float | None = None
    figures: dict[str, float] | None = None


def prove(export: WeightsExport, network: nn.Module, folder: Path) -> Proof:
    """Export the network into a checkpoint's folder, prove the weights and judge them.

    The result is also written to proof.json. Weights that are not proven are removed.

    Args:
        network: in evaluation mode; not changed.
    """
    weights = folder / WEIGHTS_NAME
    try:
        with new_folder(weights) as draft:
            export.export(network, draft)
        proof = _prove_weights(export, network, weights)
    except (DetectionError, OSError) as error:
        proof = Proof(proven=False, reason=f"{type(error).__name__}: {error}")
    if not proof.proven:
        remove_folder(weights)
    write_text(folder / _PROOF_NAME, json.dumps(asdict(proof), indent=2) + "\n")
    return proof


def finite_row(proof: Proof) -> dict[str, Any]:
    """A proof for proofs.jsonl, with null for what is not finite."""
    row = asdict(proof)
    row["figures"] = {name: finite_or_null(value) for name, value in (proof.figures or {}).items()}
    return {name: finite_or_null(v) if isinstance(v, float) else v for name, v in row.items()}


def read_proof(folder: Path) -> Proof | None:
    """The proof of a checkpoint; None if it was not tried, or has no complete record."""
    try:
        return Proof(**json.loads((folder / _PROOF_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def best_checkpoint(folders: Iterable[Path]) -> tuple[Path, Proof] | None:
    """The proven checkpoint with the highest score, the later one of equals; None without any."""
    best: tuple[Path, Proof] | None = None
    best_score = -math.inf
    for folder in sorted(folders):
        proof = read_proof(folder)
        if proof is None or not proof.proven or proof.score is None:
            continue
        if proof.score >= best_score and (folder / WEIGHTS_NAME).is_dir():
            best, best_score = (folder, proof), proof.score
    return best


def _prove_weights(export: WeightsExport, network: nn.Module, weights: Path) -> Proof:
    loaded = export.load(weights)
    different, confidence = compare_answers(export.wrap(network), loaded, export.probe)
    if not (different <= _MAX_DIFFERENT and confidence <= _MAX_CONFIDENCE_DIFFERENCE):
        return Proof(
            proven=False,
            reason=f"the exported weights answer differently from the network: {different:.2%} of "
            f"cells (at most {_MAX_DIFFERENT:.2%}), confidence by {confidence:.4f} (at most "
            f"{_MAX_CONFIDENCE_DIFFERENCE})",
            weights_sha256=loaded.weights_sha256,
            different=different,
            confidence_difference=confidence,
        )
    judgement = export.judge(loaded)
    finite = math.isfinite(judgement.score)
    weights_sha256 = loaded.weights_sha256
    if finite and isinstance(export, SealsWeights):
        weights_sha256 = export.seal(weights, judgement)
    return Proof(
        proven=finite,
        reason="" if finite else f"the judge's score is {judgement.score}",
        weights_sha256=weights_sha256,
        different=different,
        confidence_difference=confidence,
        score=judgement.score if finite else None,
        figures={name: float(value) for name, value in judgement.figures.items()},
    )


def compare_answers(own: Segmenter, loaded: Segmenter, probe: Probe) -> tuple[float, float]:
    """How far two segmenters differ on the probe: see `Proof.different` and the next one."""
    different = confidence = 0.0
    own_answers = own.segment(probe.chips, probe.labels)
    loaded_answers = loaded.segment(probe.chips, probe.labels)
    for own_masks, loaded_masks in zip(own_answers, loaded_answers, strict=True):
        for label in probe.labels:
            of_own = [mask for mask in own_masks if mask.label == label]
            of_loaded = [mask for mask in loaded_masks if mask.label == label]
            if not of_own and not of_loaded:
                continue
            cells = (of_own or of_loaded)[0].cells
            (inside, sure), (other_inside, other_sure) = (
                _union(masks, cells) for masks in (of_own, of_loaded)
            )
            different = _worst(different, float((inside != other_inside).mean()))
            confidence = _worst(confidence, float(np.abs(sure - other_sure).mean()))
    return different, confidence


def _worst(a: float, b: float) -> float:
    """The larger one; NaN if either is, which then fails every limit."""
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def _union(
    masks: Sequence[Mask], cells: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """(inside any mask, largest confidence) by cell."""
    inside, confidence = np.zeros(cells, np.bool_), np.zeros(cells, np.float32)
    for mask in masks:
        height, width = mask.field.shape
        window = (slice(mask.row, mask.row + height), slice(mask.column, mask.column + width))
        inside[window] |= mask.field > 0
        confidence[window] = np.maximum(confidence[window], mask.confidence)
    return inside, confidence

"""sam3-tiny by the trainer: its loss falls within a few dozen steps, and its weights are proven.

What trained weights find is measured for the shipped ones (`measured.json`); after so few steps
nothing is found yet, because presence and scores are trained after the map.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from detection.training.loop import train
from detection.training.proof import read_proof
from detection.training.recipes import RecipeRequest, build_training
from detection.training.run_record import read_metrics

STEPS = 64
SMALL = {
    "neighbourhoods": "1", "chips_per_seed": "2", "judge_lots": "6", "map_only_steps": str(STEPS),
}  # fmt: skip


@pytest.mark.long
def test_tiny_learns_and_its_weights_are_proven(tmp_path: Path) -> None:
    training = build_training("sam3-tiny", RecipeRequest(None, 0, "cpu", SMALL))
    settings = dataclasses.replace(training.settings, steps=STEPS, checkpoint_every=STEPS)
    state = train(training.task, settings, tmp_path, export=training.export)
    losses = [row["terms"]["semantic"] for row in read_metrics(tmp_path)]
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    assert state.best is not None
    proof = read_proof(state.best)
    assert proof is not None
    assert proof.proven, proof.reason
    assert proof.figures is not None
    assert "vegetation_iou" in proof.figures

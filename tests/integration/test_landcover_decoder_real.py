"""landcover's own weights, real imagery: the decoder learns a step, and answers as it is saved."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from detection.segmenters import build_segmenter
from detection.segmenters.landcover.weights import load_landcover
from detection.training.loop import train
from detection.training.proof import read_proof
from detection.training.recipes import RecipeRequest, build_training

ROOT = Path(__file__).resolve().parents[2]
TRACED = ROOT / "tests/data/traced/train"
NAIP = ROOT.parent / "shared/data/naip_train/naip"
TRAINED, JUDGED = "claremont_2016_9", "bishop_2020_9"


@pytest.mark.skipif(not NAIP.is_dir(), reason="no ../shared/data with real NAIP tiles")
def test_a_few_steps_on_two_windows(tmp_path: Path) -> None:
    (tmp_path / "traced").mkdir()
    windows = json.loads((TRACED / "windows.json").read_text())
    for name in (TRAINED, JUDGED):
        shutil.copy(TRACED / f"{name}.png", tmp_path / "traced")
    kept = {name: windows[name] for name in (TRAINED, JUDGED)}
    (tmp_path / "traced" / "windows.json").write_text(json.dumps(kept))
    (tmp_path / "imagery").symlink_to(NAIP)
    settings = {
        "rehearsal_share": "0", "judged_one_in": "0", "held_out": JUDGED, "views_per_part": "2",
        "side_px": "128", "batch": "2",
    }  # fmt: skip
    training = build_training("landcover-decoder", RecipeRequest(tmp_path, 0, "cpu", settings))
    steps = dataclasses.replace(training.settings, steps=3, ema_decay=0.0, learning_rate=1e-4)
    state = train(training.task, steps, tmp_path / "run", export=training.export)
    assert state.best is not None
    proof = read_proof(state.best)
    assert proof is not None
    assert proof.proven, proof.reason
    assert proof.figures is not None
    # It starts from weights that know these cities, and three small steps do not spoil them.
    assert proof.figures["lawn_iou"] > 0.4
    segmenter = build_segmenter("landcover", str(tmp_path / "run" / "weights"))
    assert segmenter.weights_sha256 == proof.weights_sha256
    shipped = load_landcover().network.state_dict()
    own = load_landcover(state.best / "weights").network.state_dict()
    changed = {name for name in own if not torch.equal(own[name], shipped[name])}
    assert {"context.here.weight", "steps.3.second.weight", "head.weight"} <= changed
    assert not {name for name in changed if name.startswith("encoder.") or "running_" in name}

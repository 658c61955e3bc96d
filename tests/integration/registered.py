"""Registered weights for tests: good ones, and some that cannot be used."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from detection import sample
from detection.segmenters.landcover.weights import load_landcover, save_landcover
from detection.training.sam3_decoder.delta import save_delta
from detection.training.sam3_decoder.recipe import load_start
from detection.training.sam3_decoder.tiers import TrainedParts
from pipeline.store.database import Database
from pipeline.store.models.judgements import JudgementFacts, champion_event, store_judgement
from pipeline.store.models.model_files import files_in, store_files
from pipeline.store.models.promotions import promote, roll_back
from pipeline.store.models.versions import ModelFacts, register_model

KEY = "little"
TINY = Path(__file__).parents[2] / "detection" / "segmenters" / "sam3" / "tiny"
LANDCOVER = "landcover"


def landcover_folder(folder: Path, change: float, plane: int | None = None) -> Path:
    """The package's weights with one bias, or all, moved: other files, other answers."""
    weights = load_landcover()
    bias = weights.network.head.bias
    assert bias is not None
    if plane is None:
        bias.data += change
    else:
        bias.data[plane] += change
    folder.mkdir(parents=True)
    # Another temperature makes other files, also where the answers are the same.
    save_landcover(weights.network, replace(weights.config, temperature=1.3), folder)
    return folder


def sam3_base(folder: Path) -> Path:
    """sam3-tiny's files as a folder that SAM3_WEIGHTS can name."""
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(TINY / name, folder)
    return folder


def write_delta(source: str, folder: Path, change: float = 2e-3) -> Path:
    """A delta of the mask decoder of some weights, which answers almost as they do."""
    start = load_start(source)
    parts = TrainedParts(start.model, "mask")
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.mul_(1 + change)
    folder.mkdir(parents=True)
    save_delta(parts, folder, base_sha256=start.base_sha256, tier="mask")
    return folder


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._canary,)


def pickled(canary: Path) -> dict[str, bytes]:
    """The files of weights, of which one is a pickle in disguise, with the hashes that it has."""
    content = pickle.dumps(Trap(canary))
    config = {
        "gsd_m": 0.2, "temperature": 1.3, "weights_sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    return {"model.safetensors": content, "config.json": json.dumps(config).encode()}


class Registered:
    """Registers and promotes without the checks of the commands."""

    def __init__(self, database: Database, store: Path) -> None:
        self._database = database
        self.store = store

    def add(
        self, files: Mapping[str, bytes] | Path, sha256: str | None = None, name: str = LANDCOVER
    ) -> int:
        """Register files; by the hash of the safetensors file."""
        found = files_in(files) if isinstance(files, Path) else files
        sha256 = sha256 or hashlib.sha256(found["model.safetensors"]).hexdigest()
        stored = store_files(str(self.store), sha256, found)
        with self._database.engine.begin() as conn:
            facts = ModelFacts(name, sha256, str(self.store), stored)
            return register_model(conn, facts, "ann")

    def promote(self, number: int) -> None:
        with self._database.engine.begin() as conn:
            promote(conn, number, "ann", despite_gate="a test")

    def add_delta(self, folder: Path, sha256: str, name: str) -> int:
        """Register a delta by the hash that its segmenter reports."""
        return self.add(files_in(folder), sha256, name)

    def promote_with(self, number: int, thresholds: Mapping[str, float], name: str) -> None:
        """Promote what passed the gate, with the score thresholds of its judgement."""
        with self._database.engine.begin() as conn:
            newest = champion_event(conn, name)
            facts = JudgementFacts(
                "passed", "passed", newest, "c" * 64, None, "d" * 64, {}, [], {}, thresholds
            )  # fmt: skip
            store_judgement(conn, number, facts, "ann")
            promote(conn, number, "ann")

    def roll_back(self, name: str = LANDCOVER) -> None:
        with self._database.engine.begin() as conn:
            roll_back(conn, name, "ann")

    def stored_files(self) -> list[Path]:
        """The stored weights, by time."""
        return sorted(self.store.rglob("model.safetensors"), key=lambda each: each.stat().st_ctime)


def little_county(folder: Path, keep: int | None = None) -> Path:
    """A registry with a synthetic county of ten lots, or of the first `keep` of them."""
    made = sample.generate(folder / "county", seed=5, lots=4)
    properties = folder / "properties.csv"
    rows = made.properties.read_text().splitlines(keepends=True)
    properties.write_text("".join(rows if keep is None else rows[: keep + 1]))
    registry = folder / "registry.yaml"
    registry.write_text(
        f'counties:\n  {KEY}:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {properties}\n"
    )
    return registry

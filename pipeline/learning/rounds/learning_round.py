"""The steps of a round of learning: train, register, judge, promote.

Each step first looks whether it is done: a round that was killed at any point is continued by the
next one, and nothing is registered, judged or promoted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from detection.errors import TrainingError
from detection.training.run_record import read_run
from pipeline.errors import LearningError
from pipeline.learning.corrections_manifest import CorrectionsManifest
from pipeline.learning.judging.gate_settings import GateSettings
from pipeline.learning.registered_run import registered_facts
from pipeline.learning.rounds.round_state import RoundState
from pipeline.learning.rounds.tiers import LearningTier
from pipeline.store.models.judgements import ModelJudgement, champion_event, judgements
from pipeline.store.models.versions import ModelVersion, champion, models, register_model

Train = Callable[[Sequence[str]], None]
"""Runs `lotline train` with these words; raises SystemExit as the command does."""

FINISHED: Final = ("finished", "measured")


@dataclass(frozen=True, slots=True)
class Registration:
    """Where weights are stored, and in whose name."""

    address: str
    by: str


def judging_size(manifest: CorrectionsManifest) -> tuple[int, int]:
    """Lots and blocks of ground of a manifest's test."""
    pairs = manifest.of_split("test")
    lots = {(pair.county, pair.property_id) for pair in pairs}
    return len(lots), len({pair.block for pair in pairs})


def trained_model(
    engine: Engine,
    state: RoundState,
    tier: LearningTier,
    folder: Path,
    registration: Registration,
    train: Train,
) -> ModelVersion | None:
    """The registered model of a round: found, or trained and registered now.

    Returns:
        None if the training stopped at its time limit: the next run continues it.

    Raises:
        LearningError: no weights were proven.
        ModelError, ObjectStoreError: they cannot be registered.
    """
    if (known := model_of(engine, tier, state.manifest_sha256)) is not None:
        return known
    run = state.run_folder(folder)
    if not _is_trained(run):
        _train(run, state, tier, train)
    if not _is_trained(run):
        return None
    note = f"learned from {state.manifest_sha256[:12]}"
    facts = registered_facts(run, tier.segmenter, registration.address, note)
    if facts.data_sha256 != state.manifest_sha256:
        raise LearningError(
            f"{run} learned from {(facts.data_sha256 or 'no manifest')[:12]} and not from "
            f"{state.manifest_sha256[:12]}: delete the folder, and run again"
        )
    with engine.begin() as conn:
        same = [m for m in models(conn, tier.segmenter)
                if m.facts.weights_sha256 == facts.weights_sha256]  # fmt: skip
        if same:
            raise LearningError(
                f"the training gave the weights of model {same[0].id} again: correct more lots"
            )
        register_model(conn, facts, registration.by)
    return model_of(engine, tier, state.manifest_sha256)


def model_of(engine: Engine, tier: LearningTier, manifest_sha256: str) -> ModelVersion | None:
    """The newest registered model of a tier that learned from a manifest."""
    with engine.connect() as conn:
        known = models(conn, tier.segmenter)
    found = (
        each
        for each in known
        if (each.facts.data_sha256, each.facts.tier) == (manifest_sha256, tier.name)
    )
    return next(found, None)


def standing_judgement(
    engine: Engine, model: ModelVersion, manifest_sha256: str, gate: GateSettings
) -> ModelJudgement | None:
    """A judgement of a model that need not be repeated: same lots, champion and tolerances."""
    with engine.connect() as conn:
        event = champion_event(conn, model.facts.segmenter)
        for found in judgements(conn, model.id):
            facts = found.facts
            if (facts.data_sha256, facts.champion_event) == (manifest_sha256, event) and dict(
                facts.settings
            ) == asdict(gate):
                return found
    return None


def waiting_for_promotion(engine: Engine, segmenter: str) -> ModelVersion | None:
    """The newest model, if it passed the gate against the champion of today."""
    with engine.connect() as conn:
        registered, now = models(conn, segmenter), champion(conn, segmenter)
        if not registered or (now is not None and now.id == registered[0].id):
            return None
        found = judgements(conn, registered[0].id)
        event = champion_event(conn, segmenter)
    if not found or found[0].facts.verdict != "passed" or found[0].facts.champion_event != event:
        return None
    return registered[0]


def is_champion(engine: Engine, model: ModelVersion) -> bool:
    """Whether a model is in use."""
    with engine.connect() as conn:
        now = champion(conn, model.facts.segmenter)
    return now is not None and now.id == model.id


def _train(run: Path, state: RoundState, tier: LearningTier, train: Train) -> None:
    words = [tier.recipe, "--from", state.manifest, "--out", str(run)]
    has_begun = any((run / "checkpoints").glob("step-*"))
    try:
        train([*words, *state.options, *(["--resume"] if has_begun else [])])
    except SystemExit as stop:
        if stop.code != 1:
            raise
        raise LearningError(
            f"the training in {run} proved no weights: read its messages, delete the folder and "
            "try other settings (--set)"
        ) from stop


def _is_trained(run: Path) -> bool:
    try:
        record: dict[str, Any] = read_run(run)
    except TrainingError:
        return False
    ended = record.get("ended") or {}
    return ended.get("how") in FINISHED and (run / "weights").is_dir()

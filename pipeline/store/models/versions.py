"""The registered weights, and which of them is a segmenter's champion: the one that is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, text

from pipeline.errors import ModelError
from pipeline.store.models.judgements import promoted_thresholds

ModelState = Literal["champion", "retired", "candidate"]

_INSERT = text("""
INSERT INTO lotline.model (segmenter, weights_sha256, address, files, tier, base_sha256,
    data_sha256, settings, metrics, note, created_by)
VALUES (:segmenter, :weights_sha256, :address, CAST(:files AS jsonb), :tier, :base_sha256,
    :data_sha256, CAST(:settings AS jsonb), CAST(:metrics AS jsonb), :note, :created_by)
ON CONFLICT (segmenter, weights_sha256) DO NOTHING RETURNING id
""")

_MODELS = text("""
SELECT * FROM lotline.model
WHERE CAST(:segmenter AS text) IS NULL OR segmenter = :segmenter ORDER BY id DESC
""")

_BY_ID = text("SELECT * FROM lotline.model WHERE id = :id")

_BY_WEIGHTS = text("""
SELECT FROM lotline.model WHERE segmenter = :segmenter AND weights_sha256 = :sha256
""")

_PROMOTIONS = text("""
SELECT id, segmenter, action, model_fk, promoted_by, reason, created_at, judgement_fk, despite_gate
FROM lotline.model_promotion WHERE segmenter = :segmenter ORDER BY id
""")

# An index lookup: it is asked before each piece of work.
_NEWEST_PROMOTION = text("""
SELECT id FROM lotline.model_promotion WHERE segmenter = :segmenter ORDER BY id DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of weights when they are registered.

    Attributes:
        address: the folder or the bucket that has the files.
        files: the SHA-256 of each, by name.
        tier: what was trained, such as "landcover-decoder".
        base_sha256: the weights that the training began with.
        data_sha256: the manifest of the corrections.
        thresholds: of a champion, the scores from which objects count, by label, as they were
            chosen for these weights when they passed the gate.
    """

    segmenter: str
    weights_sha256: str
    address: str
    files: Mapping[str, str]
    tier: str = ""
    base_sha256: str | None = None
    data_sha256: str | None = None
    settings: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] | None = None
    note: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Registered weights."""

    id: int
    facts: ModelFacts
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Promotion:
    """An event: a model was promoted, or the champion was taken back.

    Attributes:
        judgement: whose gate the model passed; None where `despite_gate` says why it was promoted
            without.
    """

    id: int
    action: str
    model: int | None
    promoted_by: str
    reason: str
    created_at: datetime
    judgement: int | None = None
    despite_gate: str = ""


def register_model(conn: Connection, facts: ModelFacts, created_by: str) -> int:
    """Register weights; returns their number.

    Raises:
        ModelError: they are registered already, or nobody is named.
    """
    if not created_by.strip():
        raise ModelError("name the person who registers the weights")
    values = {
        "segmenter": facts.segmenter, "weights_sha256": facts.weights_sha256,
        "address": facts.address, "files": json.dumps(dict(facts.files)), "tier": facts.tier,
        "base_sha256": facts.base_sha256, "data_sha256": facts.data_sha256,
        "settings": json.dumps(dict(facts.settings or {})),
        "metrics": json.dumps(dict(facts.metrics or {})), "note": facts.note,
        "created_by": created_by,
    }  # fmt: skip
    new = conn.execute(_INSERT, values).scalar()
    if new is None:
        known = next(
            each.id
            for each in models(conn, facts.segmenter)
            if each.facts.weights_sha256 == facts.weights_sha256
        )
        raise ModelError(f"these weights are registered already, as model {known}")
    return int(new)


def models(conn: Connection, segmenter: str | None = None) -> list[ModelVersion]:
    """The registered weights, the newest first."""
    return [_version(row) for row in conn.execute(_MODELS, {"segmenter": segmenter})]


def model_version(conn: Connection, model_id: int) -> ModelVersion:
    """Registered weights by their number.

    Raises:
        ModelError: there are none.
    """
    row = conn.execute(_BY_ID, {"id": model_id}).one_or_none()
    if row is None:
        raise ModelError(f"there is no model {model_id}: `lotline models list` shows all")
    return _version(row)


def promotions(conn: Connection, segmenter: str) -> list[Promotion]:
    """What was promoted and rolled back, the oldest first."""
    return [
        Promotion(
            row.id,
            row.action,
            row.model_fk,
            row.promoted_by,
            row.reason,
            row.created_at,
            row.judgement_fk,
            row.despite_gate,
        )
        for row in conn.execute(_PROMOTIONS, {"segmenter": segmenter})
    ]


def champion(conn: Connection, segmenter: str) -> ModelVersion | None:
    """The weights that are used; None for the package's own."""
    return next(iter(champions(conn, segmenter)), None)


def champions(conn: Connection, segmenter: str) -> list[ModelVersion]:
    """The weights that are used, then those that rollbacks return to; each once."""
    stack = champion_stack(promotions(conn, segmenter))
    return [_promoted(conn, number) for number in dict.fromkeys(reversed(stack))]


def newest_promotion(conn: Connection, segmenter: str) -> int | None:
    """The number of the last promotion or rollback: while it is the same, so is the champion."""
    found: int | None = conn.execute(_NEWEST_PROMOTION, {"segmenter": segmenter}).scalar()
    return found


def is_registered(conn: Connection, segmenter: str, weights_sha256: str) -> bool:
    """Whether weights with this hash are registered."""
    values = {"segmenter": segmenter, "sha256": weights_sha256}
    return conn.execute(_BY_WEIGHTS, values).first() is not None


def champion_stack(events: Sequence[Promotion]) -> list[int]:
    """The champion's number last, and before it those that rollbacks return to, one by one."""
    stack: list[int] = []
    for event in events:
        if event.model is not None:
            stack.append(event.model)
        elif stack:
            stack.pop()
    return stack


def model_states(conn: Connection, versions: Sequence[ModelVersion]) -> dict[int, ModelState]:
    """Which models are champions, were, or never were."""
    states: dict[int, ModelState] = {}
    for segmenter in {each.facts.segmenter for each in versions}:
        events = promotions(conn, segmenter)
        states |= {event.model: "retired" for event in events if event.model is not None}
        if stack := champion_stack(events):
            states[stack[-1]] = "champion"
    return {each.id: states.get(each.id, "candidate") for each in versions}


def _promoted(conn: Connection, model_id: int) -> ModelVersion:
    """A model with the thresholds that it was promoted with."""
    found = model_version(conn, model_id)
    thresholds = promoted_thresholds(conn, model_id)
    return replace(found, facts=replace(found.facts, thresholds=thresholds))


def _version(row: Row[Any]) -> ModelVersion:
    facts = ModelFacts(
        row.segmenter, row.weights_sha256, row.address, row.files, row.tier, row.base_sha256,
        row.data_sha256, row.settings, row.metrics, row.note,
    )  # fmt: skip
    return ModelVersion(row.id, facts, row.created_by, row.created_at)

"""What the gate said of trained weights, and whether it still stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, text

from pipeline.errors import ModelError

GateVerdict = Literal["passed", "refused", "too_few"]

_INSERT = text("""
INSERT INTO lotline.model_judgement (model_fk, verdict, sentence, champion_event, champion_sha256,
    base_sha256, data_sha256, settings, gate_rows, figures, thresholds, judged_by)
VALUES (:model, :verdict, :sentence, :champion_event, :champion_sha256, :base_sha256, :data_sha256,
    CAST(:settings AS jsonb), CAST(:gate_rows AS jsonb), CAST(:figures AS jsonb),
    CAST(:thresholds AS jsonb), :judged_by)
RETURNING id
""")

_OF_MODEL = text("SELECT * FROM lotline.model_judgement WHERE model_fk = :model ORDER BY id DESC")

_NEWEST_VERDICTS = text("""
SELECT DISTINCT ON (model_fk) model_fk, verdict FROM lotline.model_judgement
ORDER BY model_fk, id DESC
""")

_CHAMPION_EVENT = text("""
SELECT coalesce(max(id), 0) FROM lotline.model_promotion WHERE segmenter = :segmenter
""")

_PROMOTED = text("""
SELECT j.thresholds FROM lotline.model_promotion p
LEFT JOIN lotline.model_judgement j ON j.id = p.judgement_fk
WHERE p.model_fk = :model AND p.action = 'promote' ORDER BY p.id DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class JudgementFacts:
    """What is stored of a judgement.

    Attributes:
        sentence: the verdict with its reason.
        champion_event: of `champion_event`, when the champion was read.
        champion_sha256: the weights that it was compared with.
        base_sha256: the weights that the training began with, if they were judged too.
        data_sha256: the manifest of corrections whose test was judged on.
        settings: of the gate.
        gate_rows: its table.
        figures: by rival and label.
        thresholds: of scores, by label, chosen on the validation's lots.
    """

    verdict: GateVerdict
    sentence: str
    champion_event: int
    champion_sha256: str
    base_sha256: str | None
    data_sha256: str
    settings: Mapping[str, Any]
    gate_rows: Sequence[Mapping[str, Any]]
    figures: Mapping[str, Any]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ModelJudgement:
    """A stored judgement of a model."""

    id: int
    model: int
    facts: JudgementFacts
    judged_by: str
    created_at: datetime


def store_judgement(conn: Connection, model_id: int, facts: JudgementFacts, judged_by: str) -> int:
    """Store a judgement; returns its number.

    Raises:
        ModelError: nobody is named.
    """
    if not judged_by.strip():
        raise ModelError("name the person who judges")
    values = {
        "model": model_id, "verdict": facts.verdict, "sentence": facts.sentence,
        "champion_event": facts.champion_event, "champion_sha256": facts.champion_sha256,
        "base_sha256": facts.base_sha256, "data_sha256": facts.data_sha256,
        "settings": json.dumps(dict(facts.settings)),
        "gate_rows": json.dumps([dict(row) for row in facts.gate_rows]),
        "figures": json.dumps(dict(facts.figures)),
        "thresholds": json.dumps(dict(facts.thresholds)), "judged_by": judged_by,
    }  # fmt: skip
    return int(conn.execute(_INSERT, values).scalar_one())


def judgements(conn: Connection, model_id: int) -> list[ModelJudgement]:
    """All judgements of a model, the newest first."""
    return [_judgement(row) for row in conn.execute(_OF_MODEL, {"model": model_id})]


def newest_verdicts(conn: Connection) -> dict[int, GateVerdict]:
    """What the newest judgement of each judged model says."""
    return {row.model_fk: row.verdict for row in conn.execute(_NEWEST_VERDICTS)}


def champion_event(conn: Connection, segmenter: str) -> int:
    """The newest promotion or rollback of a segmenter: it says who is champion; 0 before any."""
    return int(conn.execute(_CHAMPION_EVENT, {"segmenter": segmenter}).scalar_one())


def passed_gate(conn: Connection, model_id: int, segmenter: str) -> ModelJudgement:
    """The newest judgement of a model, which lets it be promoted now.

    Raises:
        ModelError: it was not judged, did not pass, or the champion is another one since.
    """
    found = judgements(conn, model_id)
    how = f"`lotline models judge {model_id}`"
    if not found:
        raise ModelError(f"model {model_id} was not judged: run {how} first")
    newest = found[0]
    if newest.facts.verdict != "passed":
        raise ModelError(
            f"the gate does not let model {model_id} pass: {newest.facts.sentence} "
            f"(`lotline models show {model_id}` has the table)"
        )
    if newest.facts.champion_event != champion_event(conn, segmenter):
        raise ModelError(
            f"the champion of {segmenter} has changed since model {model_id} was judged: run {how} "
            "again"
        )
    return newest


def promoted_thresholds(conn: Connection, model_id: int) -> dict[str, float]:
    """The score thresholds by label with which a model was promoted; empty without any."""
    found = conn.execute(_PROMOTED, {"model": model_id}).scalar()
    return {label: float(value) for label, value in (found or {}).items()}


def _judgement(row: Row[Any]) -> ModelJudgement:
    facts = JudgementFacts(
        row.verdict, row.sentence, row.champion_event, row.champion_sha256, row.base_sha256,
        row.data_sha256, row.settings, row.gate_rows, row.figures, row.thresholds,
    )  # fmt: skip
    return ModelJudgement(row.id, row.model_fk, facts, row.judged_by, row.created_at)

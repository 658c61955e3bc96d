"""Promote weights, and go back to those before. Each is one row in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection, text

from pipeline.errors import ModelError
from pipeline.store.models.judgements import passed_gate
from pipeline.store.models.versions import (
    ModelVersion,
    champion,
    champion_stack,
    model_version,
    promotions,
)

# One promotion of a segmenter after the other.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('lotline.model:' || :segmenter, 0))")

_INSERT = text("""
INSERT INTO lotline.model_promotion (segmenter, action, model_fk, promoted_by, reason,
    judgement_fk, despite_gate)
VALUES (:segmenter, :action, :model, :by, :reason, :judgement, :despite_gate)
""")


def promote(
    conn: Connection, model_id: int, promoted_by: str, reason: str = "", *, despite_gate: str = ""
) -> ModelVersion:
    """Make weights the champion of their segmenter: what begins from now on uses them.

    Args:
        despite_gate: why they are promoted though no gate lets them pass; it is stored.

    Raises:
        ModelError: there are none of this number, they are the champion, the gate does not let
            them pass, or nobody is named.
    """
    found = model_version(conn, model_id)
    segmenter = found.facts.segmenter
    conn.execute(_LOCK, {"segmenter": segmenter})
    now = champion(conn, segmenter)
    if now is not None and now.id == model_id:
        raise ModelError(f"model {model_id} is the champion of {segmenter} already")
    try:
        judgement = None if despite_gate.strip() else passed_gate(conn, model_id, segmenter).id
    except ModelError as error:
        raise ModelError(
            f'{error}; --despite-gate "REASON" promotes it all the same, and is recorded'
        ) from error
    _write(conn, segmenter, "promote", model_id, promoted_by, reason, judgement, despite_gate)
    return found


def roll_back(
    conn: Connection, segmenter: str, promoted_by: str, reason: str = ""
) -> ModelVersion | None:
    """Return to the champion before; None if that is the package's own weights.

    Raises:
        ModelError: nothing was promoted, or nobody is named.
    """
    conn.execute(_LOCK, {"segmenter": segmenter})
    if not champion_stack(promotions(conn, segmenter)):
        raise ModelError(f"{segmenter} uses the package's own weights: nothing is before them")
    _write(conn, segmenter, "rollback", None, promoted_by, reason)
    return champion(conn, segmenter)


def _write(
    conn: Connection,
    segmenter: str,
    action: str,
    model_id: int | None,
    by: str,
    reason: str,
    judgement: int | None = None,
    despite_gate: str = "",
) -> None:
    if not by.strip():
        raise ModelError("name the person who decides")
    conn.execute(
        _INSERT,
        {
            "segmenter": segmenter, "action": action, "model": model_id, "by": by,
            "reason": reason, "judgement": judgement, "despite_gate": despite_gate.strip(),
        },
    )  # fmt: skip

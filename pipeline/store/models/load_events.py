"""What processes say of the weights that they picked up, or could not use: append-only events."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from parcels.untrusted import sanitize_text

LoadOutcome = Literal["loaded", "failed"]

_MAX_DETAIL = 600

_INSERT = text("""
INSERT INTO lotline.model_load (segmenter, model_fk, outcome, place, detail, took_s)
VALUES (:segmenter, :model, :outcome, :place, :detail, :took_s)
""")

_RECENT = text("""
SELECT segmenter, model_fk, outcome, place, detail, took_s, created_at FROM lotline.model_load
WHERE segmenter = :segmenter AND (CAST(:model AS bigint) IS NULL OR model_fk = :model)
ORDER BY id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """A process loaded weights, or could not.

    Attributes:
        model: None for the package's own.
        place: the machine and the process.
        detail: why it could not.
        took_s: how long it took; None where it could not.
    """

    segmenter: str
    model: int | None
    outcome: LoadOutcome
    place: str
    detail: str
    took_s: float | None
    created_at: datetime


def record_load(
    conn: Connection,
    segmenter: str,
    model: int | None,
    outcome: LoadOutcome,
    detail: str = "",
    took_s: float | None = None,
) -> None:
    """Record what this process did; the caller commits."""
    values = {
        "segmenter": segmenter, "model": model, "outcome": outcome,
        "place": f"{socket.gethostname()} {os.getpid()}",
        "detail": sanitize_text(detail, _MAX_DETAIL), "took_s": took_s,
    }  # fmt: skip
    conn.execute(_INSERT, values)


def recent_loads(
    conn: Connection, segmenter: str, model: int | None = None, limit: int = 10
) -> list[ModelLoad]:
    """The newest events of a segmenter, or of one model, the newest first."""
    rows = conn.execute(_RECENT, {"segmenter": segmenter, "model": model, "limit": limit})
    return [
        ModelLoad(
            row.segmenter, row.model_fk, row.outcome, row.place, row.detail, row.took_s,
            row.created_at,
        )
        for row in rows
    ]  # fmt: skip

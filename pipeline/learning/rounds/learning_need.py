"""New corrections by label, and whether they are enough for another round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.errors import ManifestError, ModelError, ObjectStoreError
from pipeline.learning.judging.trained_ground import training_manifest
from pipeline.store.models.judgements import judgements
from pipeline.store.models.versions import ModelVersion, champion, models
from pipeline.store.objects.folder_or_bucket import ObjectStore
from pipeline.store.reads.new_corrections import LabelCorrections, new_corrections


@dataclass(frozen=True, slots=True)
class LearningNeed:
    """What could be learned.

    Attributes:
        since_champion: of corrections that the champion did not learn from.
        since_last: of those that no judged model learned from either.
        last: the newest judged model that learned from corrections, and what the gate said; None
            without one.
        unknown: of a model, why its corrections cannot be read: all count as new then.
    """

    since_champion: tuple[LabelCorrections, ...]
    since_last: tuple[LabelCorrections, ...]
    last: tuple[int, str] | None
    unknown: str = ""

    @property
    def corrected(self) -> int:
        """Corrections since the last round."""
        return sum(each.corrected for each in self.since_last)

    def is_enough(self, wanted: int) -> bool:
        """Whether there are so many corrections since the last round."""
        return self.corrected >= wanted


def learning_need(
    conn: Connection, objects: ObjectStore, segmenter: str, counties: Sequence[str]
) -> LearningNeed:
    """Count what is new on fully reviewed properties.

    Args:
        objects: that has the manifests of earlier rounds.
    """
    now = champion(conn, segmenter)
    last = _last_judged(conn, segmenter)
    known_now, why = _events(objects, now)
    known_last, why_last = _events(objects, last[0] if last else None)
    return LearningNeed(
        tuple(new_corrections(conn, counties, known_now)),
        tuple(new_corrections(conn, counties, known_now | known_last)),
        None if last is None else (last[0].id, last[1]),
        why or why_last,
    )


def _last_judged(conn: Connection, segmenter: str) -> tuple[ModelVersion, str] | None:
    for model in models(conn, segmenter):
        if model.facts.data_sha256 is not None and (found := judgements(conn, model.id)):
            return model, found[0].facts.sentence
    return None


def _events(objects: ObjectStore, model: ModelVersion | None) -> tuple[set[int], str]:
    """The reviews that a model learned from, and why they are not known."""
    if model is None or model.facts.data_sha256 is None:
        return set(), ""
    try:
        manifest = training_manifest(objects, model.facts.data_sha256, "--to")
    except (ModelError, ManifestError, ObjectStoreError) as error:
        return set(), f"what model {model.id} learned from is not known: {error}"
    return {event.review for pair in manifest.pairs for event in pair.events}, ""

"""How far the review of a county is, and what people decided, by label.

What people decided is what is left after every undo. It says how reviewers changed what they looked
at, and nothing about the rest of the county: they choose what they look at. Error rates of a county
come from the audit alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.queue.states import count_states
from pipeline.store.reviews.full_reviews import HOLDS

# Copies that were carried over to another lot are no decisions about what a run found.
IS_OWN = "d.fingerprint NOT LIKE 'carried:%'"

# A restored detection is proposed again, and waits for a decision. The first event has the label
# that the segmenter gave.
_OUTCOMES = text(f"""
WITH own AS MATERIALIZED (
    SELECT d.id, d.property_fk, d.label, d.state, d.segmenter, d.review_fk
    FROM lotline.property p JOIN lotline.detection d ON d.property_fk = p.id
    WHERE p.county = :county AND d.state <> 'superseded' AND {IS_OWN}
), decided AS (
    SELECT own.id, bool_or(r.action = 'edit') AS is_edited, bool_or(r.action = 'relabel')
            AS is_relabelled,
        (array_agg(r.action ORDER BY r.id DESC))[1] AS last_action,
        (array_agg(r.before ->> 'label' ORDER BY r.id))[1] AS found_label
    FROM own JOIN lotline.review r ON r.detection_fk = own.id
    WHERE own.review_fk IS NOT NULL AND r.action <> 'undo'
        AND NOT EXISTS (SELECT FROM lotline.review u WHERE u.undoes = r.id)
    GROUP BY own.id
), outcome AS (
    SELECT CASE WHEN own.segmenter = 'person' THEN own.label
            ELSE coalesce(decided.found_label, own.label) END AS label,
        own.property_fk,
        CASE WHEN own.segmenter = 'person' THEN
                CASE WHEN own.state = 'accepted' THEN 'drawn' ELSE 'other' END
            WHEN own.state = 'proposed' OR decided.id IS NULL THEN 'undecided'
            WHEN decided.last_action = 'delete' THEN 'deleted'
            WHEN own.state = 'rejected' THEN 'rejected'
            WHEN decided.is_relabelled THEN 'relabelled'
            WHEN decided.is_edited THEN 'edited'
            ELSE 'accepted' END AS outcome
    FROM own LEFT JOIN decided ON decided.id = own.id
)
SELECT label, count(*) FILTER (WHERE outcome = 'undecided') AS undecided,
    count(*) FILTER (WHERE outcome = 'accepted') AS accepted,
    count(*) FILTER (WHERE outcome = 'edited') AS edited,
    count(*) FILTER (WHERE outcome = 'relabelled') AS relabelled,
    count(*) FILTER (WHERE outcome = 'rejected') AS rejected,
    count(*) FILTER (WHERE outcome = 'deleted') AS deleted,
    count(*) FILTER (WHERE outcome = 'drawn') AS drawn
FROM outcome GROUP BY label ORDER BY label
""")  # noqa: S608

_PROPERTIES = text("""
SELECT count(*) FILTER (WHERE undecided > 0) AS undecided,
    count(*) FILTER (WHERE undecided = 0) AS decided
FROM (
    SELECT d.property_fk, count(*) FILTER (WHERE d.state = 'proposed') AS undecided
    FROM lotline.property p JOIN lotline.detection d ON d.property_fk = p.id
    WHERE p.county = :county AND d.state <> 'superseded' GROUP BY d.property_fk
) property
""")

_FULLY_REVIEWED = text(f"""
SELECT count(*) FROM (
    SELECT DISTINCT ON (f.property_fk) f.* FROM lotline.full_review f
    JOIN lotline.property p ON p.id = f.property_fk
    WHERE p.county = :county ORDER BY f.property_fk, f.id DESC
) f JOIN lotline.property p ON p.id = f.property_fk WHERE {HOLDS}
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class LabelOutcomes:
    """Detections of a label (the segmenter's) by what people decided.

    Attributes:
        undecided: proposed, also those that a person restored.
        accepted: as they were found.
        edited, relabelled: accepted with another outline, or with another label.
        rejected: wrong.
        deleted: taken away without a word about the ground; no error of the segmenter.
        drawn: objects that people drew, because no run had found them.
    """

    label: str
    undecided: int
    accepted: int
    edited: int
    relabelled: int
    rejected: int
    deleted: int
    drawn: int

    @property
    def decided(self) -> int:
        """Those that say something about what the segmenter found."""
        return self.accepted + self.edited + self.relabelled + self.rejected


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How far the review is.

    Attributes:
        properties_by_state: of the county's queue.
        properties_undecided: with at least one proposed detection.
        properties_decided: with detections, none of which is proposed.
        properties_fully_reviewed: with a mark that holds.
    """

    properties_by_state: Mapping[str, int]
    properties_undecided: int
    properties_decided: int
    properties_fully_reviewed: int
    labels: tuple[LabelOutcomes, ...]

    @property
    def undecided(self) -> int:
        """Detections that wait for a decision."""
        return sum(each.undecided for each in self.labels)


def review_progress(conn: Connection, county: str) -> ReviewProgress:
    """How far the review of a county is."""
    values = {"county": county}
    by_state: dict[str, int] = {}
    for (state, _), count in sorted(count_states(conn, county).items()):
        by_state[state] = by_state.get(state, 0) + count
    properties = conn.execute(_PROPERTIES, values).one()
    return ReviewProgress(
        by_state,
        properties.undecided,
        properties.decided,
        conn.execute(_FULLY_REVIEWED, values).scalar_one(),
        tuple(LabelOutcomes(**row) for row in conn.execute(_OUTCOMES, values).mappings()),
    )

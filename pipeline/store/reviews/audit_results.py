"""What the audit of a county says: error rates by label and boundary source, and agreement.

Only answers of the newest sample count; reviews outside the audit never do. Of an item with two
answers the first decided one counts, and both in the agreement.

Of an item that needs a second answer the first does not count before both are in: the numbers of a
small stratum would tell it to the second reviewer. Such items are drawn at random, so that the
others are a random sample too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, text

from pipeline.store.reviews import audit_statistics
from pipeline.store.reviews.audit_samples import AuditSample, newest_sample
from pipeline.store.reviews.audit_statistics import (
    AreaError,
    AuditVerdict,
    Interval,
    ReviewerAgreement,
    StratumAnswers,
)

# Of several answers of a reviewer the newest counts; who answered first is first.
_ANSWERS = text("""
SELECT i.id, i.label, i.source, i.score, i.stratum_count, i.clipped_area_m2, i.needs_second,
    a.verdict, a.clipped_area_m2 AS true_area_m2
FROM lotline.audit_item i
LEFT JOIN LATERAL (
    SELECT n.verdict, n.clipped_area_m2, n.first_id FROM (
        SELECT DISTINCT ON (reviewer) reviewer, verdict, clipped_area_m2,
            min(id) OVER (PARTITION BY reviewer) AS first_id
        FROM lotline.audit_answer WHERE item_fk = i.id ORDER BY reviewer, id DESC) n) a ON true
WHERE i.sample_fk = :sample
ORDER BY i.id, a.first_id
""")


@dataclass(frozen=True, slots=True)
class AuditRate:
    """The error rates of some strata.

    Attributes:
        label, source: None for all of them.
        population: detections in the county when the sample was drawn.
        sampled: items in the sample; `answered` are those with an answer, `decided` those with one
            that is not unsure.
        correct, wrong, outline, wrong_label, unsure: numbers of items.
        precision: the share that is there and has the right label, with its 95 % interval.
        exactness: the share that is right as it is.
        area: the error of areas; None without a true area.
    """

    label: str | None
    source: str | None
    population: int
    sampled: int
    answered: int
    decided: int
    correct: int
    wrong: int
    outline: int
    wrong_label: int
    unsure: int
    precision: Interval
    exactness: Interval
    area: AreaError | None


@dataclass(frozen=True, slots=True)
class AuditResults:
    """What an audit says; `overall` weighs strata by their share of the county.

    Attributes:
        second_wanted: items that need a second answer; `second_given` are those that have it.
    """

    sample: AuditSample
    overall: AuditRate
    by_label: tuple[AuditRate, ...]
    by_source: tuple[AuditRate, ...]
    strata: tuple[AuditRate, ...]
    agreement: ReviewerAgreement
    second_wanted: int
    second_given: int


@dataclass(frozen=True, slots=True)
class AuditedItem:
    """An item of a sample with its answers: (verdict, true area in m²), the first one first.

    Without any until all that it needs are in.
    """

    label: str
    source: str
    score: float
    stratum_count: int
    area_m2: float
    needs_second: bool
    answers: tuple[tuple[AuditVerdict, float | None], ...]

    @property
    def counted(self) -> tuple[AuditVerdict, float | None] | None:
        """The first answer that is not unsure, or else the first."""
        decided = (each for each in self.answers if each[0] != "unsure")
        return next(decided, self.answers[0] if self.answers else None)


def audit_results(conn: Connection, county: str) -> AuditResults | None:
    """What the county's newest audit says so far; None before the first."""
    if (sample := newest_sample(conn, county)) is None:
        return None
    items = audited_items(conn, sample)
    strata: dict[tuple[str, str], list[AuditedItem]] = defaultdict(list)
    for item in items:
        strata[item.label, item.source].append(item)
    keys = sorted(strata)
    pairs = [
        (each.answers[0][0], each.answers[1][0])
        for each in items
        if each.needs_second and len(each.answers) > 1
    ]
    return AuditResults(
        sample,
        _rate(None, None, list(strata.values())),
        tuple(
            _rate(label, None, [strata[key] for key in keys if key[0] == label])
            for label in sorted({label for label, _ in keys})
        ),
        tuple(
            _rate(None, source, [strata[key] for key in keys if key[1] == source])
            for source in sorted({source for _, source in keys})
        ),
        tuple(_rate(*key, [strata[key]]) for key in keys),
        audit_statistics.agreement(pairs),
        sum(each.needs_second for each in items),
        len(pairs),
    )


def audited_items(conn: Connection, sample: AuditSample) -> list[AuditedItem]:
    """The items of a sample with their answers, if they have any."""
    return _items(conn.execute(_ANSWERS, {"sample": sample.id}))


def _items(rows: Iterable[Row[Any]]) -> list[AuditedItem]:
    items = []
    for _, group in groupby(rows, key=lambda row: row.id):
        own = list(group)
        answers = tuple((row.verdict, row.true_area_m2) for row in own if row.verdict)
        first = own[0]
        if first.needs_second and len(answers) < 2:
            answers = ()
        items.append(
            AuditedItem(
                first.label,
                first.source,
                first.score,
                first.stratum_count,
                first.clipped_area_m2,
                first.needs_second,
                answers,
            )
        )
    return items


def _rate(
    label: str | None, source: str | None, strata: Sequence[Sequence[AuditedItem]]
) -> AuditRate:
    answers = [_stratum(each) for each in strata]
    return AuditRate(
        label,
        source,
        sum(each.population for each in answers),
        sum(map(len, strata)),
        sum(each.decided + each.unsure for each in answers),
        sum(each.decided for each in answers),
        sum(each.correct for each in answers),
        sum(each.wrong for each in answers),
        sum(each.outline for each in answers),
        sum(each.label for each in answers),
        sum(each.unsure for each in answers),
        audit_statistics.precision(answers),
        audit_statistics.exactness(answers),
        audit_statistics.area_error(answers),
    )


def _stratum(items: Sequence[AuditedItem]) -> StratumAnswers:
    counted = [(item, item.counted) for item in items]
    verdicts = Counter(found[0] for _, found in counted if found is not None)
    areas_m2 = tuple(
        (item.area_m2, _true_area_m2(item, *found))
        for item, found in counted
        if found is not None and found[0] != "unsure"
    )
    return StratumAnswers(
        items[0].stratum_count,
        verdicts["correct"],
        verdicts["wrong"],
        verdicts["outline"],
        verdicts["label"],
        verdicts["unsure"],
        areas_m2,
    )


def _true_area_m2(item: AuditedItem, verdict: AuditVerdict, corrected_m2: float | None) -> float:
    """What the item's label really has there: nothing where it is not there or another label."""
    if verdict == "correct":
        return item.area_m2
    return (corrected_m2 or 0.0) if verdict == "outline" else 0.0

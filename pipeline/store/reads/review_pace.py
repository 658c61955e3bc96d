"""How fast a county is reviewed, and how many hours are left.

A reviewer's time is that between their events, as long as it is no more than five minutes: a longer
gap is a pause, and begins another session. So the first decision of a session has no time of its
own, and does not count in the pace; events at the very same moment were not decided one by one (an
import, for instance), and do not either. Time in which a decision was made and undone counts, the
decision does not.

Seconds a review are a ratio, of the sums of seconds and reviews over sessions. Its interval is that
of a ratio estimator with sessions as the units (Cochran, Sampling Techniques, 1977, 2.11), on the
logarithm, with Student's t: a pace is above 0, and few sessions say little.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scipy.special import stdtrit
from sqlalchemy import Connection, text

from pipeline.store.reads.review_progress import IS_OWN
from pipeline.store.reviews.audit_statistics import Interval

MAX_GAP_S = 300
# Fewer say too little about how much the pace varies.
MIN_SESSIONS, MIN_REVIEWS = 3, 30
PACE_DAYS = 30
_HOURS = 48

_TIMED = text(f"""
WITH event AS (
    SELECT r.id, r.reviewer, r.created_at, r.action <> 'undo'
            AND NOT EXISTS (SELECT FROM lotline.review u WHERE u.undoes = r.id) AS counts,
        extract(epoch FROM r.created_at - lag(r.created_at)
            OVER (PARTITION BY r.reviewer ORDER BY r.created_at, r.id)) AS gap_s
    FROM lotline.review r
    JOIN lotline.detection d ON d.id = r.detection_fk AND {IS_OWN}
    JOIN lotline.property p ON p.id = d.property_fk
    WHERE p.county = :county AND r.created_at >= :since
), timed AS (
    SELECT *, coalesce(gap_s > 0 AND gap_s <= {MAX_GAP_S}, false) AS is_timed,
        count(*) FILTER (WHERE gap_s IS NULL OR gap_s > {MAX_GAP_S})
            OVER (PARTITION BY reviewer ORDER BY created_at, id) AS session
    FROM event
)
SELECT reviewer, session, date_trunc('hour', created_at, 'UTC') AS hour,
    count(*) FILTER (WHERE counts) AS reviews,
    count(*) FILTER (WHERE counts AND is_timed) AS timed_reviews,
    CAST(coalesce(sum(gap_s) FILTER (WHERE is_timed), 0) AS double precision) AS seconds
FROM timed GROUP BY reviewer, session, hour ORDER BY hour, reviewer
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class PacePeriod:
    """A day or an hour (UTC).

    Attributes:
        reviews: decisions that still hold.
        reviewer_hours: the time of all reviewers.
        reviews_per_hour: of one reviewer; None without timed reviews.
    """

    begin: datetime
    reviews: int
    reviewers: int
    reviewer_hours: float
    reviews_per_hour: float | None


@dataclass(frozen=True, slots=True)
class ReviewPace:
    """How fast reviewers were in the last days.

    Attributes:
        since: begin of the time that is looked at.
        sessions: those with timed reviews.
        reviews_per_hour: of one reviewer, with its 95 % interval; None while too little is known.
        hours_left: a reviewer's hours for what is undecided, with its 95 % interval; None alike.
        min_sessions, min_reviews: what has to be known for both.
    """

    since: datetime
    reviews: int
    timed_reviews: int
    sessions: int
    reviewer_hours: float
    reviews_per_hour: Interval | None
    hours_left: Interval | None
    by_day: tuple[PacePeriod, ...]
    by_hour: tuple[PacePeriod, ...]
    min_sessions: int = MIN_SESSIONS
    min_reviews: int = MIN_REVIEWS


@dataclass(frozen=True, slots=True)
class _TimedRow:
    reviewer: str
    session: int
    hour: datetime
    reviews: int
    timed_reviews: int
    seconds: float


def review_pace(
    conn: Connection, county: str, undecided: int, now: datetime | None = None
) -> ReviewPace:
    """The pace of the last 30 days, and the hours left for so many undecided detections."""
    now = datetime.now(UTC) if now is None else now
    since = now - timedelta(days=PACE_DAYS)
    found = conn.execute(_TIMED, {"county": county, "since": since}).mappings()
    rows = [_TimedRow(**row) for row in found]
    sessions: dict[tuple[str, int], tuple[int, float]] = {}
    for row in rows:
        reviews, seconds = sessions.get((row.reviewer, row.session), (0, 0.0))
        sessions[row.reviewer, row.session] = (
            reviews + row.timed_reviews,
            seconds + row.seconds,
        )
    timed = [each for each in sessions.values() if each[1] > 0]
    pace_s = seconds_a_review(timed)
    today = rows[-1].hour if rows else now
    return ReviewPace(
        since,
        sum(row.reviews for row in rows),
        sum(reviews for reviews, _ in timed),
        len(timed),
        sum(each[1] for each in timed) / 3600,
        None if pace_s is None else _inverse(pace_s, 3600),
        None if pace_s is None else _times(pace_s, undecided / 3600),
        _periods(rows, lambda row: row.hour.astimezone(UTC).replace(hour=0)),
        _periods(
            [row for row in rows if row.hour > today - timedelta(hours=_HOURS)],
            lambda row: row.hour.astimezone(UTC),
        ),
    )


def seconds_a_review(sessions: Iterable[tuple[int, float]]) -> Interval | None:
    """Seconds of a reviewer for a review, with the 95 % interval; None while too little is known.

    Args:
        sessions: (reviews, seconds) of each.
    """
    known = list(sessions)
    count, reviews = len(known), sum(each for each, _ in known)
    if count < MIN_SESSIONS or reviews < MIN_REVIEWS:
        return None
    ratio = math.fsum(seconds for _, seconds in known) / reviews
    residuals = math.fsum((seconds - ratio * own) ** 2 for own, seconds in known)
    variance = residuals / (count - 1) / count / (reviews / count) ** 2
    spread = math.exp(float(stdtrit(count - 1, 0.975)) * math.sqrt(variance) / ratio)
    return Interval(ratio, ratio / spread, ratio * spread)


def _inverse(interval: Interval, amount: float) -> Interval:
    assert interval.estimate is not None  # noqa: S101 - of `seconds_a_review`
    return Interval(amount / interval.estimate, amount / interval.high, amount / interval.low)


def _times(interval: Interval, factor: float) -> Interval:
    assert interval.estimate is not None  # noqa: S101 - of `seconds_a_review`
    return Interval(interval.estimate * factor, interval.low * factor, interval.high * factor)


def _periods(
    rows: Iterable[_TimedRow], begin_of: Callable[[_TimedRow], datetime]
) -> tuple[PacePeriod, ...]:
    periods: dict[datetime, list[_TimedRow]] = defaultdict(list)
    for row in rows:
        periods[begin_of(row)].append(row)
    return tuple(_period(begin, own) for begin, own in sorted(periods.items()))


def _period(begin: datetime, rows: list[_TimedRow]) -> PacePeriod:
    hours = sum(row.seconds for row in rows) / 3600
    timed = sum(row.timed_reviews for row in rows)
    return PacePeriod(
        begin,
        sum(row.reviews for row in rows),
        len({row.reviewer for row in rows}),
        hours,
        timed / hours if hours > 0 and timed else None,
    )

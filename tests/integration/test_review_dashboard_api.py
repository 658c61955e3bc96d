"""The dashboard's figures over a real PostGIS: what people decided, how fast, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from lots import (
    COUNTY,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_detections,
    set_state,
    square,
    start_run,
    write_lot,
)
from servers.panel import panel
from sqlalchemy import Connection, text

from pipeline.store.database import Database
from pipeline.store.reads.review_pace import review_pace
from pipeline.store.reads.review_progress import LabelOutcomes, review_progress
from pipeline.store.reviews import (
    audit_answers,
    audit_samples,
    full_reviews,
    tokens,
    undo,
    verdicts,
)

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)


def store_detections(conn: Connection, count: int = 10, label: str = "lawn") -> list[int]:
    """Store a property with `count` detections; returns their ids."""
    [lot] = load_properties(conn)[-1:]
    found = [
        make_detection(square(i % 10, 1 + 4 * (i // 10), 0.5, 3), label, 0.05 + 0.09 * (i % 10))
        for i in range(count)
    ]
    write_lot(conn, start_run(conn), lot, make_boundary(), make_result(*found))
    return [row.id for row in read_detections(conn, lot)]


def lawns(conn: Connection, label: str = "lawn") -> LabelOutcomes:
    [own] = [each for each in review_progress(conn, COUNTY).labels if each.label == label]
    return own


def test_each_detection_has_one_outcome(conn: Connection) -> None:
    ids = store_detections(conn)
    verdicts.accept(conn, ids[0], "ann")
    verdicts.edit(conn, ids[1], "ann", square(1, 1, 0.4, 4))
    verdicts.accept(conn, ids[1], "bob")  # its outline is still another one
    verdicts.relabel(conn, ids[2], "ann", "meadow")
    verdicts.reject(conn, ids[3], "ann", "a shadow")
    verdicts.reject(conn, ids[4], "ann", "a shadow")
    verdicts.restore(conn, ids[4], "bob")
    verdicts.delete(conn, ids[5], "ann")
    undo.undo(conn, verdicts.reject(conn, ids[6], "ann").id, "ann")
    [lot] = load_properties(conn)
    verdicts.add(conn, lot, "ann", "pool", square(1, 6, 1, 1))
    assert lawns(conn) == LabelOutcomes(
        "lawn", undecided=5, accepted=1, edited=1, relabelled=1, rejected=1, deleted=1, drawn=0
    )
    assert lawns(conn, "pool").drawn == 1
    assert [each.label for each in review_progress(conn, COUNTY).labels] == ["lawn", "pool"]


def test_a_relabelled_detection_counts_for_the_label_that_the_segmenter_gave(
    conn: Connection,
) -> None:
    ids = store_detections(conn, 1, "tree")
    verdicts.relabel(conn, ids[0], "ann", "lawn")
    verdicts.relabel(conn, ids[0], "ann", "meadow")
    [own] = review_progress(conn, COUNTY).labels
    assert (own.label, own.relabelled) == ("tree", 1)


def test_properties_are_counted_by_what_is_left_to_do(conn: Connection) -> None:
    lots = load_properties(conn, 4)
    run = start_run(conn)
    for lot in lots[:3]:
        write_lot(conn, run, lot, make_boundary(), make_result(make_detection(square(1, 1, 2, 2))))
    set_state(conn, lots[3:], "failed", "boundary")
    for lot in lots[:2]:
        [lawn] = read_detections(conn, lot)
        verdicts.accept(conn, lawn.id, "ann")
    full_reviews.mark_fully_reviewed(conn, lots[0], "ann")
    progress = review_progress(conn, COUNTY)
    assert progress.properties_by_state == {"done": 3, "failed": 1}
    assert (progress.properties_undecided, progress.properties_decided) == (1, 2)
    assert progress.properties_fully_reviewed == 1
    assert progress.undecided == 1
    [lawn] = read_detections(conn, lots[0])
    verdicts.reject(conn, lawn.id, "ann")
    verdicts.restore(conn, lawn.id, "ann")
    assert review_progress(conn, COUNTY).properties_fully_reviewed == 0


def decide_at(
    conn: Connection, detection: int, reviewer: str, at: datetime, action: str = "accept"
) -> None:
    """An event at a time, as a decision would write it."""
    query = text(
        "INSERT INTO lotline.review (detection_fk, action, reviewer, created_at) "
        "VALUES (:id, :action, :reviewer, :at)"
    )
    conn.execute(query, {"id": detection, "action": action, "reviewer": reviewer, "at": at})


def test_a_reviewers_time_is_between_events_and_without_pauses(conn: Connection) -> None:
    ids = store_detections(conn)
    start = NOW - timedelta(days=2)
    # Two sessions of ann with a pause of six minutes, one of bob at the same time.
    for seconds in (0, 60, 120, 480, 510, 540):
        decide_at(conn, ids[0], "ann", start + timedelta(seconds=seconds))
    for seconds in (0, 300, 601):
        decide_at(conn, ids[1], "bob", start + timedelta(seconds=seconds))
    pace = review_pace(conn, COUNTY, 100, NOW)
    assert (pace.reviews, pace.timed_reviews, pace.sessions) == (9, 5, 3)
    assert pace.reviewer_hours * 3600 == pytest.approx(120 + 60 + 300)
    assert pace.reviews_per_hour is None, "five timed reviews say too little"
    assert pace.hours_left is None
    [day] = pace.by_day
    assert (day.begin, day.reviews, day.reviewers) == (start.replace(hour=0), 9, 2)
    assert day.reviews_per_hour == pytest.approx(5 / (480 / 3600))


def test_hours_left_are_a_range_around_what_is_undecided_times_the_pace(conn: Connection) -> None:
    ids = store_detections(conn)
    for session, gap_s in enumerate((8, 10, 12, 9, 11)):
        begin = NOW - timedelta(days=1, hours=session)
        for number in range(21):
            decide_at(conn, ids[0], "ann", begin + timedelta(seconds=gap_s * number))
    pace = review_pace(conn, COUNTY, 3_600, NOW)
    assert pace.sessions == 5
    assert pace.reviews_per_hour is not None
    assert pace.hours_left is not None
    assert pace.reviews_per_hour.estimate == pytest.approx(360)
    assert pace.hours_left.estimate == pytest.approx(10)
    assert 8 < pace.hours_left.low < 10 < pace.hours_left.high < 12.5


def test_what_was_imported_undone_or_is_old_is_no_pace(conn: Connection) -> None:
    ids = store_detections(conn)
    start = NOW - timedelta(hours=5)
    for detection in ids:  # as an import writes them: at the same moment
        decide_at(conn, detection, "ann", start)
    decide_at(conn, ids[0], "ann", start + timedelta(seconds=30))
    decide_at(conn, ids[1], "bob", NOW - timedelta(days=31))
    decide_at(conn, ids[1], "bob", NOW - timedelta(days=31, seconds=20))
    [last] = conn.execute(text("SELECT max(id) FROM lotline.review WHERE reviewer = 'ann'"))
    conn.execute(
        text(
            "INSERT INTO lotline.review (detection_fk, action, reviewer, undoes, created_at) "
            "VALUES (:id, 'undo', 'ann', :undoes, :at)"
        ),
        {"id": ids[0], "undoes": last[0], "at": start + timedelta(seconds=45)},
    )
    pace = review_pace(conn, COUNTY, 100, NOW)
    assert (pace.reviews, pace.timed_reviews) == (10, 0)
    assert pace.reviewer_hours * 3600 == pytest.approx(45), "the time was spent"


@pytest.fixture
def dashboard(database: Database, tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """The address of a county's dashboard, and the ids of its detections."""
    with database.engine.begin() as conn:
        ids = store_detections(conn)
    with panel(database, tmp_path) as address:
        yield f"{address}/v1/review/counties/{COUNTY}/dashboard", ids


def _get(address: str, **headers: str) -> Any:
    return requests.get(address, headers=headers, timeout=30)


def test_without_reviews_nothing_is_known_and_nothing_is_made_up(
    dashboard: tuple[str, list[int]],
) -> None:
    found = _get(dashboard[0]).json()
    assert found["undecided"] == 10
    assert (found["audit"], found["calibration"]) == (None, None)
    assert found["pace"]["reviews_per_hour"] is None
    assert found["pace"]["hours_left"] is None
    assert found["pace"]["by_day"] == []


def test_error_rates_and_calibration_are_those_of_the_audit_alone(
    dashboard: tuple[str, list[int]], database: Database
) -> None:
    address, ids = dashboard
    with database.engine.begin() as conn:
        for detection in ids[:6]:
            verdicts.reject(conn, detection, "ann")
        audit_samples.start_sample(conn, COUNTY, "ann", per_stratum=50, second_fraction=0)
    found = _get(address).json()
    assert found["audit"]["overall"]["precision"]["estimate"] is None
    assert found["audit"]["overall"]["decided"] == 0
    assert {each["decided"] for each in found["calibration"]} == {0}
    with database.engine.begin() as conn:
        items = conn.execute(
            text("SELECT id, score FROM lotline.audit_item ORDER BY score DESC")
        ).all()
        for number, item in enumerate(items):
            audit_answers.answer(conn, item.id, "bob", "correct" if number < 8 else "wrong")
    found = _get(address).json()
    rate = found["audit"]["by_label"][0]
    assert (rate["label"], rate["decided"], rate["correct"]) == ("lawn", 10, 8)
    assert rate["precision"]["estimate"] == pytest.approx(0.8)
    assert rate["precision"]["low"] < 0.8 < rate["precision"]["high"]
    shares = [each["correct"]["estimate"] for each in found["calibration"] if each["decided"]]
    assert shares == [0.0, 0.0] + [1.0] * 7, "two are between 0.5 and 0.6"


def test_a_county_that_is_not_there_or_may_not_be_seen_is_not_found(
    dashboard: tuple[str, list[int]], database: Database
) -> None:
    address, _ = dashboard
    assert _get(address.replace(COUNTY, "elsewhere")).status_code == 404
    assert _get(address.replace(COUNTY, "a%00b")).status_code == 422
    with database.engine.begin() as conn:
        _, elsewhere = tokens.add_token(conn, "eve", "viewer", ("elsewhere",))
        _, here = tokens.add_token(conn, "ann", "viewer", (COUNTY,))
    assert _get(address).status_code == 401
    assert _get(address, Authorization=f"Bearer {elsewhere}").status_code == 404
    assert _get(address, Authorization=f"Bearer {here}").status_code == 200


def test_the_dashboard_is_in_the_openapi_document(dashboard: tuple[str, list[int]]) -> None:
    origin = dashboard[0].split("/v1/")[0]
    document = _get(f"{origin}/v1/openapi.json").json()
    operation = document["paths"]["/v1/review/counties/{county}/dashboard"]["get"]
    assert "CountyDashboard" in str(operation["responses"]["200"])
    assert set(document["components"]["schemas"]["CountyDashboard"]["properties"]) >= {
        "progress", "audit", "calibration", "pace", "undecided",
    }  # fmt: skip

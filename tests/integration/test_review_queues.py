"""Queues of the review panel in the store: leases, the teaching order, the audit's samples."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lots import (
    COUNTY,
    LAWN,
    TREE,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_detections,
    square,
    start_run,
    write_lot,
)
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from parcels.measure import area_m2
from pipeline.errors import NotStored, StoreError
from pipeline.store.database import Database
from pipeline.store.reviews import audit_answers, leases, teaching, undo, verdicts, work_list
from pipeline.store.reviews.audit_answers import answer, item_view
from pipeline.store.reviews.audit_results import audit_results
from pipeline.store.reviews.audit_samples import AuditSample, newest_sample, start_sample
from pipeline.store.reviews.leases import LeaseHolder
from pipeline.store.reviews.teaching import Lesson, TeachingFilter
from pipeline.store.reviews.work_list import WorkFilter

ANN, BOB = LeaseHolder("ann", "a tab of ann"), LeaseHolder("bob", "a tab of bob")
ANYTHING = TeachingFilter(COUNTY)


def _lots(conn: Connection, *scores: float, labels: tuple[str, ...] = ("lawn",)) -> list[int]:
    """Properties with one detection each, of these scores; labels take turns."""
    keys = load_properties(conn, len(scores))
    run = start_run(conn, sorted(set(labels)))
    for index, (key, score) in enumerate(zip(keys, scores, strict=True)):
        found = make_detection(LAWN, labels[index % len(labels)], score)
        write_lot(conn, run, key, make_boundary(), make_result(found))
    return keys


def _detection(conn: Connection, key: int) -> int:
    return int(read_detections(conn, key)[-1].id)


def _lesson(conn: Connection, holder: LeaseHolder = ANN, **wanted: Any) -> Lesson | None:
    found = teaching.lease_next(conn, TeachingFilter(COUNTY, **wanted), holder)
    return None if found is None else found[0]


def _expire(conn: Connection) -> None:
    conn.execute(text("UPDATE lotline.review_lease SET leased_until = now() - interval '1 s'"))


def _items(conn: Connection, sample: AuditSample) -> list[Any]:
    query = "SELECT * FROM lotline.audit_item WHERE sample_fk = :sample ORDER BY position"
    return list(conn.execute(text(query), {"sample": sample.id}))


def test_eight_reviewers_get_200_properties_once_each(database: Database) -> None:
    with database.engine.begin() as conn:
        keys = _lots(conn, *[0.5 + index / 500 for index in range(200)])

    def work(number: int) -> list[int]:
        done: list[int] = []
        holder = LeaseHolder(f"reviewer {number}", f"tab {number}")
        while True:
            with database.engine.begin() as conn:
                if (found := teaching.lease_next(conn, ANYTHING, holder)) is None:
                    return done
                lesson, lease = found
                assert lease.is_mine
            done.append(lesson.property_key)
            with database.engine.begin() as conn:
                verdicts.accept(conn, lesson.detection_id, holder.reviewer)

    with ThreadPoolExecutor(8) as pool:
        taken = Counter(key for done in pool.map(work, range(8)) for key in done)
    assert taken == Counter(keys)


def test_eight_reviewers_that_only_look_never_share_a_property(database: Database) -> None:
    with database.engine.begin() as conn:
        _lots(conn, *[0.8] * 30)

    def look(number: int) -> int:
        holder = LeaseHolder(f"reviewer {number}", f"tab {number}")
        with database.engine.begin() as conn:
            found = work_list.lease_next(conn, WorkFilter(COUNTY), 0, holder)
            assert found is not None
            return found[0].property_key

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(look, range(24)))
    assert len(set(taken)) == 24


@pytest.mark.parametrize(("second_fraction", "wanted"), [(0.0, 1), (1.0, 2)])
def test_eight_answers_at_once_leave_those_that_are_needed(
    database: Database, second_fraction: float, wanted: int
) -> None:
    with database.engine.begin() as conn:
        [item, *_] = _audited(conn, second_fraction)[1]

    def say(number: int) -> bool:
        try:
            with database.engine.begin() as conn:
                answer(conn, item.id, f"reviewer {number}", "correct")
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(say, range(8))) == wanted
    with database.engine.connect() as conn:
        assert len(item_view(conn, item.id, "nobody").answers) == wanted
        assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar_one() == 1


def test_a_lease_is_shown_to_others_renewed_and_released(conn: Connection) -> None:
    [key] = _lots(conn, 0.6)
    mine = leases.take(conn, key, ANN, "list")
    assert mine.is_mine
    theirs = leases.take(conn, key, BOB, "list")
    assert (theirs.reviewer, theirs.is_mine) == ("ann", False)
    assert theirs.leased_until == mine.leased_until
    leases.release(conn, key, BOB)  # not his
    assert leases.lease_of(conn, key, BOB) == theirs
    assert _lesson(conn, BOB) is None
    leases.release(conn, key, ANN)
    assert leases.lease_of(conn, key, BOB) is None
    assert leases.take(conn, key, BOB, "list").is_mine


def test_an_expired_lease_is_taken_over(conn: Connection) -> None:
    [key] = _lots(conn, 0.6)
    leases.take(conn, key, ANN, "list")
    _expire(conn)
    assert leases.lease_of(conn, key, BOB) is None
    found = _lesson(conn, BOB)
    assert found is not None
    assert found.property_key == key
    assert not leases.take(conn, key, ANN, "list").is_mine


def test_going_on_releases_the_property_before(conn: Connection) -> None:
    first, second = _lots(conn, 0.5, 0.9)
    found = work_list.lease_next(conn, WorkFilter(COUNTY), 0, ANN)
    assert found is not None
    assert found[0].property_key == first
    found = work_list.lease_next(conn, WorkFilter(COUNTY), first, ANN)
    assert found is not None
    assert found[0].property_key == second
    assert leases.lease_of(conn, first, ANN) is None
    other_tab = LeaseHolder("ann", "another tab of ann")
    found = work_list.lease_next(conn, WorkFilter(COUNTY), 0, other_tab)
    assert found is not None
    assert found[0].property_key == first


def test_the_list_is_filtered_by_run(conn: Connection) -> None:
    first, second = load_properties(conn, 2)
    runs = [start_run(conn), start_run(conn)]
    for key, run in zip((first, second), runs, strict=True):
        write_lot(conn, run, key, make_boundary(), make_result(make_detection(LAWN)))
    wanted = [WorkFilter(COUNTY, run=run.id) for run in runs]
    assert [work_list.next_property(conn, each, 0) for each in wanted] == [first, second]
    assert work_list.next_property(conn, wanted[0], first) is None


def test_what_is_uncertain_comes_first_and_says_so(conn: Connection) -> None:
    _, unsure, _ = _lots(conn, 0.95, 0.52, 0.7)
    lesson = _lesson(conn)
    assert lesson is not None
    assert lesson.property_key == unsure
    assert lesson.reasons[0] == "score 0.52 near the threshold 0.50"
    assert "0 reviews of lawn so far" in lesson.reasons


def test_a_label_without_reviews_comes_before_one_with_many(conn: Connection) -> None:
    keys = _lots(conn, *[0.6, 0.6] * 60, labels=("lawn", "pool"))
    for key in keys[0:110:2]:
        verdicts.accept(conn, _detection(conn, key), "ann")
    lesson = _lesson(conn)
    assert lesson is not None
    assert lesson.property_key in keys[1::2]
    assert "0 reviews of pool so far" in lesson.reasons
    only_lawns = _lesson(conn, BOB, label="lawn")
    assert only_lawns is not None
    assert only_lawns.property_key in keys[110::2]
    assert not any("reviews of lawn" in each for each in only_lawns.reasons)


def test_runs_that_disagree_size_and_circles_count(conn: Connection) -> None:
    keys = load_properties(conn, 4)
    early, late = start_run(conn), start_run(conn)
    for key in keys:
        width = 10 if key == keys[2] else 1
        lawn = make_detection(square(1, 1, width, 4), score=0.9)
        source = "buffer_30m" if key == keys[3] else "lot"
        if key in keys[:2]:  # the first differs from the earlier run, the second hardly
            before = square(1, 5, 1, 4) if key == keys[0] else square(1, 1, 1, 4.1)
            found = make_result(make_detection(before, score=0.9))
            write_lot(conn, early, key, make_boundary(source=source), found)
        write_lot(conn, late, key, make_boundary(source=source), make_result(lawn))
    values: dict[int, Lesson] = {}
    for _ in keys:
        taken = teaching.lease_next(conn, ANYTHING, ANN, skip=list(values))
        assert taken is not None
        values[taken[0].property_key] = taken[0]
    assert next(iter(values)) == keys[0]
    assert any("an earlier run drew it differently" in r for r in values[keys[0]].reasons)
    assert not any("earlier run" in reason for reason in values[keys[1]].reasons)
    assert any("times the usual area" in reason for reason in values[keys[2]].reasons)
    assert any("30 m circle" in reason for reason in values[keys[3]].reasons)
    assert teaching.lease_next(conn, ANYTHING, ANN, skip=keys) is None


def test_what_is_decided_leaves_and_what_is_undone_returns(conn: Connection) -> None:
    [key] = _lots(conn, 0.6)
    assert _lesson(conn) is not None
    review = verdicts.reject(conn, _detection(conn, key), "ann")
    assert _lesson(conn) is None
    undo.undo(conn, review.id, "ann")
    assert _lesson(conn) is not None


def test_a_later_run_enters_the_queue(conn: Connection) -> None:
    [key] = _lots(conn, 0.6)
    assert _lesson(conn) is not None
    later = start_run(conn)
    write_lot(conn, later, key, make_boundary(), make_result(make_detection(TREE, "tree", 0.55)))
    lesson = _lesson(conn, run=later.id)
    assert lesson is not None
    assert lesson.detection_id == _detection(conn, key)


def _audited(conn: Connection, second_fraction: float = 0.0) -> tuple[AuditSample, list[Any]]:
    _lots(conn, *[0.6] * 12, labels=("lawn", "pool", "lawn"))
    sample = start_sample(
        conn, COUNTY, "carl", per_stratum=3, second_fraction=second_fraction, seed=7
    )
    return sample, _items(conn, sample)


def test_a_sample_is_stratified_random_and_frozen(conn: Connection) -> None:
    sample, items = _audited(conn)
    assert sample.items == len(items) == 6
    assert Counter((each.label, each.stratum_count) for each in items) == {
        ("lawn", 8): 3,
        ("pool", 4): 3,
    }
    again = start_sample(conn, COUNTY, "carl", per_stratum=3, second_fraction=0, seed=7)
    assert [i.detection_fk for i in _items(conn, again)] == [i.detection_fk for i in items]
    other = start_sample(conn, COUNTY, "carl", per_stratum=3, second_fraction=0, seed=8)
    assert [i.detection_fk for i in _items(conn, other)] != [i.detection_fk for i in items]
    assert newest_sample(conn, COUNTY) == other
    for table in ("audit_sample", "audit_item", "audit_answer"):
        with pytest.raises(DBAPIError, match="never changed"), conn.begin_nested():
            conn.execute(text(f"DELETE FROM lotline.{table}"))


def test_each_detection_has_the_same_chance(conn: Connection) -> None:
    _lots(conn, *[0.6] * 8)
    drawn: Counter[int] = Counter()
    firsts: Counter[int] = Counter()
    for seed in range(400):
        items = _items(conn, start_sample(conn, COUNTY, "carl", per_stratum=2, seed=seed))
        drawn.update(each.detection_fk for each in items)
        firsts[items[0].detection_fk] += 1
    # 100 and 50 expected; 4 standard deviations are 35 and 26.
    assert len(drawn) == 8
    assert all(65 <= count <= 135 for count in drawn.values())
    assert all(24 <= count <= 76 for count in firsts.values())


def test_reviewed_detections_are_sampled_as_the_run_drew_them(conn: Connection) -> None:
    edited, rejected, relabelled, drawn_on = _lots(conn, 0.6, 0.6, 0.6, 0.6)
    verdicts.edit(conn, _detection(conn, edited), "ann", square(1, 1, 2, 2))
    verdicts.edit(conn, _detection(conn, edited), "ann", square(1, 1, 1, 1))
    verdicts.reject(conn, _detection(conn, rejected), "ann")
    verdicts.relabel(conn, _detection(conn, relabelled), "ann", "meadow")
    verdicts.add(conn, drawn_on, "ann", "pool", square(7, 7, 1, 1))
    sample = start_sample(conn, COUNTY, "carl", seed=1)
    items = _items(conn, sample)
    assert [(each.label, each.stratum_count) for each in items] == [("lawn", 4)] * 4
    assert {each.property_fk for each in items} == {edited, rejected, relabelled, drawn_on}
    for each in items:
        view = item_view(conn, each.id, "bob")
        assert view.geometry.equals(LAWN)
        assert view.clipped_area_m2 == pytest.approx(area_m2(LAWN))


def test_superseded_detections_are_not_sampled(conn: Connection) -> None:
    [key] = _lots(conn, 0.6)
    later = make_result(make_detection(square(1, 1, 2, 2), score=0.7))
    write_lot(conn, start_run(conn), key, make_boundary(), later)
    [item] = _items(conn, start_sample(conn, COUNTY, "carl"))
    assert item.detection_fk == _detection(conn, key)


def test_an_audit_that_cannot_be_is_refused(conn: Connection) -> None:
    with pytest.raises(NotStored):
        start_sample(conn, "nowhere", "carl")
    load_properties(conn)
    with pytest.raises(StoreError, match="lotline batch"):
        start_sample(conn, COUNTY, "carl")
    with pytest.raises(StoreError, match="audit start"):
        audit_answers.lease_next(conn, COUNTY, ANN)
    for wrong in ({"per_stratum": 0}, {"second_fraction": float("nan")}, {"second_fraction": 2}):
        with pytest.raises(StoreError, match="give"):
            start_sample(conn, COUNTY, "carl", **wrong)
    assert audit_results(conn, COUNTY) is None


def test_an_answer_is_a_review_where_nobody_has_decided(conn: Connection) -> None:
    _, items = _audited(conn)
    said = [
        answer(conn, items[0].id, "ann", "correct"),
        answer(conn, items[1].id, "ann", "wrong", note="a shadow"),
        answer(conn, items[2].id, "ann", "outline", geometry=square(1, 1, 3, 4)),
        answer(conn, items[3].id, "ann", "label", label="meadow"),
        answer(conn, items[4].id, "ann", "unsure"),
    ]
    actions = ["accept", "reject", "edit", "relabel", None]
    for each, item, action in zip(said, items, actions, strict=False):
        found = conn.execute(
            text("SELECT id, action FROM lotline.review WHERE detection_fk = :id"),
            {"id": item.detection_fk},
        ).one_or_none()
        assert (each.review_id, action) == ((None, None) if found is None else tuple(found))


def test_an_earlier_word_stands_and_the_answer_counts(conn: Connection) -> None:
    _, items = _audited(conn)
    verdicts.accept(conn, items[0].detection_fk, "bob")
    said = answer(conn, items[0].id, "ann", "wrong")
    assert said.review_id is None
    state = conn.execute(
        text("SELECT state FROM lotline.detection WHERE id = :id"), {"id": items[0].detection_fk}
    ).scalar_one()
    assert state == "accepted"
    found = audit_results(conn, COUNTY)
    assert found is not None
    assert (found.overall.wrong, found.overall.correct) == (1, 0)


def test_reviews_outside_the_audit_never_count(conn: Connection) -> None:
    _, items = _audited(conn)
    for item in items:
        verdicts.reject(conn, item.detection_fk, "bob")
    found = audit_results(conn, COUNTY)
    assert found is not None
    assert (found.overall.answered, found.overall.precision.estimate) == (0, None)
    assert (found.overall.precision.low, found.overall.precision.high) == (0.0, 1.0)


def test_a_second_opinion_is_blind_and_of_another_person(conn: Connection) -> None:
    sample, items = _audited(conn, second_fraction=1.0)
    assert all(each.needs_second for each in items)
    found = audit_answers.lease_next(conn, COUNTY, ANN)
    assert found is not None
    item = found[0].item_id
    assert found[0].property_key == items[0].property_fk
    answer(conn, item, "ann", "wrong", note="a shadow")
    assert [a.verdict for a in item_view(conn, item, "ann").answers] == ["wrong"]
    assert item_view(conn, item, "bob").answers == ()
    again = audit_answers.lease_next(conn, COUNTY, ANN)
    assert again is not None
    assert again[0].item_id != item
    second = audit_answers.lease_next(conn, COUNTY, BOB)
    assert second is not None
    assert second[0].item_id == item
    answer(conn, item, "bob", "correct")
    for reviewer in ("ann", "bob", "carl"):
        view = item_view(conn, item, reviewer)
        assert [(a.reviewer, a.verdict) for a in view.answers] == [
            ("ann", "wrong"),
            ("bob", "correct"),
        ]
    with pytest.raises(StoreError, match="has its answers"):
        answer(conn, item, "carl", "correct")
    with pytest.raises(StoreError, match="your answer stands"):
        answer(conn, item, "ann", "correct")
    results = audit_results(conn, COUNTY)
    assert results is not None
    assert (results.agreement.pairs, results.agreement.share.estimate) == (1, 0.0)
    assert (results.second_wanted, results.second_given) == (sample.items, 1)
    assert results.overall.wrong == 1


def test_the_first_answer_shows_nowhere_before_the_second(conn: Connection) -> None:
    _, items = _audited(conn, second_fraction=1.0)
    item = items[0]
    first = answer(conn, item.id, "ann", "wrong", note="a shadow")
    assert first.review_id is None
    assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar_one() == 0
    results = audit_results(conn, COUNTY)
    assert results is not None
    assert (results.overall.answered, results.overall.wrong, results.second_given) == (0, 0, 0)
    second = answer(conn, item.id, "bob", "correct")
    review = conn.execute(text("SELECT id, action, reviewer, note FROM lotline.review")).one()
    assert tuple(review) == (second.review_id, "reject", "ann", "a shadow")
    results = audit_results(conn, COUNTY)
    assert results is not None
    assert (results.overall.answered, results.overall.wrong, results.second_given) == (1, 1, 1)
    # Of an unsure first answer nothing can be made.
    answer(conn, items[1].id, "ann", "unsure")
    answer(conn, items[1].id, "bob", "correct")
    newest = conn.execute(text("SELECT action, reviewer FROM lotline.review ORDER BY id DESC"))
    assert tuple(newest.first() or ()) == ("accept", "bob")


def test_the_same_person_in_two_tabs_is_no_second_opinion(conn: Connection) -> None:
    _, items = _audited(conn, second_fraction=1.0)
    answer(conn, items[0].id, "ann", "correct")
    found = audit_answers.lease_next(conn, COUNTY, LeaseHolder("ann", "another tab"))
    assert found is not None
    assert found[0].item_id != items[0].id


def test_an_answer_can_be_given_again_until_somebody_else_answers(conn: Connection) -> None:
    _, items = _audited(conn)
    item = items[0]
    first = answer(conn, item.id, "ann", "wrong")
    changed = answer(conn, item.id, "ann", "correct")
    assert changed.review_id not in (None, first.review_id)
    state = conn.execute(
        text("SELECT state FROM lotline.detection WHERE id = :id"), {"id": item.detection_fk}
    ).scalar_one()
    assert state == "accepted"
    found = audit_results(conn, COUNTY)
    assert found is not None
    assert (found.overall.wrong, found.overall.correct, found.overall.answered) == (0, 1, 1)
    verdicts.reject(conn, item.detection_fk, "bob")
    assert answer(conn, item.id, "ann", "wrong").review_id is None  # bob's word stands


def test_a_replayed_answer_is_saved_once(conn: Connection) -> None:
    _, items = _audited(conn)
    said = [answer(conn, items[0].id, "ann", "correct", idempotency_key="k" * 9) for _ in "ab"]
    assert said[0] == said[1]
    with pytest.raises(StoreError, match="idempotency key"):
        answer(conn, items[1].id, "ann", "correct", idempotency_key="k" * 9)
    with pytest.raises(StoreError, match="idempotency key"):
        answer(conn, items[0].id, "bob", "correct", idempotency_key="k" * 9)


def test_answers_that_say_too_little_are_refused(conn: Connection) -> None:
    _, items = _audited(conn)
    with pytest.raises(StoreError, match="true label"):
        answer(conn, items[0].id, "ann", "label")
    with pytest.raises(StoreError, match="already"):
        answer(conn, items[0].id, "ann", "label", label=items[0].label)
    with pytest.raises(StoreError, match="true outline"):
        answer(conn, items[0].id, "ann", "outline")
    with pytest.raises(StoreError, match="no reviewer"):
        answer(conn, items[0].id, " ", "correct")
    with pytest.raises(NotStored):
        answer(conn, 10**9, "ann", "correct")
    with pytest.raises(NotStored):
        item_view(conn, items[0].id, "ann", counties=["elsewhere"])


def test_results_weigh_strata_by_their_share_of_the_county(conn: Connection) -> None:
    _, items = _audited(conn)
    for item in items:
        if item.label == "lawn":
            answer(conn, item.id, "ann", "outline", geometry=square(1, 1, 3, 4))
        else:
            answer(conn, item.id, "ann", "wrong")
    found = audit_results(conn, COUNTY)
    assert found is not None
    assert found.overall.precision.estimate == pytest.approx(8 / 12)
    assert found.overall.exactness.estimate == 0
    by_label = {each.label: each for each in found.by_label}
    assert by_label["lawn"].precision.estimate == 1
    assert by_label["lawn"].population == 8
    assert by_label["pool"].precision.estimate == 0
    assert by_label["pool"].area is None
    lawn_error = by_label["lawn"].area
    assert lawn_error is not None
    assert lawn_error.bias == pytest.approx(1, abs=1e-3)  # twice as wide as it is
    assert [(each.label, each.source) for each in found.strata] == [
        ("lawn", "lot"),
        ("pool", "lot"),
    ]

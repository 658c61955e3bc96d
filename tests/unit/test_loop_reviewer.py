"""The scripted reviewer of the loop's proof: exact truth, and efforts that count what is wrong."""

from __future__ import annotations

import shapely
from shapely.affinity import translate

from benchmarks.loop.reviewer import Effort, review

SQUARE = shapely.box(0, 0, 10, 10)
FAR = shapely.box(50, 0, 60, 10)


def test_right_proposals_are_accepted_without_touching_them() -> None:
    confirmed, effort = review([SQUARE, FAR], [FAR, SQUARE])
    assert confirmed == [FAR, SQUARE]
    assert (effort.accepted, effort.touched, effort.vertices) == (2, 0, 0)


def test_one_wrong_corner_is_one_vertex() -> None:
    dented = shapely.Polygon([(0, 0), (10, 0), (7, 7), (0, 10)])
    confirmed, effort = review([dented], [SQUARE])
    assert confirmed == [SQUARE]
    assert (effort.reshaped, effort.vertices, effort.accepted) == (1, 1, 0)


def test_a_bulge_between_right_corners_counts() -> None:
    bulging = shapely.Polygon([(0, 0), (10, 0), (10, 10), (5, 14), (0, 10)])
    assert review([bulging], [SQUARE])[1].vertices == 1


def test_less_than_two_pixels_is_not_seen() -> None:
    assert review([translate(SQUARE, 0.4, 0.4)], [SQUARE])[1].touched == 0


def test_missing_objects_are_drawn_and_false_ones_rejected() -> None:
    confirmed, effort = review([FAR], [SQUARE])
    assert confirmed == [SQUARE]
    assert effort == Effort(rejected=1, drawn=1, vertices=4, seconds=effort.seconds)
    assert effort.touched == 2
    assert effort.seconds > 4 * 1.1


def test_a_proposal_that_is_more_work_than_drawing_is_rejected() -> None:
    ragged = shapely.union_all([shapely.box(x, -3, x + 1, 13) for x in range(-4, 14, 2)])
    jagged = ragged.union(shapely.box(-3, 3, 13, 7))
    effort = review([jagged], [SQUARE])[1]
    assert (effort.drawn, effort.rejected, effort.vertices) == (1, 1, 4)


def test_the_closest_proposal_is_used_once() -> None:
    half = shapely.box(0, 0, 10, 5)
    effort = review([half, SQUARE], [SQUARE])[1]
    assert (effort.accepted, effort.rejected) == (1, 1)


def test_holes_have_corners_too() -> None:
    ring = SQUARE.difference(shapely.box(3, 3, 7, 7))
    assert review([], [ring])[1].vertices == 8
    assert review([SQUARE], [ring])[1].vertices == 4


def test_smaller_objects_than_labels_have_are_not_drawn() -> None:
    assert review([], [shapely.box(0, 0, 1, 1)]) == ([], Effort())


def test_efforts_add_up() -> None:
    one = review([FAR], [SQUARE])[1]
    two = one + one
    assert (two.rejected, two.vertices, two.seconds) == (2, 8, 2 * one.seconds)

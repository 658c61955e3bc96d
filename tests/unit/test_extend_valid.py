"""Beyond its valid pixels an image is mirrored, so that its texture continues."""

from __future__ import annotations

import numpy as np

from detection.segmenters.extend_valid import source_pixels


def test_valid_pixels_stand_for_themselves() -> None:
    valid = np.ones((4, 5), bool)
    rows, columns = source_pixels(valid)
    assert (rows == np.indices((4, 5))[0]).all()
    assert (columns == np.indices((4, 5))[1]).all()


def test_an_edge_is_a_mirror() -> None:
    row = np.arange(10)
    valid = np.zeros((1, 10), bool)
    valid[0, :6] = True
    rows, columns = source_pixels(valid)
    assert row[columns[0]].tolist() == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    assert (rows == 0).all()


def test_what_has_no_mirror_image_gets_the_nearest_pixel() -> None:
    valid = np.zeros((3, 9), bool)
    valid[:, 2:4] = True
    rows, columns = source_pixels(valid)
    assert columns[1].tolist() == [2, 3, 2, 3, 2, 3, 3, 3, 3]
    assert valid[rows, columns].all()


def test_every_shape_of_valid_pixels_is_continued_by_valid_ones() -> None:
    rng = np.random.default_rng(0)
    for share in (0.001, 0.3, 0.9):
        valid = rng.random((60, 70)) < share
        valid[7, 9] = True
        assert valid[source_pixels(valid)].all()

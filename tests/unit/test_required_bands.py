"""Imagery that a segmenter cannot use is refused at once, with what to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from landscapes import landscape
from rasters import boundary, noise, write_tiff
from shapely import box

from detection import LABELS, Detector
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.required_bands import band_notes, check_bands
from detection.segmenters.spectral import Spectral


def opened(folder: Path, pixels: np.ndarray, bands: tuple[str, ...] | None = None) -> GeoTiffMosaic:
    return GeoTiffMosaic(str(write_tiff(folder / "a.tif", pixels)), bands)


def test_gray_imagery_is_refused(tmp_path: Path) -> None:
    imagery = opened(tmp_path, landscape()[:1])
    for segmenter in ("spectral", "sam3-tiny"):
        with pytest.raises(ImageryError, match=r"imagery has gray.*use other imagery"):
            check_bands(segmenter, imagery)
    check_bands("threshold", imagery)
    with pytest.raises(ImageryError, match="gray"):
        Detector(Spectral("cpu")).detect([boundary(box(0, 0, 1, 1))], imagery, [LABELS["lawn"]])


def test_unnamed_bands_say_what_to_write(tmp_path: Path) -> None:
    imagery = opened(tmp_path, noise(5, 40, 40))
    with pytest.raises(ImageryError, match=r"bands: \[red, green, blue, nir\]"):
        check_bands("spectral", imagery)


def test_each_segmenter_has_its_needs(tmp_path: Path) -> None:
    false_colour = opened(tmp_path, noise(3, 40, 40), ("nir", "red", "green"))
    check_bands("spectral-2", false_colour)
    with pytest.raises(ImageryError, match="needs the bands blue, green, red"):
        check_bands("sam3", false_colour)
    deep = opened(tmp_path, noise(4, 40, 40, dtype="uint16"))
    check_bands("spectral", deep)
    with pytest.raises(ImageryError, match="8 bit"):
        check_bands("sam3", deep)


def test_without_near_infrared_spectral_has_a_caveat(tmp_path: Path) -> None:
    colours = opened(tmp_path, landscape()[:3])
    [note] = band_notes("spectral-2", colours)
    assert "not comparable" in note or "not usable" in note
    assert band_notes("sam3", colours) == ()
    assert band_notes("spectral-2", opened(tmp_path, landscape())) == ()

"""Files of corrections with values of any kind: refused with a reason, never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import CorrectionsFileError
from pipeline.review.corrections.correction import Correction
from pipeline.review.corrections.read_file import read_corrections

SQUARE = [[[-90.0, 35.0], [-90.0, 35.1], [-89.9, 35.1], [-90.0, 35.0]]]

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.just(-(2**63)),
    st.floats(), st.text(max_size=8), st.just("\x1b[2J\x00\udc80"),
    st.lists(st.integers(-2, 2), max_size=3), st.just({}), st.just({"a": [1]}),
)  # fmt: skip


def _mutated(members: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the members replaced, or left out."""
    kept = {name: st.one_of(st.just(value), ODD) for name, value in members.items()}
    return st.fixed_dictionaries({}, optional=kept)


FEATURES = _mutated(
    {
        "type": "Feature",
        "properties": {"label": "lawn"},
        "geometry": {"type": "Polygon", "coordinates": SQUARE},
    }
)
PROPERTIES = _mutated(
    {
        "detection_id": 1, "version": 1, "label": "lawn", "state": "proposed", "area_m2": 3.5,
        "review": "accept", "note": "seen", "property_id": "p1",
    }
)  # fmt: skip
GEOMETRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Polygon", "MultiPolygon", "GeometryCollection", "Point", "?"]),
        "coordinates": st.recursive(ODD, lambda of: st.lists(of, max_size=4), max_leaves=20),
    }
)
IMAGES = _mutated(
    {
        "id": 1, "file_name": "a.png", "width": 40, "height": 40, "extra": {"name": "a.png"},
        "crs": "EPSG:32615", "transform": [0.5, 0, 770000, 0, -0.5, 3890000],
    }
)  # fmt: skip
ANNOTATIONS = _mutated(
    {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
        "segmentation": [[1, 1, 30, 1, 30, 30]], "attributes": {"detection_id": 1},
    }
)  # fmt: skip


def _checked(folder: Path, content: object) -> None:
    file = folder / "odd.json"
    # Lone surrogates are written as escapes, and numbers as Python writes them.
    file.write_text(json.dumps(content), encoding="ascii")
    try:
        found = read_corrections(file, None, None)
    except CorrectionsFileError:
        return
    for each in found:
        assert isinstance(each, Correction)
        assert each.problem or each.outline is not None
        assert (each.label or "").isprintable()
        json.dumps(each.values, allow_nan=False)
        json.dumps(each.values, ensure_ascii=False).encode()


_QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_QUICK
@given(feature=FEATURES, properties=PROPERTIES, crs=ODD)
def test_features_of_any_kind(
    tmp_path: Path, feature: dict[str, Any], properties: dict[str, Any], crs: object
) -> None:
    if isinstance(feature.get("properties"), dict):
        feature["properties"] = properties
    _checked(tmp_path, {"type": "FeatureCollection", "features": [feature]})
    _checked(tmp_path, {"features": [feature], "crs": {"properties": {"name": crs}}, "a": crs})


@_QUICK
@given(geometry=GEOMETRIES)
def test_geometries_of_any_kind(tmp_path: Path, geometry: dict[str, Any]) -> None:
    feature = {"type": "Feature", "properties": {"label": "lawn"}, "geometry": geometry}
    _checked(tmp_path, {"type": "FeatureCollection", "features": [feature]})


@_QUICK
@given(image=IMAGES, annotation=ANNOTATIONS, category=_mutated({"id": 1, "name": "lawn"}))
def test_annotations_of_any_kind(
    tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any], category: dict[str, Any]
) -> None:
    categories = [{"id": 1, "name": "lawn"}, category]
    _checked(tmp_path, {"images": [image], "annotations": [annotation], "categories": categories})


@_QUICK
@given(encoded=_mutated({"size": [40, 40], "counts": [800, 800]}), text=st.text(max_size=30))
def test_masks_of_any_kind(tmp_path: Path, encoded: dict[str, Any], text: str) -> None:
    image = {
        "id": 1, "file_name": "a.png", "width": 40, "height": 40, "crs": "EPSG:32615",
        "transform": [0.5, 0, 770000, 0, -0.5, 3890000],
    }  # fmt: skip
    masks = [encoded, {"size": [40, 40], "counts": text}]
    annotations = [{"image_id": 1, "category_id": 1, "segmentation": each} for each in masks]
    categories = [{"id": 1, "name": "lawn"}]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    _checked(tmp_path, content)


@pytest.mark.parametrize("depth", [50, 900, 100_000])
def test_deep_nesting_is_refused(tmp_path: Path, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    file = tmp_path / "deep.json"
    for content in (
        f'{{"features": [{{"type": "Feature", "properties": {{"label": {deep}}}, "geometry": '
        f'{{"type": "Polygon", "coordinates": {deep}}}}}]}}',
        f'{{"images": {deep}, "annotations": [{{"segmentation": {deep}}}], "categories": []}}',
    ):
        file.write_text(content)
        try:
            found = read_corrections(file, None, None)
        except CorrectionsFileError:
            continue
        assert all(each.problem for each in found)

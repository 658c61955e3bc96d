"""COCO of corrections: annotations of images whose place on Earth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.errors import GEOSException
from shapely.geometry.base import BaseGeometry

from parcels.crs import to_wgs84
from parcels.errors import GeometryError
from parcels.measure import on_earth
from parcels.untrusted import mapping, mappings, sanitize_text
from pipeline.errors import CorrectionsFileError, InvalidOutline
from pipeline.review.corrections.correction import (
    MAX_VERTICES,
    Correction,
    UnusableValue,
    own_text,
    polygons,
    require_file,
    spoken,
    whole_number,
)
from pipeline.review.corrections.image_places import ImagePlace, ImagePlaces
from pipeline.review.corrections.run_lengths import mask_outline
from pipeline.store.results.crossings import require_few_in_common

MAX_BYTES = 128 << 20
_MAX_SIDE = 100_000
# An outline may end a little beyond its image.
_BEYOND_PX = 1.0
_KEYS = (b'"annotations"', b'"images"', b'"categories"', b'"licenses"')


def looks_like_coco(head: bytes) -> bool:
    """Whether the beginning of a JSON file is that of COCO."""
    return b'"Feature' not in head and any(key in head for key in _KEYS)


def read_coco(path: Path, images: Path | None, crs: str | None) -> list[Correction]:
    """The annotations of a file, in its order; one that cannot be used has a `problem`.

    Args:
        images: the folder of the images; the file's own by default.
        crs: of images whose files do not name it.

    Raises:
        CorrectionsFileError: the file is not COCO, its labels cannot be told, or nothing is in it.
    """
    require_file(path, MAX_BYTES)
    content = _content(path)
    annotations = mappings(content.get("annotations"))
    if not annotations:
        raise CorrectionsFileError(f"{path} has no annotations: export the finished tasks")
    # The file's own folder may be a home directory: what lies deeper is searched if it is named.
    places = ImagePlaces(images or path.parent, crs, deep=images is not None)
    reader = _Annotations(path, content, places, _categories(path, content))
    reader.check_categories(annotations)
    return [reader.correction(number, each) for number, each in enumerate(annotations, 1)]


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorrectionsFileError(
            f"{path} is not JSON ({sanitize_text(error, 120)}): export it again as COCO"
        ) from error
    if not isinstance(content, dict):
        raise CorrectionsFileError(f"{path} is not COCO: it has no images and annotations")
    return content


def _categories(path: Path, content: Mapping[str, Any]) -> dict[object, str]:
    found: dict[object, str] = {}
    for each in mappings(content.get("categories")):
        key, name = _id(each.get("id")), own_text(each.get("name"), 100)
        if key is None or name is None:
            continue
        if found.get(key, name) != name:
            raise CorrectionsFileError(
                f"{path}: the category {key} has two names, {found[key]!r} and {name!r}: export it "
                "again"
            )
        found[key] = name
    if not found:
        raise CorrectionsFileError(f"{path} has no categories, so no annotation has a label")
    return found


def _id(value: object) -> object:
    """An id as it is compared: 3, 3.0 and "3" are the same."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text or None


class _Annotations:
    """Reads annotations, with the place of each image looked up once."""

    def __init__(
        self,
        path: Path,
        content: Mapping[str, Any],
        places: ImagePlaces,
        categories: Mapping[object, str],
    ) -> None:
        self._path, self._places, self._categories = path, places, categories
        self._images: dict[object, Mapping[str, Any]] = {}
        self._repeated: set[object] = set()
        for image in mappings(content.get("images")):
            key = _id(image.get("id"))
            if key in self._images:
                self._repeated.add(key)
            self._images[key] = image
        self._known: dict[object, ImagePlace | UnusableValue] = {}

    def check_categories(self, annotations: list[dict[str, Any]]) -> None:
        """Refuse ids of categories that may all be one off: the labels would be others'."""
        used = {_id(each.get("category_id")) for each in annotations} - {None}
        if unknown := used - self._categories.keys():
            shown = ", ".join(sorted(sanitize_text(each, 20) for each in unknown)[:5])
            raise CorrectionsFileError(
                f"{self._path}: annotations have a category_id that no category has ({shown}), so "
                "all labels may be shifted by one: number `categories` as the annotations do"
            )

    def correction(self, number: int, each: dict[str, Any]) -> Correction:
        """One annotation."""
        image = self._images.get(_id(each.get("image_id")), {})
        name = sanitize_text(image.get("file_name", "an unknown image"), 120)
        attributes = {
            str(key).lower(): value for key, value in mapping(each.get("attributes")).items()
        }
        label = self._categories.get(_id(each.get("category_id")))
        common: dict[str, Any] = {
            "where": f"annotation {sanitize_text(each.get('id', number), 40)} of {name}",
            "label": label,
            "may_match": True,
            "values": {"label": label, "image": name},
            "note": own_text(attributes.get("note")) or "",
            "property_id": own_text(attributes.get("property_id"), 300),
        }
        try:
            outline = self._outline(each, image)
            detection_id = whole_number("detection_id", attributes.get("detection_id"))
            return Correction(
                **common,
                outline=outline,
                detection_id=detection_id,
                version=whole_number("version", attributes.get("version")),
                review=spoken(attributes.get("review")),
            )
        except UnusableValue as error:
            return Correction(**common, outline=None, problem=str(error))

    def _outline(self, each: Mapping[str, Any], image: Mapping[str, Any]) -> BaseGeometry:
        width, height = _size(image)
        drawn = _drawn(each.get("segmentation"), width, height)
        west, north, east, south = drawn.bounds
        if min(west, north) < -_BEYOND_PX or east > width + _BEYOND_PX or (
            south > height + _BEYOND_PX
        ):  # fmt: skip
            raise UnusableValue(
                f"it reaches beyond its image of {width} x {height} pixels: export the annotations "
                "without resizing"
            )
        place = self._place(_id(image.get("id")), image, width, height)
        on_map = shapely.transform(drawn, lambda xy: np.column_stack(place.transform @ (*xy.T,)))
        try:
            [outline] = to_wgs84(np.array([on_map], dtype=object), place.crs)
        except GeometryError as error:
            raise UnusableValue(f"its place cannot be told: {error}") from error
        if not on_earth(np.array([outline], dtype=object)).all():
            raise UnusableValue("its image is not on Earth: check the transform and the CRS")
        return outline

    def _place(self, key: object, image: Mapping[str, Any], width: int, height: int) -> ImagePlace:
        if key in self._repeated:
            raise UnusableValue(f"two images have the id {sanitize_text(key, 40)}")
        if key not in self._known:
            try:
                self._known[key] = self._places.place(image, width, height)
            except UnusableValue as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, UnusableValue):
            raise UnusableValue(str(known))
        return known


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    if not image:
        raise UnusableValue("its image_id is not the id of an image of the file")
    width, height = image.get("width"), image.get("height")
    if not (type(width) is int and type(height) is int):
        raise UnusableValue("its image has no width and height")
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise UnusableValue(f"its image has {width} x {height} pixels")
    return width, height


def _drawn(segmentation: object, width: int, height: int) -> BaseGeometry:
    """The outline in pixels: of a mask, or of polygons, which are parts of one object."""
    if isinstance(segmentation, dict):
        # Tools mark each mask as a crowd; it is an object all the same.
        return polygons(mask_outline(segmentation, width, height), MAX_VERTICES)
    if not isinstance(segmentation, list) or not segmentation:
        raise UnusableValue("it has no outline, only a box: draw a polygon or a mask")
    if isinstance(segmentation[0], int | float):
        segmentation = [segmentation]  # one ring, not in a list
    rings = [_ring(each) for each in segmentation]
    if sum(map(len, rings)) > MAX_VERTICES:
        raise UnusableValue(f"it has more than {MAX_VERTICES:,} vertices")
    parts = [shapely.Polygon(ring) for ring in rings]
    for part in parts:
        if not part.is_valid:
            why = shapely.is_valid_reason(part)
            raise UnusableValue(f"its outline crosses itself ({why}, in pixels): correct it there")
    try:
        require_few_in_common(parts)
        return polygons(shapely.union_all(parts), MAX_VERTICES)
    except InvalidOutline as error:
        raise UnusableValue(f"its parts cross each other too often: {error}") from error
    except GEOSException as error:
        raise UnusableValue(f"its parts cannot be joined ({sanitize_text(error)})") from error


def _ring(flat: object) -> NDArray[np.float64]:
    if not isinstance(flat, list) or len(flat) < 6 or len(flat) % 2:
        raise UnusableValue("a part of its outline has not three vertices of x and y")
    numbers = [each for each in flat if type(each) in (int, float)]
    if len(numbers) == len(flat):
        try:
            xy = np.array(numbers, dtype=np.float64).reshape(-1, 2)
        except OverflowError:  # hundreds of digits
            xy = np.full((1, 2), np.nan)
        if np.isfinite(xy).all():
            return xy
    raise UnusableValue("a part of its outline has a coordinate that is not a number")

"""What a correction of a stored detection asks for, and whether it may have it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from parcels.measure import area_m2
from pipeline.review.corrections.correction import WORDS, Correction, Spoken, UnusableValue
from pipeline.review.corrections.label_names import LabelNames
from pipeline.review.corrections.same_outline import (
    is_exported_part,
    is_same,
    rings_of,
    with_stored_vertices,
)
from pipeline.store.reads.corrected import ExportedDetection, Form


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person did to a detection; nothing if all are None.

    Attributes:
        outline: checked, EPSG:4326.
    """

    review: Spoken | None = None
    label: str | None = None
    outline: BaseGeometry | None = None

    def __bool__(self) -> bool:
        return (self.review, self.label, self.outline) != (None, None, None)


def wanted(
    each: Correction,
    stored: ExportedDetection,
    labels: LabelNames,
    exported_today: BaseGeometry | None = None,
) -> Wanted:
    """What differs from the version that was exported.

    Args:
        exported_today: the part of the outline that an export would write; None if not known.

    Raises:
        UnusableValue: it cannot be told, cannot be done, or somebody has changed the detection.
    """
    base = stored.now if each.version is None else stored.at(each.version)
    if each.version is not None and each.version > stored.now.version:
        raise UnusableValue(
            f"detection {stored.id} is at version {stored.now.version}, and the file has "
            f"{each.version}: it was exported from another database"
        )
    asked = _difference(each, base or stored.now, labels, exported_today)
    if not asked:
        return asked
    if each.version is None:
        raise UnusableValue(
            "it was changed and has no version: keep the column `version` of the export, which "
            "says whether somebody else has changed it too"
        )
    if each.version != stored.now.version:
        raise UnusableValue(_conflict(each, stored))
    if asked.outline is None or asked.review == "reject":
        return asked
    restored = with_stored_vertices(asked.outline, stored.now.outline)
    return Wanted(asked.review, asked.label, checked(restored))


def _difference(
    each: Correction, base: Form, labels: LabelNames, exported_today: BaseGeometry | None
) -> Wanted:
    label = None if each.label is None else labels.label(each.label)
    outline = each.outline
    if outline is not None and (
        is_same(outline, base.outline)
        or is_exported_part(outline, base.outline, each.area_m2)
        or (exported_today is not None and is_same(outline, exported_today))
    ):
        outline = None
    return Wanted(_review(each, base), None if label == base.label else label, outline)


def _review(each: Correction, base: Form) -> Spoken | None:
    if each.review is not None:
        return None if (each.review, base.state) == ("accept", "accepted") else each.review
    state = (each.state or "").lower()
    if state in ("", "null", base.state):
        return None
    if (spoken := WORDS.get(state)) is not None:
        return None if (spoken, base.state) == ("accept", "accepted") else spoken
    raise UnusableValue(
        f"state {state!r} is not a decision about a detection that was {base.state}: write "
        "accepted or rejected, or leave it"
    )


def _conflict(each: Correction, stored: ExportedDetection) -> str:
    by = f" by {stored.reviewer}" if stored.reviewer else ""
    text = (
        f"detection {stored.id} was changed{by} after version {each.version} was exported: it is "
        f"at version {stored.now.version}, {stored.now.state}, {stored.now.label}, "
        f"{area_m2(stored.now.outline):.2f} m²"
    )
    if each.outline is not None and each.outline.is_valid:
        difference = shapely.symmetric_difference(each.outline, stored.now.outline)
        text += (
            f"; yours has {area_m2(each.outline):.2f} m², and the two differ by "
            f"{area_m2(difference):.2f} m²"
        )
    return f"{text}. Export again, and correct that"


def checked(outline: BaseGeometry) -> BaseGeometry:
    """A drawn outline that does not cross itself.

    Raises:
        UnusableValue: it does.
    """
    if not outline.is_valid:
        raise UnusableValue(
            f"the outline crosses or touches itself ({shapely.is_valid_reason(outline)}): move or "
            "remove the vertex there"
        )
    if not outline.area > 0:
        raise UnusableValue("the outline has no area: draw it again")
    return outline


def content_key(county: str, each: Correction) -> str:
    """The idempotency key of a correction: the same one in another file is the same review.

    Without the digits that programs round away.
    """
    digits = []
    if each.outline is not None:
        rings = rings_of(each.outline)
        digits = [np.round(shapely.get_coordinates(ring), 7).tolist() for ring in rings]
    content: Mapping[str, object] = {
        "county": county, "id": each.detection_id, "version": each.version, "label": each.label,
        "review": each.review, "state": each.state, "property": each.property_id, "outline": digits,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"import:{digest}"

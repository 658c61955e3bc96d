"""Ground that people decided about: what lies on it is suppressed, or it is cut out of findings.

Decided ground of a label is each form of a reviewed detection: its outline, and its outlines and
labels before each edit and relabel that was not undone. Of a finding's own property all of it
counts. Of the county's other properties only denied ground counts, so that a rejection outlives
splits and merges: forms that were rejected, edited away or relabelled away, less what people let
stand there. What stands on another property is measured there, and does not suppress a finding
here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from detection.clip import MIN_PART_M2
from parcels.errors import GeometryError
from parcels.measure import areas_m2, polygonal, without_new_slivers
from pipeline.store.results.findings import Finding, with_geometry
from pipeline.store.results.outcomes import Processed, RunInfo
from pipeline.store.results.review_matches import matching

# A finding with at least this share of its area on decided ground is not a new object.
DECIDED_SHARE = 0.5

# The forms near each finding, by bounding boxes (&&). Units of a house have equal forms: one is
# enough. In a fixed order, so that the same forms always leave the same outline.
_FORMS = text("""
SELECT found.finding_index, form.property_fk = found.property_fk AS is_own, form.stands,
    ST_AsBinary(form.geom) AS geom
FROM staged_finding found CROSS JOIN LATERAL (
    SELECT d.id, d.property_fk, d.state <> 'rejected' AS stands, d.geom
    FROM lotline.detection d
    WHERE d.review_fk IS NOT NULL AND d.geom && found.geom AND d.label = found.label
        AND d.state <> 'superseded'
    UNION ALL
    SELECT d.id, d.property_fk, false, CAST(r.before ->> 'geom' AS geometry)
    FROM lotline.review r JOIN lotline.detection d ON d.id = r.detection_fk
    WHERE r.action IN ('edit', 'relabel') AND r.before ->> 'label' = found.label
        AND CAST(r.before ->> 'geom' AS geometry) && found.geom
        AND d.state <> 'superseded'
        AND NOT EXISTS (SELECT FROM lotline.review u WHERE u.undoes = r.id)
    OFFSET 0) form
JOIN lotline.property here ON here.id = found.property_fk
JOIN lotline.property there ON there.id = form.property_fk AND there.county = here.county
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, min(form.id), 4
""")


@dataclass(frozen=True, slots=True)
class UndecidedFindings:
    """The findings of a chunk after people's decisions.

    Attributes:
        findings: as many as were given; decided ground is cut out of those that are `cut`.
        suppressed: indices of the findings that are not written.
        cut: indices of the findings with another geometry than before.
    """

    findings: Sequence[Finding]
    suppressed: AbstractSet[int] = frozenset()
    cut: AbstractSet[int] = frozenset()


def leave_decided_ground(
    conn: Connection, run: RunInfo, findings: Sequence[Finding], lots: Mapping[int, Processed]
) -> UndecidedFindings:
    """Suppress the staged findings that people decided about, and cut decided ground out of others.

    Suppressed is a finding that matches a review of its property (see `review_matches`), and one
    with at least `DECIDED_SHARE` of its area on decided ground. Less than one pixel is not cut out.
    What remains of others after the cut loses its slivers (see `without_new_slivers`; two pixels,
    because each of two outlines may be off by one), and connected parts below the label's minimum
    area.

    Args:
        lots: by property.

    Raises:
        GeometryError, shapely.GEOSException: the geometry of a finding is invalid.
    """
    rows = conn.execute(_FORMS).all()
    if not rows:
        return UndecidedFindings(findings)
    suppressed = matching(findings, [row for row in rows if row.is_own])
    decided = _by_finding([row for row in rows if row.finding_index not in suppressed])
    overlaps_m2 = _overlaps_m2(findings, decided)
    result = list(findings)
    cut: set[int] = set()
    written = {(each.property_fk, each.fingerprint) for each in findings}
    for index, overlap_m2 in overlaps_m2.items():
        finding = findings[index]
        lot = lots[finding.property_fk]
        if overlap_m2 >= DECIDED_SHARE * finding.detection.area_m2:
            suppressed.add(index)
            continue
        if overlap_m2 < _pixel_m(lot) ** 2:  # two outlines of neighbours overlap by rounding
            continue
        rest = _remainder(finding, decided[index], lot, run)
        left = None if rest is None else with_geometry(run, lot, finding, rest)
        # Two findings that overlapped may leave the same outline.
        if left is None or (left.property_fk, left.fingerprint) in written:
            suppressed.add(index)
            continue
        written.add((left.property_fk, left.fingerprint))
        result[index] = left
        cut.add(index)
    return UndecidedFindings(result, suppressed, cut)


def decided_ground(conn: Connection) -> dict[int, BaseGeometry]:
    """The decided ground near each staged finding that has any, by its index."""
    return _by_finding(conn.execute(_FORMS).all())


def _by_finding(rows: Sequence[Row[tuple[object, ...]]]) -> dict[int, BaseGeometry]:
    forms: dict[int, list[Row[tuple[object, ...]]]] = defaultdict(list)
    for row in rows:
        forms[row.finding_index].append(row)
    return {index: _decided(near) for index, near in forms.items()}


def _decided(forms: Sequence[Row[tuple[object, ...]]]) -> BaseGeometry:
    """The decided ground near a finding."""
    own = [shapely.from_wkb(form.geom) for form in forms if form.is_own]
    others = [form for form in forms if not form.is_own]
    denied = shapely.union_all([shapely.from_wkb(form.geom) for form in others if not form.stands])
    if not denied.is_empty:
        stands = [shapely.from_wkb(form.geom) for form in others if form.stands]
        denied = shapely.difference(denied, shapely.union_all(stands))
    return shapely.union_all([*own, denied])


def _overlaps_m2(
    findings: Sequence[Finding], decided: Mapping[int, BaseGeometry]
) -> dict[int, float]:
    """The area of each finding that is decided ground, by index."""
    outlines = [findings[index].detection.geometry for index in decided]
    common = shapely.intersection(
        np.array(outlines, dtype=object), np.array(list(decided.values()), dtype=object)
    )
    return dict(zip(decided, areas_m2(common).tolist(), strict=True))


def _remainder(
    finding: Finding, decided: BaseGeometry, lot: Processed, run: RunInfo
) -> MultiPolygon | None:
    """What is left of a finding without decided ground; None if that is no object."""
    min_part_m2 = run.min_areas_m2.get(finding.detection.label, MIN_PART_M2)
    outline = finding.detection.geometry
    rest = shapely.difference(outline, decided)
    return object_left(rest, outline, 2 * _pixel_m(lot), min_part_m2)


def _pixel_m(lot: Processed) -> float:
    """The side of a pixel in which a lot's objects were found."""
    chip = lot.result.chip
    assert chip is not None  # noqa: S101 (the lot is imaged; for the type checker)
    return max(chip.gsd_m, chip.chip_gsd_m or 0.0)


def object_left(
    rest: BaseGeometry, whole: BaseGeometry, sliver_width_m: float, min_part_m2: float
) -> MultiPolygon | None:
    """What a cut left of an outline, if that is an object; None if it is not.

    Args:
        sliver_width_m: slivers that the cut made are removed up to this width.
        min_part_m2: so are smaller connected parts.

    Raises:
        shapely.GEOSException: an invalid geometry.
    """
    try:
        rest = polygonal(without_new_slivers(polygonal(rest), whole, sliver_width_m))
    except GeometryError:  # nothing with an area is left
        return None
    parts = np.array(rest.geoms, dtype=object)
    kept = parts[areas_m2(parts) >= min_part_m2]
    return MultiPolygon(kept.tolist()) if len(kept) else None

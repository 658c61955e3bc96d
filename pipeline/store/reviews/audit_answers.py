"""Answers of the audit: what a reviewer says of a sampled detection, blind to everybody else.

A reviewer sees the detection as it was sampled, and no decision of anybody. A second reviewer
answers the items that need a second opinion; nobody sees another's answer before the last one
that the item needs is in. Until then a reviewer may answer again: the newest answer counts.

An answer is also a review of the detection if that is as it was sampled and nobody has decided.
Otherwise the earlier word of a person stands, and the answer counts in the statistics alone. Where
a second opinion is needed, the review is that of the first answer that is not unsure, and written
when both are in: until then the panel would show the second reviewer what the first one said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from parcels.measure import area_m2, polygonal
from pipeline.errors import NotStored, StoreError
from pipeline.store.reviews import undo, verdicts
from pipeline.store.reviews.audit_samples import newest_sample
from pipeline.store.reviews.audit_statistics import AuditVerdict
from pipeline.store.reviews.leases import LeaseHolder, ReviewLease, is_free, take_first

# Of several answers of a reviewer the newest counts.
_REVIEWERS = """(SELECT count(DISTINCT a.reviewer) FROM lotline.audit_answer a
    WHERE a.item_fk = i.id)"""
_IS_MINE = """EXISTS (SELECT FROM lotline.audit_answer a
    WHERE a.item_fk = i.id AND a.reviewer = :reviewer)"""
_NEEDED = "CASE WHEN i.needs_second THEN 2 ELSE 1 END"

_NEXT = text(f"""
SELECT i.id, i.property_fk FROM lotline.audit_item i
WHERE i.sample_fk = :sample AND i.id <> ALL(CAST(:skip AS bigint[]))
    AND NOT {_IS_MINE} AND {_REVIEWERS} < {_NEEDED}
    AND {is_free("i.property_fk")}
ORDER BY i.position LIMIT 1
""")  # noqa: S608

_PROGRESS = text(f"""
SELECT count(*) AS items,
    count(*) FILTER (WHERE {_REVIEWERS} >= {_NEEDED}) AS complete,
    count(*) FILTER (WHERE NOT {_IS_MINE} AND {_REVIEWERS} < {_NEEDED}) AS open_to_me
FROM lotline.audit_item i WHERE i.sample_fk = :sample
""")  # noqa: S608

_ITEM = text(f"""
SELECT i.id, i.sample_fk, i.detection_fk, i.property_fk, i.label, i.source, i.clipped_area_m2,
    i.needs_second, i.position, ST_AsBinary(i.geom) AS geom, p.county, p.property_id,
    ST_AsBinary(b.geom) AS boundary, b.area_m2 AS boundary_area_m2,
    c.captured_on, coalesce(c.chip_gsd_m, c.gsd_m) AS gsd_m,
    {_REVIEWERS} >= {_NEEDED} AS is_complete,
    (SELECT m.coverage_fraction FROM lotline.measurement m
        WHERE (m.property_fk, m.boundary_fk, m.run_fk) = (i.property_fk, i.boundary_fk, d.run_fk)
        ORDER BY m.id DESC LIMIT 1) AS coverage_fraction
FROM lotline.audit_item i
JOIN lotline.property p ON p.id = i.property_fk
JOIN lotline.boundary b ON b.id = i.boundary_fk
JOIN lotline.detection d ON d.id = i.detection_fk
LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256
WHERE i.id = :item AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
""")  # noqa: S608

_LOCK = text("SELECT 1 FROM lotline.property WHERE id = :property FOR NO KEY UPDATE")

_ANSWERS = text("""
SELECT * FROM (
    SELECT DISTINCT ON (reviewer) id, item_fk, reviewer, verdict, label, note, created_at,
        review_fk, ST_AsBinary(geom) AS geom
    FROM lotline.audit_answer WHERE item_fk = :item ORDER BY reviewer, id DESC) newest
ORDER BY id
""")

_BY_KEY = text("""
SELECT id, item_fk, reviewer, verdict, label, note, created_at, review_fk,
    ST_AsBinary(geom) AS geom
FROM lotline.audit_answer WHERE idempotency_key = :idempotency_key
""")

_INSERT = text("""
INSERT INTO lotline.audit_answer (item_fk, reviewer, verdict, label, geom, clipped_area_m2, note,
    review_fk, idempotency_key)
VALUES (:item, :reviewer, :verdict, :label, ST_GeomFromWKB(:geom, 4326), :clipped_area_m2, :note,
    :review, :idempotency_key)
RETURNING id, item_fk, reviewer, verdict, label, note, created_at, review_fk,
    ST_AsBinary(geom) AS geom
""")

# Whether nobody's word would be overwritten: it is as the run left it, and as it was sampled.
_IS_UNTOUCHED = text("""
SELECT d.state = 'proposed' AND d.review_fk IS NULL AND d.label = i.label
    AND ST_AsBinary(d.geom) = ST_AsBinary(i.geom)
FROM lotline.audit_item i JOIN lotline.detection d ON d.id = i.detection_fk WHERE i.id = :item
""")

_NEWEST_REVIEW = text("SELECT review_fk FROM lotline.detection WHERE id = :detection")


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    """An answer. `review_id` is the review of the detection that was made with it, if one was."""

    id: int
    item_id: int
    reviewer: str
    verdict: AuditVerdict
    label: str | None
    note: str
    created_at: datetime
    review_id: int | None
    geometry: BaseGeometry | None


@dataclass(frozen=True, slots=True)
class _Word:
    """What an answer says of the detection."""

    reviewer: str
    verdict: AuditVerdict
    label: str | None
    outline: MultiPolygon | None
    note: str


@dataclass(frozen=True, slots=True)
class AuditItem:
    """A sampled detection as it was, and its property: nothing that people decided.

    Attributes:
        geometry, boundary: in EPSG:4326; the boundary is that in which it was found.
        clipped_area_m2: inside the boundary.
        captured_on: of the imagery that it was found in, ISO 8601.
        coverage_fraction: of the boundary, in that imagery; None if it is not known.
        answers: the reviewer's own; everybody's when all that the item needs are in.
    """

    id: int
    sample_id: int
    property_key: int
    detection_id: int
    county: str
    property_id: str
    label: str
    source: str
    geometry: BaseGeometry
    clipped_area_m2: float
    boundary: BaseGeometry
    boundary_area_m2: float
    captured_on: str | None
    gsd_m: float | None
    coverage_fraction: float | None
    position: int
    needs_second: bool
    is_complete: bool
    answers: tuple[AuditAnswer, ...]


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """How far a sample is: `open_to_me` are the items that the reviewer who asks can answer."""

    items: int
    complete: int
    open_to_me: int


@dataclass(frozen=True, slots=True)
class AuditTask:
    """The next item of the audit queue."""

    item_id: int
    property_key: int


def lease_next(
    conn: Connection, county: str, holder: LeaseHolder, skip: Sequence[int] = ()
) -> tuple[AuditTask, ReviewLease] | None:
    """Lease the property of the next item that the reviewer has not answered; None at the end.

    Args:
        skip: ids of items that the reviewer has passed over.

    Raises:
        StoreError: the county has no sample.
    """
    values = {
        "sample": _sample_id(conn, county),
        "reviewer": holder.reviewer,
        "holder": holder.key,
        "skip": list(skip),
    }

    def find() -> AuditTask | None:
        row = conn.execute(_NEXT, values).one_or_none()
        return None if row is None else AuditTask(*row)

    return take_first(conn, find, holder, "audit")


def progress(conn: Connection, county: str, reviewer: str) -> AuditProgress:
    """How far the county's audit is.

    Raises:
        StoreError: the county has no sample.
    """
    values = {"sample": _sample_id(conn, county), "reviewer": reviewer}
    return AuditProgress(*conn.execute(_PROGRESS, values).one())


def item_view(
    conn: Connection, item_id: int, reviewer: str, counties: Sequence[str] | None = None
) -> AuditItem:
    """An item as a reviewer sees it.

    Raises:
        NotStored: there is none, or it may not be seen.
    """
    row = _item(conn, item_id, counties)
    answers = tuple(map(_answer, conn.execute(_ANSWERS, {"item": item_id})))
    shown = answers if row.is_complete else tuple(a for a in answers if a.reviewer == reviewer)
    return AuditItem(
        row.id,
        row.sample_fk,
        row.property_fk,
        row.detection_fk,
        row.county,
        row.property_id,
        row.label,
        row.source,
        shapely.from_wkb(row.geom),
        row.clipped_area_m2,
        shapely.from_wkb(row.boundary),
        row.boundary_area_m2,
        row.captured_on,
        row.gsd_m,
        row.coverage_fraction,
        row.position,
        row.needs_second,
        row.is_complete,
        shown,
    )


def answer(
    conn: Connection,
    item_id: int,
    reviewer: str,
    verdict: AuditVerdict,
    *,
    label: str | None = None,
    geometry: BaseGeometry | None = None,
    note: str = "",
    idempotency_key: str | None = None,
    counties: Sequence[str] | None = None,
) -> AuditAnswer:
    """Answer an item; the same idempotency key again changes nothing.

    Args:
        label: what it is, for the verdict "label".
        geometry: its true outline (EPSG:4326 polygons), for the verdict "outline".

    Raises:
        NotStored: there is no such item, or it may not be seen.
        StoreError: it has its answers, the label or the outline is missing, there is no reviewer,
            or the key was used for another answer.
        GeometryError: the outline has no area.
    """
    if not reviewer.strip():
        raise StoreError("an answer has no reviewer: give the name of the person who answers")
    item = _item(conn, item_id, counties)
    label = _checked_label(item, verdict, label)
    outline = _checked_outline(verdict, geometry)
    with conn.begin_nested():
        conn.execute(_LOCK, {"property": item.property_fk})
        earlier = _earlier(conn, idempotency_key, item_id, reviewer, verdict, label)
        if earlier is not None:
            return earlier
        answers = conn.execute(_ANSWERS, {"item": item_id}).all()
        others = [each for each in answers if each.reviewer != reviewer]
        _require_open(item, answers, reviewer)
        clipped_m2 = None
        if outline is not None:
            clipped_m2 = area_m2(shapely.intersection(outline, shapely.from_wkb(item.boundary)))
        _take_back(conn, item, answers, reviewer)
        given = _Word(reviewer, verdict, label, outline, note)
        review_id = _review(conn, item, [*map(_word, others), given])
        values = {
            "item": item_id,
            "reviewer": reviewer,
            "verdict": verdict,
            "label": label,
            "geom": None if outline is None else shapely.to_wkb(outline),
            "clipped_area_m2": clipped_m2,
            "note": note,
            "review": review_id,
            "idempotency_key": idempotency_key,
        }
        return _answer(conn.execute(_INSERT, values).one())


def _take_back(
    conn: Connection, item: Row[Any], answers: Sequence[Row[Any]], reviewer: str
) -> None:
    """Undo the review that the reviewer's earlier answer made, unless somebody decided since."""
    mine = [each.review_fk for each in answers if each.reviewer == reviewer]
    newest = conn.execute(_NEWEST_REVIEW, {"detection": item.detection_fk}).scalar_one()
    if newest is not None and newest in mine:
        undo.undo(conn, newest, reviewer, "answered again in the audit")


def _review(conn: Connection, item: Row[Any], words: Sequence[_Word]) -> int | None:
    """The review that the answers make of the detection, oldest first; None if they make none."""
    if len(words) < (2 if item.needs_second else 1):
        return None
    word = next((each for each in words if each.verdict != "unsure"), None)
    if word is None or not conn.execute(_IS_UNTOUCHED, {"item": item.id}).scalar_one():
        return None
    about: tuple[Connection, int, str] = (conn, item.detection_fk, word.reviewer)
    if word.verdict == "outline" and word.outline is not None:
        return verdicts.edit(*about, word.outline, word.note).id
    if word.verdict == "label" and word.label is not None:
        return verdicts.relabel(*about, word.label, word.note).id
    if word.verdict == "wrong":
        return verdicts.reject(*about, word.note).id
    return verdicts.accept(*about, word.note).id


def _word(row: Row[Any]) -> _Word:
    outline = None if row.geom is None else polygonal(shapely.from_wkb(row.geom))
    return _Word(row.reviewer, row.verdict, row.label, outline, row.note)


def _require_open(item: Row[Any], answers: Sequence[Row[Any]], reviewer: str) -> None:
    others = [each for each in answers if each.reviewer != reviewer]
    is_again = len(others) < len(answers)
    if is_again and others:
        raise StoreError(
            "your answer stands: a second reviewer has answered too, and the answers can be seen"
        )
    if not is_again and len(others) >= (2 if item.needs_second else 1):
        raise StoreError(f"item {item.id} has its answers already: take the next one")


def _checked_label(item: Row[Any], verdict: AuditVerdict, label: str | None) -> str | None:
    if verdict != "label":
        return None
    if label is None or not label.strip():
        raise StoreError("the verdict 'label' needs the true label")
    if label.strip() == item.label:
        raise StoreError(f"it is a {item.label} already: answer 'correct', or give another label")
    return label.strip()


def _checked_outline(verdict: AuditVerdict, geometry: BaseGeometry | None) -> MultiPolygon | None:
    if verdict != "outline":
        return None
    if geometry is None:
        raise StoreError("the verdict 'outline' needs the true outline")
    return polygonal(geometry)


def _earlier(
    conn: Connection,
    idempotency_key: str | None,
    item_id: int,
    reviewer: str,
    verdict: AuditVerdict,
    label: str | None,
) -> AuditAnswer | None:
    if idempotency_key is None:
        return None
    row = conn.execute(_BY_KEY, {"idempotency_key": idempotency_key}).one_or_none()
    if row is None:
        return None
    given = (row.item_fk, row.reviewer, row.verdict, row.label)
    if given != (item_id, reviewer, verdict, label):
        raise StoreError(
            f"the idempotency key {idempotency_key!r} was used for another answer: give each its "
            "own key"
        )
    return _answer(row)


def _item(conn: Connection, item_id: int, counties: Sequence[str] | None) -> Row[Any]:
    values = {"item": item_id, "counties": None if counties is None else list(counties)}
    row = conn.execute(_ITEM, values).one_or_none()
    if row is None:
        raise NotStored(f"there is no audit item {item_id}")
    return row


def _sample_id(conn: Connection, county: str) -> int:
    if (sample := newest_sample(conn, county)) is None:
        raise StoreError(
            f"{county[:100]} has no audit yet: an administrator draws a sample with "
            f"`lotline review audit start --county {county[:100]}`"
        )
    return sample.id


def _answer(row: Row[Any]) -> AuditAnswer:
    return AuditAnswer(
        row.id,
        row.item_fk,
        row.reviewer,
        row.verdict,
        row.label,
        row.note,
        row.created_at,
        row.review_fk,
        None if row.geom is None else shapely.from_wkb(row.geom),
    )

"""Similar detections of a label, page by page: the contact sheet of the review panel.

Detections are grouped by bands of the value that they are sorted by, and within a band sorted by
the other one, so that those that follow each other are alike in both. A page begins after a cursor:
a later page costs no more than the first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from pipeline.errors import NotStored, SettingsError

SheetSort = Literal["score", "-score", "area", "-area"]
SheetState = Literal["proposed", "accepted", "rejected"]

# A band is a tenth of the score, or an octave of the area. As in the indexes of migration 0016.
_SCORE_BAND = "least(floor({} * 10), 9)"
_AREA_BAND = "floor(ln(greatest({}, 0.25)) / ln(2.0))"
_ORDERS = {
    "score": (_SCORE_BAND.format("d.score"), "d.clipped_area_m2"),
    "area": (_AREA_BAND.format("d.clipped_area_m2"), "d.score"),
}
# Conditions of the filters: with the bands that they imply, by which the indexes are ordered.
_BOUNDS = {
    f"{end}_{name}": f"{column} {sign} :{end}_{name} "
    f"AND {band.format(column)} {sign} " + band.format(f"CAST(:{end}_{name} AS double precision)")
    for name, column, band in (
        ("score", "d.score", _SCORE_BAND),
        ("area_m2", "d.clipped_area_m2", _AREA_BAND),
    )
    for end, sign in (("min", ">="), ("max", "<="))
}

_PAGE = """
SELECT d.id, d.property_fk AS property_key, p.property_id, p.county, d.label, d.state, d.score,
    d.area_m2, d.clipped_area_m2, d.version, d.segmenter, d.review_fk IS NOT NULL AS is_reviewed,
    r.reviewer, l.reviewer AS leased_by, c.captured_on, {band} AS band, {second} AS second
FROM lotline.detection d
JOIN lotline.property p ON p.id = d.property_fk
LEFT JOIN lotline.review r ON r.id = d.review_fk
LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256
LEFT JOIN lotline.review_lease l
    ON l.property_fk = d.property_fk AND l.leased_until > now() AND l.reviewer <> :reviewer
WHERE {conditions}
ORDER BY {band} {direction}, {second} {direction}, d.id {direction} LIMIT :limit
"""

_LABELS = text("""
SELECT d.label, d.state, count(*) AS detections,
    min(d.score) AS min_score, max(d.score) AS max_score,
    min(d.clipped_area_m2) AS min_area_m2, max(d.clipped_area_m2) AS max_area_m2
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
WHERE p.county = :county AND d.state <> 'superseded'
GROUP BY d.label, d.state ORDER BY d.label, d.state
""")

_PICTURED = text("""
SELECT p.county, d.label, d.version, ST_AsBinary(d.geom) AS geom, c.sources
FROM lotline.detection d JOIN lotline.property p ON p.id = d.property_fk
LEFT JOIN lotline.chip c ON c.sha256 = d.chip_sha256
WHERE d.id = :id AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties))
""")

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_CURSOR = re.compile(rf"({_NUMBER})_({_NUMBER})_(\d{{1,18}})")


@dataclass(frozen=True, slots=True)
class SheetFilter:
    """Which detections; scores are 0 to 1, areas those inside the boundary in m²; None is any."""

    county: str
    label: str
    state: SheetState = "proposed"
    min_score: float | None = None
    max_score: float | None = None
    min_area_m2: float | None = None
    max_area_m2: float | None = None
    sort: SheetSort = "score"

    @property
    def key(self) -> str:
        """The value that is sorted by: score or area."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")


@dataclass(frozen=True, slots=True)
class SheetCursor:
    """The place of a detection in the order of a sheet."""

    band: float
    second: float
    id: int

    @classmethod
    def parse(cls, written: str) -> Self:
        """The cursor of `str(cursor)`.

        Raises:
            SettingsError: it is none.
        """
        found = _CURSOR.fullmatch(written)
        if found is not None:
            cursor = cls(float(found[1]), float(found[2]), int(found[3]))
            if math.isfinite(cursor.band) and math.isfinite(cursor.second):
                return cursor
        raise SettingsError(
            f"after={written[:100]!r} is not a place in a sheet: use `next` of the page before"
        )

    def __str__(self) -> str:
        return f"{self.band!r}_{self.second!r}_{self.id}"


@dataclass(frozen=True, slots=True)
class SheetItem:
    """A detection of a sheet.

    Attributes:
        band: (from, to) of the group: a tenth of the score, or an octave of the area in m².
        captured_on: of the imagery that the segmenter saw, ISO 8601.
        reviewer: who decided last; None if nobody has.
        leased_by: another reviewer who has the property open now.
    """

    id: int
    property_key: int
    property_id: str
    county: str
    label: str
    state: str
    score: float
    area_m2: float
    clipped_area_m2: float
    version: int
    segmenter: str
    is_reviewed: bool
    reviewer: str | None
    leased_by: str | None
    captured_on: str | None
    band: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SheetLabel:
    """The detections of a label in a state: their number, and the ranges of score and area."""

    label: str
    state: str
    detections: int
    min_score: float
    max_score: float
    min_area_m2: float
    max_area_m2: float


@dataclass(frozen=True, slots=True)
class PicturedDetection:
    """What a picture of a detection needs; the outline is in EPSG:4326.

    Attributes:
        imagery_files: what the segmenter's pixels came from; empty where unknown.
    """

    county: str
    label: str
    version: int
    outline: BaseGeometry
    imagery_files: tuple[str, ...]


def sheet_page(
    conn: Connection,
    wanted: SheetFilter,
    limit: int,
    after: SheetCursor | None = None,
    reviewer: str = "",
) -> tuple[list[SheetItem], SheetCursor | None]:
    """Up to `limit` detections after a cursor, and the cursor of the next page, if there is one.

    Args:
        reviewer: who asks; leases of others are told.
    """
    band, second = _ORDERS[wanted.key]
    direction, comparison = ("DESC", "<") if wanted.is_descending else ("ASC", ">")
    conditions = [
        "p.county = :county",
        "d.label = :label",
        "d.state = :state AND (d.state = 'superseded') IS FALSE",  # as the indexes say
    ]
    values: dict[str, Any] = {
        "county": wanted.county,
        "label": wanted.label,
        "state": wanted.state,
        "limit": limit + 1,
        "reviewer": reviewer,
    }
    for name, condition in _BOUNDS.items():
        if (bound := getattr(wanted, name)) is not None:
            conditions.append(condition)
            values[name] = bound
    if after is not None:
        conditions.append(
            f"({band}, {second}, d.id) {comparison} (CAST(:after_band AS double precision), "
            "CAST(:after_second AS double precision), :after_id)"
        )
        values |= {"after_band": after.band, "after_second": after.second, "after_id": after.id}
    query = _PAGE.format(
        band=band, second=second, direction=direction, conditions=" AND ".join(conditions)
    )
    rows = list(conn.execute(text(query), values))
    last = rows[limit - 1] if len(rows) > limit else None
    return (
        [_item(row, wanted.key) for row in rows[:limit]],
        None if last is None else SheetCursor(last.band, last.second, last.id),
    )


def sheet_labels(conn: Connection, county: str) -> list[SheetLabel]:
    """The labels of a county's detections by state, with their ranges."""
    rows = conn.execute(_LABELS, {"county": county}).mappings()
    return [SheetLabel(**row) for row in rows]


def pictured_detection(
    conn: Connection, detection_id: int, counties: Sequence[str] | None = None
) -> PicturedDetection:
    """The outline of a detection, with its label and imagery.

    Args:
        counties: those that may be seen; None for all.

    Raises:
        NotStored: there is no such detection, or it may not be seen.
    """
    values = {"id": detection_id, "counties": None if counties is None else list(counties)}
    row = conn.execute(_PICTURED, values).one_or_none()
    if row is None:
        raise NotStored(f"there is no detection {detection_id}")
    return PicturedDetection(
        row.county, row.label, row.version, shapely.from_wkb(row.geom), tuple(row.sources or ())
    )


def _item(row: Row[Any], key: str) -> SheetItem:
    values = {name: value for name, value in row._mapping.items() if name != "second"}
    item = SheetItem(**values)
    low = row.band / 10 if key == "score" else 2.0**row.band
    return replace(item, band=(low, round(low + 0.1, 1) if key == "score" else 2 * low))

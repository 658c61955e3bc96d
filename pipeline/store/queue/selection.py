"""Selects properties of a county (list, bounding box), as a SQL condition."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.bbox import BBox

# A property's point: the given one, otherwise the one it was located at.
PLACE = "coalesce(p.point, p.located_point)"

# OFFSET 0 keeps the planner from reading the entire list for a few properties: each is looked up by
# the list's key.
_LISTED = """EXISTS (SELECT 1 FROM lotline.listed l
    WHERE l.list_fk = :list_id AND l.property_fk = p.id OFFSET 0)"""

_ALL_LISTED = "p.id IN (SELECT l.property_fk FROM lotline.listed l WHERE l.list_fk = :list_id)"


def inside_bbox(place: str) -> str:
    """SQL condition that a point is in the box :west, :south, :east, :north.

    West is more than east in a box across longitude 180.
    """
    x = f"ST_X({place})"
    return (
        f"(ST_Y({place}) BETWEEN :south AND :north AND CASE WHEN :west <= :east "
        f"THEN {x} BETWEEN :west AND :east ELSE {x} >= :west OR {x} <= :east END)"
    )


_INSIDE = inside_bbox(PLACE)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some properties of a county; without arguments, all.

    Attributes:
        list_id: only those of this list; see `pipeline.store.queue.loading`.
        bbox: only those whose point is inside; without one, the point they were located at.
    """

    list_id: int | None = None
    bbox: BBox | None = None

    @property
    def condition(self) -> str:
        """SQL condition on `lotline.property p`; binds `:county` and the names of `values`."""
        conditions = ["p.county = :county"]
        if self.list_id is not None:
            conditions.append(_LISTED)
        if self.bbox is not None:
            conditions.append(_INSIDE)
        return " AND ".join(conditions)

    @property
    def full_scan_condition(self) -> str:
        """The same condition, for a statement that reads all of them: the list is read once."""
        return self.condition.replace(_LISTED, _ALL_LISTED)

    @property
    def values(self) -> dict[str, float]:
        """Bind values of the condition, except the county."""
        bound: dict[str, float] = {}
        if self.list_id is not None:
            bound["list_id"] = self.list_id
        if self.bbox is not None:
            bound |= dict(zip(("west", "south", "east", "north"), self.bbox, strict=True))
        return bound


WHOLE_COUNTY = Selection()

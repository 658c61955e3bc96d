"""Which of a county's properties are meant, as a condition of a statement."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.bbox import BBox

# Where a property is, as far as is known before its boundary is.
PLACE = "coalesce(p.point, p.located_point)"

# OFFSET 0 keeps the list from being read whole for the sake of a few properties: it is asked,
# through its key, about each of them.
_LISTED = """EXISTS (SELECT 1 FROM lotline.listed l
    WHERE l.list_fk = :list_id AND l.property_fk = p.id OFFSET 0)"""

_ALL_LISTED = "p.id IN (SELECT l.property_fk FROM lotline.listed l WHERE l.list_fk = :list_id)"

_INSIDE = f"""(ST_X({PLACE}) BETWEEN :west AND :east
    AND ST_Y({PLACE}) BETWEEN :south AND :north)"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some properties of a county; all of them where nothing is said.

    Attributes:
        list_id: only those of this list; see `pipeline.store.queue.loading`.
        bbox: only those whose point, else the place at which they were found, lies in it.
    """

    list_id: int | None = None
    bbox: BBox | None = None

    @property
    def condition(self) -> str:
        """What `lotline.property p` must meet; `:county` and the names of `values` are bound."""
        conditions = ["p.county = :county"]
        if self.list_id is not None:
            conditions.append(_LISTED)
        if self.bbox is not None:
            conditions.append(_INSIDE)
        return " AND ".join(conditions)

    @property
    def condition_of_all(self) -> str:
        """The same, for a statement that reads all of them: a list is read once."""
        return self.condition.replace(_LISTED, _ALL_LISTED)

    @property
    def values(self) -> dict[str, float]:
        """What the condition binds, but for the county."""
        bound: dict[str, float] = {}
        if self.list_id is not None:
            bound["list_id"] = self.list_id
        if self.bbox is not None:
            bound |= dict(zip(("west", "south", "east", "north"), self.bbox, strict=True))
        return bound


WHOLE_COUNTY = Selection()

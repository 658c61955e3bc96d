"""Which of a county's properties are exported: a list, those of a run, those in a box, or all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.queue.selection import Selection, inside_bbox

# As for a batch, and a point in the boundary where a parcel id was enough to find it.
_PLACE = """coalesce(p.point, p.located_point, (
    SELECT ST_PointOnSurface(b.geom) FROM lotline.boundary b WHERE b.id = p.boundary_fk))"""

_LISTED = "p.id IN (SELECT l.property_fk FROM lotline.listed l WHERE l.list_fk = :list_id)"
_PROCESSED = "p.run_fk = :run_id AND p.state NOT IN ('pending', 'leased')"


@dataclass(frozen=True, slots=True)
class ExportSelection(Selection):
    """Some properties of a county; without arguments, all.

    Attributes:
        list_id: only those of this list; see `pipeline.store.queue.loading`.
        bbox: only those whose point is inside (west, south, east, north), in degrees; west is more
            than east in a box across longitude 180.
        run_id: only those that this run was the last to process.
    """

    run_id: int | None = None

    @property
    def condition(self) -> str:
        """SQL condition on `lotline.property p`; binds `:county` and the names of `values`."""
        conditions = ["p.county = :county"]
        if self.list_id is not None:
            conditions.append(_LISTED)
        if self.run_id is not None:
            conditions.append(_PROCESSED)
        if self.bbox is not None:
            conditions.append(inside_bbox(_PLACE))
        return " AND ".join(conditions)

    @property
    def values(self) -> dict[str, float]:
        """Bind values of the condition, except the county."""
        bound = Selection(self.list_id, self.bbox).values
        return bound if self.run_id is None else {**bound, "run_id": self.run_id}


WHOLE_COUNTY = ExportSelection()

_LIST = text("""
SELECT id FROM lotline.property_list WHERE county = :county AND sha256 = :sha256
""")

_RUN_SINCE_REPROCESSED = text("""
SELECT greatest(0, (SELECT sum((each->>'properties')::bigint)
                    FROM jsonb_array_elements(r.results->'counts') each)
    - (SELECT count(*) FROM lotline.property p WHERE p.county = r.county AND p.run_fk = r.id
       AND p.state NOT IN ('pending', 'leased')))
FROM lotline.run r WHERE r.id = :run
""")


def find_list(conn: Connection, county: str, sha256: str) -> int | None:
    """The list of a properties file that a batch has loaded; None if none has."""
    found = conn.scalar(_LIST, {"county": county, "sha256": sha256})
    return None if found is None else int(found)


def count_reprocessed(conn: Connection, run_id: int) -> int:
    """How many properties of an ended run a later run has taken; 0 where that is unknown."""
    return int(conn.scalar(_RUN_SINCE_REPROCESSED, {"run": run_id}) or 0)

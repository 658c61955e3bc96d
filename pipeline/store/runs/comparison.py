"""Two runs on the same properties: what each of them measured there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.runs.lifecycle import Run

# What a run had measured is kept when it ends. Of one that is at work, and of those that an older
# version kept, it is known where they wrote a measurement or took the property last.
_COMMON = """
WITH measured (run_fk, property_fk) AS (
    SELECT id, unnest(measured) FROM lotline.run WHERE id IN (:a, :b)
    UNION
    SELECT run_fk, property_fk FROM lotline.measurement WHERE run_fk IN (:a, :b)
    UNION
    SELECT run_fk, id FROM lotline.property
    WHERE county = :county AND run_fk IN (:a, :b) AND state = 'done'
), common AS (
    SELECT property_fk FROM measured GROUP BY property_fk
    HAVING count(DISTINCT run_fk) = CASE WHEN :a = :b THEN 1 ELSE 2 END
)"""

_COUNT = text(f"{_COMMON} SELECT count(*) FROM common")  # noqa: S608

# As it stood when each run ended. The same labels for both: of another, one of them knows nothing.
_AREAS = text(f"""
{_COMMON}, ends (side, at) AS (
    VALUES ('a', coalesce(CAST(:a_end AS timestamptz), now())),
           ('b', coalesce(CAST(:b_end AS timestamptz), now()))
), stood AS (
    SELECT DISTINCT ON (ends.side, m.property_fk, m.label)
        ends.side, m.property_fk, m.label, m.source, m.area_m2
    FROM common JOIN lotline.measurement m USING (property_fk) JOIN ends ON m.created_at <= ends.at
    WHERE m.label = ANY(CAST(:labels AS text[]))
    ORDER BY ends.side, m.property_fk, m.label, m.id DESC
)
SELECT label, source,
    count(*) FILTER (WHERE side = 'a') AS a_properties,
    count(*) FILTER (WHERE side = 'b') AS b_properties,
    -- In one order: the same to the last bit where they measured the same.
    coalesce(sum(area_m2 ORDER BY property_fk) FILTER (WHERE side = 'a'), 0) AS a_m2,
    coalesce(sum(area_m2 ORDER BY property_fk) FILTER (WHERE side = 'b'), 0) AS b_m2
FROM stood GROUP BY label, source ORDER BY label, source DESC
""")  # noqa: S608


# History has no index by property: the planner, who expects few in common, would read all of it for
# each of them.
_READ_ONCE = text("SET LOCAL enable_nestloop = off")
_AS_BEFORE = text("SET LOCAL enable_nestloop = on")


@dataclass(frozen=True, slots=True)
class AreaPair:
    """What two runs measured of a label on the same properties, by their boundary's source."""

    label: str
    source: str
    a_properties: int
    b_properties: int
    a_m2: float
    b_m2: float


@dataclass(frozen=True, slots=True)
class RunPair:
    """What two runs measured on the properties that both did.

    Attributes:
        properties: that both measured. Of runs that an older version kept, it cannot be told of
            those where one found just what an earlier run had, and a later one took them again.
        areas: of the labels that both were asked for.
    """

    properties: int
    areas: tuple[AreaPair, ...]


def pair_runs(conn: Connection, a: Run, b: Run) -> RunPair:
    """What two runs of a county measured on the same properties."""
    labels = [name for name in a.settings.get("labels", ()) if name in b.settings.get("labels", ())]
    conn.execute(_READ_ONCE)
    both = {"a": a.id, "b": b.id, "county": a.county}
    count = conn.execute(_COUNT, both).scalar_one()
    ends = {"a_end": a.finished_at, "b_end": b.finished_at, "labels": labels}
    areas = tuple(AreaPair(*row) for row in conn.execute(_AREAS, {**both, **ends}))
    conn.execute(_AS_BEFORE)
    return RunPair(count, areas)

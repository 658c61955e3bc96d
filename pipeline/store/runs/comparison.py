"""Compares the areas that two runs measured on the same properties."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.runs.lifecycle import Run

# A run stores its measured properties when it ends. For a running run, and for runs of an older
# version, they are derived from the measurements it wrote and the properties it last leased.
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

# The measurements at the end of each run, for the labels that both runs have.
_AREAS = text(f"""
{_COMMON}, ends (side, at) AS (
    VALUES ('a', coalesce(CAST(:a_end AS timestamptz), now())),
           ('b', coalesce(CAST(:b_end AS timestamptz), now()))
), at_end AS (
    SELECT DISTINCT ON (ends.side, m.property_fk, m.label)
        ends.side, m.property_fk, m.label, m.source, m.area_m2
    FROM common JOIN lotline.measurement m USING (property_fk) JOIN ends ON m.created_at <= ends.at
    WHERE m.label = ANY(CAST(:labels AS text[]))
    ORDER BY ends.side, m.property_fk, m.label, m.id DESC
)
SELECT label, source,
    count(*) FILTER (WHERE side = 'a') AS a_properties,
    count(*) FILTER (WHERE side = 'b') AS b_properties,
    -- A fixed order: equal to the last bit where both measured the same.
    coalesce(sum(area_m2 ORDER BY property_fk) FILTER (WHERE side = 'a'), 0) AS a_m2,
    coalesce(sum(area_m2 ORDER BY property_fk) FILTER (WHERE side = 'b'), 0) AS b_m2
FROM at_end GROUP BY label, source ORDER BY label, source DESC
""")  # noqa: S608


# Old measurements have no index by property. The planner expects few common properties and would
# scan all measurements for each of them.
_DISABLE_NESTED_LOOPS = text("SET LOCAL enable_nestloop = off")
_ENABLE_NESTED_LOOPS = text("SET LOCAL enable_nestloop = on")


@dataclass(frozen=True, slots=True)
class AreaPair:
    """The areas of a label that two runs measured on the same properties, by boundary source."""

    label: str
    source: str
    a_properties: int
    b_properties: int
    a_m2: float
    b_m2: float


@dataclass(frozen=True, slots=True)
class RunPair:
    """Two runs on the properties that both measured.

    Attributes:
        properties: number of properties that both measured. For runs of an older version it can be
            too low: a property is missing if the run found the same as an earlier run, and a later
            run leased it again.
        areas: of the labels that both runs have.
    """

    properties: int
    areas: tuple[AreaPair, ...]


def pair_runs(conn: Connection, a: Run, b: Run) -> RunPair:
    """Compare two runs of a county on the properties that both measured."""
    labels = [name for name in a.settings.get("labels", ()) if name in b.settings.get("labels", ())]
    conn.execute(_DISABLE_NESTED_LOOPS)
    both = {"a": a.id, "b": b.id, "county": a.county}
    count = conn.execute(_COUNT, both).scalar_one()
    ends = {"a_end": a.finished_at, "b_end": b.finished_at, "labels": labels}
    areas = tuple(AreaPair(*row) for row in conn.execute(_AREAS, {**both, **ends}))
    conn.execute(_ENABLE_NESTED_LOOPS)
    return RunPair(count, areas)

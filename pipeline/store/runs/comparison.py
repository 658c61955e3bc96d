"""Compares the areas that two runs measured on the same properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.runs.area_totals import AreaTotal, sum_areas
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

# The measurements at the end of a run, for the labels that both runs have.
_AT_END = f"""
{_COMMON}, at_end AS (
    SELECT DISTINCT ON (m.property_fk, m.label) m.*
    FROM common JOIN lotline.measurement m USING (property_fk)
    WHERE m.created_at <= coalesce(CAST(:ends_at AS timestamptz), now())
        AND m.label = ANY(CAST(:labels AS text[]))
    ORDER BY m.property_fk, m.label, m.id DESC
)
SELECT property_fk, boundary_fk, source, id AS measurement_fk, label, segmenter, weights_sha256,
    area_m2, detection_count AS detections, coverage_fraction
FROM at_end
"""  # noqa: S608


# Old measurements have no index by property. The planner expects few common properties and would
# scan all measurements for each of them.
_DISABLE_NESTED_LOOPS = text("SET LOCAL enable_nestloop = off")
_ENABLE_NESTED_LOOPS = text("SET LOCAL enable_nestloop = on")


@dataclass(frozen=True, slots=True)
class AreaPair:
    """The areas of a label that two runs measured on the same properties, by boundary source.

    Attributes:
        a_m2, b_m2: of distinct ground, see `sum_areas`.
        a_partly_imaged, b_partly_imaged: how many of the properties are imaged only in part.
    """

    label: str
    source: str
    a_properties: int
    b_properties: int
    a_m2: float
    b_m2: float
    a_partly_imaged: int = 0
    b_partly_imaged: int = 0


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
    at_end = (
        sum_areas(conn, a.county, _AT_END, {**both, "labels": labels, "ends_at": run.finished_at})
        for run in (a, b)
    )
    areas = _pairs(*at_end)
    conn.execute(_ENABLE_NESTED_LOOPS)
    return RunPair(count, areas)


def _pairs(a: Sequence[AreaTotal], b: Sequence[AreaTotal]) -> tuple[AreaPair, ...]:
    keys = {(total.label, total.source) for total in (*a, *b)}
    pairs = []
    for label, source in sorted(keys, key=lambda key: (key[0], key[1] != "lot")):
        of_a, of_b = (
            [total for total in totals if (total.label, total.source) == (label, source)]
            for totals in (a, b)
        )
        pairs.append(
            AreaPair(
                label,
                source,
                sum(total.properties for total in of_a),
                sum(total.properties for total in of_b),
                sum(total.area_m2 for total in of_a),
                sum(total.area_m2 for total in of_b),
                sum(total.properties for total in of_a if total.partly_imaged),
                sum(total.properties for total in of_b if total.partly_imaged),
            )
        )
    return tuple(pairs)

"""The results of a run, counted in the database by state, boundary source and label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

from pipeline.store.runs.area_totals import AreaTotal, sum_areas

# Examples for each state and reason; the detail of every property is in its row.
_EXAMPLES = 5

# The boundary itself, as a row of what `sum_areas` sums.
BOUNDARY_ROWS = """
SELECT p.id, b.id, b.source, CAST(NULL AS bigint), '', '', CAST(NULL AS text), b.area_m2, 0,
    coalesce(p.coverage_fraction, 1)"""

# Properties that the run leased last and completed. A property that a later run leases belongs to
# that run, so results are stored when a run ends.
PROCESSED = """
lotline.property p WHERE p.county = :county AND p.run_fk = :run
    AND p.state NOT IN ('pending', 'leased')"""

COUNTS = text(f"""
SELECT p.state, p.reason, count(*) AS properties FROM {PROCESSED}
GROUP BY p.state, p.reason ORDER BY p.state, p.reason
""")  # noqa: S608

# Only the run's labels: others may have a measurement of an earlier run.
_MEASURED = f"""
SELECT m.property_fk, m.boundary_fk, m.source, m.id AS measurement_fk, m.label, m.segmenter,
    m.weights_sha256, m.area_m2, m.detection_count AS detections, m.coverage_fraction
FROM (SELECT p.id, p.only_labels FROM {PROCESSED} AND p.state = 'done') done
JOIN lotline.measurement m ON m.property_fk = done.id AND m.current
WHERE (CAST(:labels AS text[]) IS NULL OR m.label = ANY(CAST(:labels AS text[])))
    AND (done.only_labels IS NULL OR m.label = ANY(done.only_labels))
UNION ALL
{BOUNDARY_ROWS} FROM (SELECT p.* FROM {PROCESSED} AND p.state = 'done') p
JOIN lotline.boundary b ON b.id = p.boundary_fk
"""  # noqa: S608

EXAMPLES = text(f"""
-- Every reason of properties that are not done, and done properties whose boundary has a note.
SELECT property_id, state, reason, detail, told FROM (
    SELECT p.property_id, p.state, p.reason, p.detail, count(*) OVER each AS told,
        row_number() OVER (each ORDER BY p.sort_key, p.id) AS place
    FROM {PROCESSED} AND (p.state <> 'done' OR p.detail <> '')
    WINDOW each AS (PARTITION BY p.state, p.reason)) ranked
WHERE place <= :examples ORDER BY state, reason, place
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class StateCount:
    """Number of properties in a state, for a reason."""

    state: str
    reason: str
    properties: int


@dataclass(frozen=True, slots=True)
class SourceCount:
    """Number of measured properties by the source of their boundary.

    Runs that ended before the others were stored have None there.

    Attributes:
        boundaries: number of distinct boundaries; less than `properties` where some share a lot.
        partly_imaged: number of properties of which the imagery shows only a part.
        ground_m2: area of the distinct ground of the boundaries.
        repeated_m2: what is left out of `ground_m2`, because several boundaries have it.
    """

    source: str
    properties: int
    boundaries: int | None = None
    partly_imaged: int | None = None
    ground_m2: float | None = None
    repeated_m2: float | None = None


@dataclass(frozen=True, slots=True)
class ExampleProperty:
    """An example of a property with a state and reason.

    Attributes:
        told: number of properties with this state and reason (the name is a stored JSON key).
    """

    property_id: str
    state: str
    reason: str
    detail: str
    told: int


@dataclass(frozen=True, slots=True)
class RunResults:
    """The results of a run.

    Attributes:
        counts: of all its properties.
        sources: of the measured properties.
        areas: of the measured properties, for the run's labels.
        examples: a few for each state and reason.
    """

    counts: tuple[StateCount, ...] = ()
    sources: tuple[SourceCount, ...] = ()
    areas: tuple[AreaTotal, ...] = ()
    examples: tuple[ExampleProperty, ...] = ()

    @property
    def properties(self) -> int:
        """Number of properties that the run processed, measured or not."""
        return sum(count.properties for count in self.counts)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunResults:
        """Read stored results; an older version stored only the counts."""
        return cls(
            tuple(StateCount(**each) for each in stored.get("counts", ())),
            tuple(SourceCount(**each) for each in stored.get("sources", ())),
            tuple(AreaTotal(**each) for each in stored.get("areas", ())),
            tuple(ExampleProperty(**each) for each in stored.get("examples", ())),
        )


def count_results(
    conn: Connection, county: str, run_id: int, labels: list[str] | None
) -> RunResults:
    """Count the current results of the properties that a run last leased.

    Args:
        labels: of the run; None means any.
    """
    where = {"county": county, "run": run_id}
    sources, areas = sources_and_areas(conn, county, _MEASURED, {"run": run_id, "labels": labels})
    examples = conn.execute(EXAMPLES, {**where, "examples": _EXAMPLES})
    return RunResults(
        tuple(StateCount(*row) for row in conn.execute(COUNTS, where)),
        sources,
        areas,
        tuple(ExampleProperty(*row) for row in examples),
    )


def sources_and_areas(
    conn: Connection, county: str, selected: str, values: Mapping[str, Any]
) -> tuple[tuple[SourceCount, ...], tuple[AreaTotal, ...]]:
    """The boundaries by source and the areas of each label; see `sum_areas`.

    Args:
        selected: SQL with the rows of measurements, and `BOUNDARY_ROWS`.
    """
    totals = sum_areas(conn, county, selected, values)
    boundaries = [total for total in totals if not total.label]
    sources = dict.fromkeys(total.source for total in boundaries)
    return (
        tuple(_source_count([b for b in boundaries if b.source == name]) for name in sources),
        tuple(total for total in totals if total.label),
    )


def _source_count(totals: Sequence[AreaTotal]) -> SourceCount:
    return SourceCount(
        totals[0].source,
        sum(total.properties for total in totals),
        sum(total.boundaries or 0 for total in totals),
        sum(total.properties for total in totals if total.partly_imaged),
        sum(total.area_m2 for total in totals),
        sum(total.repeated_m2 or 0.0 for total in totals),
    )

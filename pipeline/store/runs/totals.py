"""The results of a run, counted in the database by state, boundary source and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

# Examples for each state and reason; the detail of every property is in its row.
_EXAMPLES = 5

# Properties that the run leased last and completed. A property that a later run leases belongs to
# that run, so results are stored when a run ends.
PROCESSED = """
lotline.property p WHERE p.county = :county AND p.run_fk = :run
    AND p.state NOT IN ('pending', 'leased')"""

COUNTS = text(f"""
SELECT p.state, p.reason, count(*) AS properties FROM {PROCESSED}
GROUP BY p.state, p.reason ORDER BY p.state, p.reason
""")  # noqa: S608

SOURCES = text(f"""
SELECT b.source, count(*) AS properties
FROM (SELECT p.boundary_fk FROM {PROCESSED} AND p.state = 'done') done
JOIN lotline.boundary b ON b.id = done.boundary_fk
GROUP BY b.source ORDER BY b.source DESC
""")  # noqa: S608

AREAS = text(f"""
-- By source: areas of lots and of 30 m buffers are never added up. Only the run's labels: others
-- may have a measurement of an earlier run.
SELECT m.label, m.source, count(*) AS properties, sum(m.detection_count)::bigint AS detections,
    sum(m.area_m2 ORDER BY done.id) AS area_m2  -- a fixed order: equal to the last bit
FROM (SELECT p.id FROM {PROCESSED} AND p.state = 'done') done
JOIN lotline.measurement m ON m.property_fk = done.id AND m.current
WHERE CAST(:labels AS text[]) IS NULL OR m.label = ANY(CAST(:labels AS text[]))
GROUP BY m.label, m.source ORDER BY m.label, m.source DESC
""")  # noqa: S608

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
    """Number of measured properties by the source of their boundary."""

    source: str
    properties: int


@dataclass(frozen=True, slots=True)
class AreaTotal:
    """The area of a label in boundaries of one source, in m²."""

    label: str
    source: str
    properties: int
    detections: int
    area_m2: float


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
    areas = conn.execute(AREAS, {**where, "labels": labels})
    examples = conn.execute(EXAMPLES, {**where, "examples": _EXAMPLES})
    return RunResults(
        tuple(StateCount(*row) for row in conn.execute(COUNTS, where)),
        tuple(SourceCount(*row) for row in conn.execute(SOURCES, where)),
        tuple(AreaTotal(*row) for row in areas),
        tuple(ExampleProperty(*row) for row in examples),
    )

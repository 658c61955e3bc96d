"""What a run answered, counted in the database: by state, boundary source and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

# An example of each reason is enough to know what to do; every property keeps its own detail.
_EXAMPLES = 5

# What the run took last, and what is no longer waiting. A property that a later run took is the
# later run's, which is why a run's results are kept when it ends.
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
-- Lots and buffers apart: a circle of 30 m is no lot, and the two are never added up. Labels that
-- this run was not asked for may be measured there of an earlier one.
SELECT m.label, m.source, count(*) AS properties, sum(m.detection_count)::bigint AS detections,
    sum(m.area_m2 ORDER BY done.id) AS area_m2  -- in one order: the same to the last bit
FROM (SELECT p.id FROM {PROCESSED} AND p.state = 'done') done
JOIN lotline.measurement m ON m.property_fk = done.id AND m.current
WHERE CAST(:labels AS text[]) IS NULL OR m.label = ANY(CAST(:labels AS text[]))
GROUP BY m.label, m.source ORDER BY m.label, m.source DESC
""")  # noqa: S608

EXAMPLES = text(f"""
-- Of what is not done every reason; of what is done, where something is odd about the boundary.
SELECT property_id, state, reason, detail, told FROM (
    SELECT p.property_id, p.state, p.reason, p.detail, count(*) OVER each AS told,
        row_number() OVER (each ORDER BY p.sort_key, p.id) AS place
    FROM {PROCESSED} AND (p.state <> 'done' OR p.detail <> '')
    WINDOW each AS (PARTITION BY p.state, p.reason)) ranked
WHERE place <= :examples ORDER BY state, reason, place
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class StateCount:
    """So many properties are in a state, for a reason."""

    state: str
    reason: str
    properties: int


@dataclass(frozen=True, slots=True)
class SourceCount:
    """So many measured properties have their boundary from there."""

    source: str
    properties: int


@dataclass(frozen=True, slots=True)
class AreaTotal:
    """What was measured of a label in boundaries of one source, in m²."""

    label: str
    source: str
    properties: int
    detections: int
    area_m2: float


@dataclass(frozen=True, slots=True)
class ExampleProperty:
    """A property that a person should know of, and how many there are of its state and reason."""

    property_id: str
    state: str
    reason: str
    detail: str
    told: int


@dataclass(frozen=True, slots=True)
class RunResults:
    """What a run answered.

    Attributes:
        counts: of all its properties.
        sources: of the measured ones.
        areas: of the same, of the labels that the run was asked for.
        examples: a few for each state and reason.
    """

    counts: tuple[StateCount, ...] = ()
    sources: tuple[SourceCount, ...] = ()
    areas: tuple[AreaTotal, ...] = ()
    examples: tuple[ExampleProperty, ...] = ()

    @property
    def properties(self) -> int:
        """How many the run answered, measured or not."""
        return sum(count.properties for count in self.counts)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> RunResults:
        """What was kept; an older version kept its counts alone."""
        return cls(
            tuple(StateCount(**each) for each in kept.get("counts", ())),
            tuple(SourceCount(**each) for each in kept.get("sources", ())),
            tuple(AreaTotal(**each) for each in kept.get("areas", ())),
            tuple(ExampleProperty(**each) for each in kept.get("examples", ())),
        )


def count_results(
    conn: Connection, county: str, run_id: int, labels: list[str] | None
) -> RunResults:
    """Count what the properties that a run took last came to, as it stands now.

    Args:
        labels: that the run was asked for; None means any.
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

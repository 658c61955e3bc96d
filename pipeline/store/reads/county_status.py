"""The status of a county: queue counts by state and reason, measured areas, last run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from detection.labels import contained_labels
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.queue.states import count_states
from pipeline.store.runs import lifecycle
from pipeline.store.runs.area_totals import AreaTotal
from pipeline.store.runs.counted_ground import IS_COUNTED
from pipeline.store.runs.totals import BOUNDARY_ROWS, SourceCount, sources_and_areas

_MEASURED = f"""
SELECT m.property_fk, m.boundary_fk, m.source, m.id AS measurement_fk, m.label, m.segmenter,
    m.weights_sha256, m.area_m2, m.detection_count AS detections, m.coverage_fraction
FROM lotline.property p JOIN lotline.measurement m ON m.property_fk = p.id AND m.current
WHERE {{selected}} AND {IS_COUNTED}
UNION ALL
{BOUNDARY_ROWS} FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE {{selected}} AND {IS_COUNTED}
"""  # noqa: S608

# From the last run of each property: reading the measurements takes seconds in a large county.
LAST_SEGMENTERS = """
SELECT r.segmenter, CAST(sum(done.properties) AS bigint) AS properties FROM lotline.run r JOIN (
    SELECT p.run_fk, count(*) AS properties FROM lotline.property p
    WHERE {selected} AND p.state = 'done' GROUP BY p.run_fk
) done ON r.id = done.run_fk GROUP BY r.segmenter ORDER BY r.segmenter
"""

SNAPSHOT = text("""
-- Of the registry entry last used: a snapshot made with an earlier entry is not used.
SELECT rows, fetched_at FROM lotline.parcel_copy WHERE state = 'complete' AND layer_fk = (
    SELECT id FROM lotline.parcel_layer WHERE county = :county ORDER BY used_at DESC LIMIT 1)
""")

# Of the newest run that stored it: a county may have labels of its own.
LABEL_CONTAINS = text("""
SELECT settings -> 'label_contains' FROM lotline.run
WHERE county = :county AND settings ? 'label_contains' ORDER BY id DESC LIMIT 1
""")

PROMPTS = text("""
SELECT DISTINCT ON (key) key, value FROM lotline.run r, jsonb_each_text(r.settings -> 'prompts')
WHERE r.county = :county AND jsonb_typeof(r.settings -> 'prompts') = 'object'
ORDER BY key, r.id DESC
""")

COUNTIES = text("""
SELECT county, count(*) AS properties FROM lotline.property GROUP BY county ORDER BY county
""")

WITHOUT_RESULT = text("""
SELECT property_id, state, reason, detail FROM lotline.property
WHERE county = :county AND state IN ('failed', 'deferred', 'no_imagery')
ORDER BY state, reason, property_id
""")


@dataclass(frozen=True, slots=True)
class CountyStatus:
    """The status of a county at one time.

    Attributes:
        by_state: number of properties by (state, reason).
        by_source: number of measured properties by the source of their boundary.
        sources: the same, with the ground of these boundaries.
        label_contains: the labels that are part of a label, and not to be added to it.
        processed_by: number of finished properties by the segmenter of their last run; only of
            `queue_status`.
        prompts: of the labels, as the newest run with each of them had it.
        areas: of the measured properties.
        segmenters: name and version of the segmenters that measured them.
        parcel_snapshot: the snapshot of the parcel layer: `rows` and `fetched_at`.
    """

    county: str
    by_state: dict[tuple[str, str], int]
    by_source: dict[str, int]
    areas: tuple[AreaTotal, ...]
    segmenters: tuple[str, ...]
    last_run: dict[str, Any] | None
    parcel_snapshot: dict[str, Any] | None
    sources: tuple[SourceCount, ...] = ()
    label_contains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    processed_by: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "county": self.county,
            "by_state": [
                {"state": state, "reason": reason, "properties": count}
                for (state, reason), count in sorted(self.by_state.items())
            ],
            "by_source": self.by_source,
            "sources": [asdict(source) for source in self.sources],
            "label_contains": {k: list(v) for k, v in self.label_contains.items()},
            "areas": [asdict(area) for area in self.areas],
            "segmenters": list(self.segmenters),
            "last_run": self.last_run,
            "parcel_copy": self.parcel_snapshot,
        }


def county_status(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> CountyStatus:
    """The complete status of a county, or of some of its properties."""
    where = {"county": county}
    last_run = lifecycle.latest_run(conn, county)
    snapshot = conn.execute(SNAPSHOT, {"county": county}).one_or_none()
    measured = _MEASURED.replace("{selected}", selection.full_scan_condition)
    sources, areas = sources_and_areas(conn, county, measured, selection.values)
    return CountyStatus(
        county=county,
        by_state=count_states(conn, county, selection),
        by_source={source.source: source.properties for source in sources},
        areas=areas,
        segmenters=tuple(sorted({area.segmenter for area in areas} - {"person"})),
        last_run=None if last_run is None else _summary(last_run),
        parcel_snapshot=None
        if snapshot is None
        else {"rows": snapshot.rows, "fetched_at": snapshot.fetched_at.isoformat()},
        sources=sources,
        prompts={row.key: row.value for row in conn.execute(PROMPTS, where)},
        label_contains=conn.execute(LABEL_CONTAINS, where).scalar() or contained_labels(),
    )


def empty_status(county: str) -> CountyStatus:
    """The status of a county in a database without Lotline's tables."""
    return CountyStatus(county, {}, {}, (), (), None, None)


def county_segmenters(conn: Connection, county: str) -> tuple[str, ...]:
    """Name and version of the segmenters of the last runs of a county's finished properties."""
    last = text(LAST_SEGMENTERS.replace("{selected}", "p.county = :county"))
    return tuple(row.segmenter for row in conn.execute(last, {"county": county}))


def queue_status(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> CountyStatus:
    """The status of a county without measured areas, which take long to sum: see `county_status`.

    `processed_by` and `segmenters` are of the last run of each selected property.
    """
    last = text(LAST_SEGMENTERS.replace("{selected}", selection.full_scan_condition))
    rows = conn.execute(last, {"county": county, **selection.values})
    processed_by = {row.segmenter: row.properties for row in rows}
    last_run = lifecycle.latest_run(conn, county)
    return CountyStatus(
        county=county,
        by_state=count_states(conn, county),
        by_source={},
        areas=(),
        segmenters=tuple(processed_by),
        last_run=None if last_run is None else _summary(last_run),
        parcel_snapshot=None,
        processed_by=processed_by,
    )


def count_by_county(conn: Connection) -> dict[str, int]:
    """Number of properties of each county that has any."""
    return {row.county: row.properties for row in conn.execute(COUNTIES)}


def list_without_result(conn: Connection, county: str) -> list[dict[str, str]]:
    """The properties that are failed, deferred or without imagery, each with its reason."""
    rows = conn.execute(WITHOUT_RESULT, {"county": county})
    return [dict(row) for row in rows.mappings()]


def _summary(run: lifecycle.Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "state": run.state,
        "segmenter": run.segmenter,
        "started_at": run.started_at.isoformat(),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
    }

"""Small synthetic lots and detections, and direct SQL access, for tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.affinity import translate
from sqlalchemy import Connection, text

from detection.results import ChipInfo, Detection, LotResult
from parcels.boundary import Boundary, Property
from parcels.measure import area_m2
from pipeline.store.queue import loading
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import Processed, RunInfo, WriteResult
from pipeline.store.runs import lifecycle

COUNTY = "synthetic"
LON, LAT = -90.05, 35.15
STEP = 0.0001  # degrees; about ten metres

CHIP = ChipInfo(
    "c" * 64, ("synthetic.tif",), "2023", "EPSG:32616", 0.6, ("red", "green"), (0.0, 0.0, 1.0, 1.0)
)


def square(x: float, y: float, width: float, height: float) -> MultiPolygon:
    """A rectangle, in steps from the lower left corner of the synthetic lot."""
    left, bottom = LON + x * STEP, LAT + y * STEP
    box = shapely.box(left, bottom, left + width * STEP, bottom + height * STEP)
    return MultiPolygon([box])


def shifted(geometry: MultiPolygon, x: float) -> MultiPolygon:
    return translate(geometry, x * STEP)


LAWN = square(1, 1, 6, 4)
TREE = square(1, 6, 3, 3)


def make_boundary(width: float = 10, source: Any = "lot") -> Boundary:
    geometry = square(0, 0, width, 10)
    return Boundary(geometry, source, area_m2(geometry), "point", "synthetic", ("p-1", "p-2"))


def make_detection(geometry: MultiPolygon, label: str = "lawn", score: float = 0.9) -> Detection:
    size_m2 = area_m2(geometry)
    return Detection(label, f"a {label}", score, "trimmed", geometry, size_m2, size_m2, size_m2 * 2)


def make_result(
    *findings: Detection, coverage_fraction: float = 1.0, chip: ChipInfo = CHIP
) -> LotResult:
    return LotResult("detected", findings, coverage_fraction, chip)


def load_properties(conn: Connection, count: int = 1, county: str = COUNTY) -> list[int]:
    """Load `count` properties, named p0, p1, …; returns their keys."""
    loading.load(conn, county, [Property(f"p{i}", LON + i * STEP, LAT) for i in range(count)])
    rows = conn.execute(
        text("SELECT id FROM lotline.property WHERE county = :county ORDER BY id"),
        {"county": county},
    )
    return list(rows.scalars())


def start_run(
    conn: Connection, labels: Sequence[str] = ("lawn", "tree"), county: str = COUNTY
) -> RunInfo:
    run_id = lifecycle.start(conn, county, {"labels": list(labels)}, "synthetic", None)
    return RunInfo(run_id, "synthetic", None, tuple(labels))


def end_run(conn: Connection, run: RunInfo) -> None:
    """Mark the run finished."""
    conn.execute(text("UPDATE lotline.run SET state = 'finished' WHERE id = :id"), {"id": run.id})


def lease_to(conn: Connection, property_fks: Sequence[int], owner: str = "worker") -> None:
    """Lease these properties to `owner`, whatever their state."""
    conn.execute(
        text(
            "UPDATE lotline.property SET state = 'leased', lease_owner = :owner, "
            "attempts = attempts + 1, leased_until = now() + interval '1 h' WHERE id = ANY(:ids)"
        ),
        {"ids": list(property_fks), "owner": owner},
    )


def set_state(
    conn: Connection,
    property_fks: Sequence[int],
    state: str,
    reason: str = "",
    detail: str = "",
) -> None:
    """Set the state of these properties and end their leases."""
    conn.execute(
        text(
            "UPDATE lotline.property SET state = :state, reason = :reason, detail = :detail, "
            "lease_owner = NULL, leased_until = NULL WHERE id = ANY(:ids)"
        ),
        {"ids": list(property_fks), "state": state, "reason": reason, "detail": detail},
    )


def write_lot(
    conn: Connection, run: RunInfo, property_fk: int, boundary: Boundary, result: LotResult
) -> WriteResult:
    """Lease a property and write it as a chunk of one."""
    with conn.begin_nested():
        lease_to(conn, [property_fk])
        return write_chunk(conn, run, [Processed(property_fk, boundary, result)], "worker")[
            property_fk
        ]


def read_detections(conn: Connection, property_fk: int) -> list[Any]:
    """All detections of a property, in the order of insertion."""
    query = text(
        "SELECT id, label, state, version, review_fk, area_m2, ST_AsBinary(geom) AS geom "
        "FROM lotline.detection WHERE property_fk = :property ORDER BY id"
    )
    return list(conn.execute(query, {"property": property_fk}))


def read_states(conn: Connection, property_fk: int) -> list[str]:
    return [row.state for row in read_detections(conn, property_fk)]


def read_areas_m2(conn: Connection, property_fk: int) -> dict[str, float]:
    """The current measurement of each label."""
    query = text(
        "SELECT label, area_m2 FROM lotline.measurement WHERE property_fk = :property AND current"
    )
    return {row.label: row.area_m2 for row in conn.execute(query, {"property": property_fk})}


def read_property(conn: Connection, property_fk: int) -> Any:
    query = text("SELECT * FROM lotline.property WHERE id = :id")
    return conn.execute(query, {"id": property_fk}).one()

"""What the HTML page has beyond the run's report: its map, imagery, and what has no result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from pipeline.redaction import redactor
from pipeline.report.map_imagery import MapImagery
from pipeline.store.runs.lifecycle import Run
from pipeline.store.runs.map_data import RunMap, build_run_map
from pipeline.store.runs.totals import ExampleProperty
from pipeline.store.runs.without_result import list_without_result

# More would make the page unreadable; `lotline export` writes all.
MAX_WITHOUT_RESULT = 200


@dataclass(frozen=True, slots=True)
class PageExtras:
    """Data for the page only.

    Attributes:
        run_map: None if no property has a known location.
        imagery: under the map; None draws plain ground.
        without_result: up to `MAX_WITHOUT_RESULT` properties that are not done.
    """

    run_map: RunMap | None = None
    imagery: MapImagery | None = None
    without_result: Sequence[ExampleProperty] = ()


def load_extras(conn: Connection, run: Run, imagery: MapImagery | None = None) -> PageExtras:
    """Read them for a run."""
    listed = list_without_result(conn, run, MAX_WITHOUT_RESULT)
    masked = [replace(each, detail=redactor.text(each.detail)) for each in listed]
    return PageExtras(build_run_map(conn, run), imagery, masked)

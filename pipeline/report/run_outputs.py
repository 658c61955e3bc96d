"""What a finished run is shown with: its map, and the truth where the county is synthetic."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from detection.clip import LotLines
from detection.imagery.interface import ImagerySource
from detection.results import FULL_COVERAGE_FRACTION
from detection.sample import LawnErrors, lawn_errors, true_areas_m2
from pipeline.errors import PipelineError
from pipeline.open_county import OpenCounty
from pipeline.report import RunReport, build_report
from pipeline.report.caveats import found_by
from pipeline.report.write_report import write_files
from pipeline.store.database import Database
from pipeline.store.reads import row_cursors
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.runs import lifecycle
from pipeline.store.runs.map_data import build_run_map

log = logging.getLogger(__name__)

# No picture shows more, and all of them are in memory together.
MOST_DRAWN = 1_000


def draw_run(
    database: Database,
    opened: OpenCounty,
    run: RunInfo,
    imagery: ImagerySource,
    lines: LotLines,
    path: Path,
) -> Path | None:
    """Draw some of what the county has after a run; None where nothing was imaged."""
    # Loading matplotlib takes longer than finding out that there is nothing to draw.
    from pipeline.report.map_png import map_png

    county = opened.county
    with database.engine.connect() as conn:
        lots = row_cursors.run_boundaries(conn, county.key, run.id, MOST_DRAWN + 1)
        is_all = len(lots) <= MOST_DRAWN
        lots = lots.head(MOST_DRAWN)
        found = list(row_cursors.iter_detections(conn, county.key, list(lots["property_id"])))
    detections = pd.concat(found, ignore_index=True)
    notes = ["Synthetic imagery and lots, not a real place."] if opened.synthetic else []
    # What a lot had of an earlier run stays where this one asked for other labels.
    notes += found_by(sorted(set(detections["segmenter"]) - {"person"}))
    if lines.offset_m != (0.0, 0.0):
        east_m, north_m = lines.offset_m
        notes.append(f"Lots are moved onto the imagery: {east_m:g} m east, {north_m:g} m north.")
    if not is_all:
        notes.append(f"Only {MOST_DRAWN:,} boundaries of the run, neighbours of each other.")
    title = f"{opened.name}: run {run.id}"
    footnote = " ".join(notes)
    return path if map_png(path, lots, detections, imagery, title, footnote, lines) else None


def report_run(
    database: Database, run_id: int, folder: Path | None
) -> tuple[RunReport, Path | None]:
    """What a run tells, and the page that was written of it; without a folder none is.

    None is of a run that answered nothing, for it would take the place of one that did. What was
    measured is kept, even where nothing can be written of it.
    """
    with database.engine.connect() as conn:
        run = lifecycle.get_run(conn, run_id)
        report = build_report(conn, run)
        places = None if folder is None else build_run_map(conn, run)
    if folder is None or not report.properties:
        return report, None
    try:
        return report, write_files(report, places, folder)
    except PipelineError as error:
        log.warning("%s", error)
        return report, None


def lawn_truth(database: Database, opened: OpenCounty) -> LawnErrors | None:
    """How far the measured lawns of whole, imaged lots are from the truth, if it is known."""
    if opened.truth is None:
        return None
    measured: dict[str, float] = {}
    with database.engine.connect() as conn:
        for frame in row_cursors.iter_properties(conn, opened.county.key):
            if "lawn_m2" not in frame:
                continue
            whole = (frame["source"] == "lot") & (
                frame["coverage_fraction"] >= FULL_COVERAGE_FRACTION
            )
            lawns = frame[whole & frame["lawn_m2"].notna()]
            for parcel_ids, lawn_m2 in zip(lawns["parcel_ids"], lawns["lawn_m2"], strict=True):
                measured.update(dict.fromkeys(parcel_ids, float(lawn_m2)))
    return lawn_errors(true_areas_m2(opened.truth, "lawn"), measured) if measured else None

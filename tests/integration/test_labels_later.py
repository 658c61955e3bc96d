"""Labels that are asked for later on a finished county are run, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from detection import sample
from detection.errors import LabelError
from pipeline import BatchRequest, run_batch
from pipeline.batch.result import BatchReport
from pipeline.cli.batch_result import print_report
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.reads.county_status import county_status

MEASURED = """
SELECT p.property_id, m.label, m.area_m2, m.segmenter FROM lotline.property p
JOIN lotline.measurement m ON m.property_fk = p.id AND m.current ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of a synthetic county with 6 lots."""
    folder = tmp_path_factory.mktemp("little")
    made = sample.generate(folder / "county", seed=5, lots=6)
    file = folder / "registry.yaml"
    file.write_text(
        f'counties:\n  little:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    return file


@pytest.fixture
def batch(registry: Path, database: Database, tmp_path: Path) -> Callable[..., BatchReport]:
    settings = Settings(database_url=database.url, home=tmp_path)

    def run(**more: Any) -> BatchReport:
        more = {"segmenter": "spectral", **more}
        return run_batch(BatchRequest("little", registry=registry, **more), settings)

    return run


def _rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def test_a_label_asked_for_later_is_run_alone(
    batch: Callable[..., BatchReport], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    first = batch(labels=("lawn",))
    before = _rows(database, MEASURED)
    later = batch(labels=("lawn", "tree"))
    assert later.run is not None
    assert later.run.settings["labels"] == ["tree"]
    assert {area.label for area in later.run.areas} == {"tree"}
    done = sum(count.properties for count in first.run.counts if count.state == "done")  # type: ignore[union-attr]
    assert later.run.properties == done
    after = _rows(database, MEASURED)
    assert [row for row in after if row[1] == "lawn"] == before
    assert len([row for row in after if row[1] == "tree"]) == len(before)
    assert {area.label for area in later.status.areas} == {"lawn", "tree"}
    # The rest of the default labels, as the same segmenter processed them last.
    rest = batch()
    assert rest.run is not None
    assert rest.run.settings["labels"] == ["vegetation"]
    assert batch().run is None
    assert batch(labels=("tree",)).run is None
    print_report(batch())
    assert "are processed by spectral-" in capsys.readouterr().out


def test_another_segmenter_adds_labels_and_replaces_nothing(
    batch: Callable[..., BatchReport], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    batch()
    before = _rows(database, MEASURED)
    # By default it is no reason to mix segmenters, and a measured label is not replaced.
    assert batch(segmenter="sam3-tiny").run is None
    assert batch(segmenter="sam3-tiny", labels=("lawn",)).run is None
    later = batch(segmenter="sam3-tiny", labels=("lawn", "pool"), limit=2)
    assert later.run is not None
    assert (later.run.settings["labels"], later.run.properties) == (["pool"], 2)
    after = _rows(database, MEASURED)
    assert [row for row in after if row[1] != "pool"] == before
    pools = [row for row in after if row[1] == "pool"]
    assert [row[3][:9] for row in pools] == ["sam3-tiny"] * 2
    segmenters = {(area.label, area.segmenter[:8]) for area in later.status.areas}
    assert {("lawn", "spectral"), ("pool", "sam3-tin")} <= segmenters
    # What waits for pools is finished again by a batch that does not ask for them.
    with database.engine.begin() as conn:
        conn.execute(
            text("UPDATE lotline.property SET state = 'pending' WHERE only_labels IS NOT NULL")
        )
    report = batch()
    assert report.run is None
    print_report(report)
    out = " ".join(capsys.readouterr().out.split())
    assert "are processed" in out
    assert "2 by sam3-tiny-1" in out


def test_all_is_reprocessed_with_again(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    batch(labels=("lawn",))
    batch(labels=("tree",))
    again = batch(again=True, labels=("lawn", "tree"))
    assert again.run is not None
    assert again.run.settings["labels"] == ["lawn", "tree"]
    assert again.run.properties == sum(again.status.by_state.values())
    assert _rows(database, "SELECT 1 FROM lotline.property WHERE only_labels IS NOT NULL") == []


def test_a_property_that_waits_for_a_label_keeps_its_areas_in_the_sums(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    first = batch(labels=("lawn",))
    with database.engine.begin() as conn:
        conn.execute(
            text(
                "UPDATE lotline.property SET state = 'deferred', reason = 'unavailable', "
                "only_labels = '{tree}' WHERE state = 'done'"
            )
        )
    with database.engine.connect() as conn:
        assert county_status(conn, "little").areas == first.status.areas
    later = batch(labels=("tree",))
    assert [a for a in later.status.areas if a.label == "lawn"] == list(first.status.areas)


def test_a_label_that_the_segmenter_cannot_find_is_refused_with_nothing_to_do(
    batch: Callable[..., BatchReport],
) -> None:
    batch()
    with pytest.raises(LabelError, match="spectral cannot detect 'pool', only lawn, tree"):
        batch(labels=("pool",))
    with pytest.raises(LabelError, match="spectral cannot detect 'shed'"):
        batch(own_labels=("shed=garden shed",))


def test_a_label_that_only_a_person_drew_is_still_to_do(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    batch(labels=("lawn",))
    with database.engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO lotline.measurement (property_fk, boundary_fk, label, area_m2, "
                "detection_count, coverage_fraction, source, segmenter) SELECT id, boundary_fk, "
                "'tree', 5, 0, 1, 'lot', 'person' FROM lotline.property WHERE state = 'done'"
            )
        )
    later = batch(labels=("tree",))
    assert later.run is not None
    assert later.run.settings["labels"] == ["tree"]


def test_labels_of_runs_of_early_versions_without_rows_count_as_measured(
    batch: Callable[..., BatchReport], database: Database
) -> None:
    batch(labels=("lawn", "tree"))
    with database.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.measurement SET current = false WHERE label = 'tree'"))
    assert batch(labels=("tree",)).run is None

"""`--stale`: what older weights measured is measured again; what people decided stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lots import read_areas_m2
from registered import KEY, LANDCOVER, Registered, landcover_folder, little_county, pickled
from sentstatements import sent_statements
from sqlalchemy import text

from detection.segmenters.landcover.weights import load_landcover
from pipeline import BatchReport, BatchRequest, run_batch
from pipeline.batch.request import NoProgress
from pipeline.cli.app import lotline
from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.queue import states as queue
from pipeline.store.queue.stale import StaleWeights, count_stale, older_weights
from pipeline.store.reviews import verdicts
from pipeline.store.reviews.full_reviews import full_review, mark_fully_reviewed


class Messages(NoProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, what: str) -> None:
        self.said.append(what)


class Place:
    """A county of five lots over a database."""

    def __init__(self, database: Database, registry: Path, home: Path) -> None:
        self.database, self.registry, self.home = database, registry, home
        self.messages = Messages()

    def batch(self, **more: Any) -> BatchReport:
        settings = Settings(database_url=self.database.url, home=self.home)
        more = {"segmenter": LANDCOVER, **more}
        request = BatchRequest(KEY, registry=self.registry, **more)
        self.messages = Messages()
        return run_batch(request, settings, self.messages)

    def weights(self) -> dict[str, int]:
        """The number of properties that have a measurement by each weights."""
        query = text(
            "SELECT weights_sha256, count(DISTINCT property_fk) FROM lotline.measurement "
            "WHERE current GROUP BY 1"
        )
        with self.database.engine.connect() as conn:
            return {row[0]: row[1] for row in conn.execute(query)}

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.database.engine.connect() as conn:
            return list(conn.execute(text(query), values))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_county(tmp_path_factory.mktemp("county"), keep=5)


@pytest.fixture(scope="module")
def new_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landcover_folder(tmp_path_factory.mktemp("weights") / "new", 0.05, 1)


@pytest.fixture
def place(database: Database, registry: Path, tmp_path: Path) -> Place:
    return Place(database, registry, tmp_path / "home")


@pytest.fixture
def registered(database: Database, tmp_path: Path) -> Registered:
    return Registered(database, tmp_path / "stored")


OWN = load_landcover().sha256
_DECIDED = """
SELECT id, state, ST_AsBinary(geom) AS geom, weights_sha256, version FROM lotline.detection
WHERE review_fk IS NOT NULL ORDER BY id
"""


def test_stale_lots_are_measured_again_and_verdicts_stay(
    place: Place, registered: Registered, new_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.batch()
    assert place.weights() == {OWN: 5}
    first, second, third, full, *_ = place.rows(
        "SELECT property_fk, max(id) AS id FROM lotline.detection WHERE label = 'roof' "
        "GROUP BY 1 ORDER BY 1"
    )
    with place.database.engine.begin() as conn:
        verdicts.accept(conn, first.id, "ann")
        verdicts.reject(conn, second.id, "ann")
        shape = conn.execute(
            text("SELECT ST_AsBinary(ST_Scale(geom, ST_Point(0.8, 0.8), ST_Centroid(geom))) "
                 "FROM lotline.detection WHERE id = :id"), {"id": third.id},
        ).scalar_one()  # fmt: skip
        import shapely

        verdicts.edit(conn, third.id, "ann", shapely.from_wkb(shape))
        for each in conn.execute(
            text("SELECT id FROM lotline.detection WHERE property_fk = :key AND "
                 "state = 'proposed' ORDER BY id"), {"key": full.property_fk},
        ).scalars():  # fmt: skip
            verdicts.accept(conn, each, "ann")
        mark_fully_reviewed(conn, full.property_fk, "ann")
    decided = place.rows(_DECIDED)

    assert not place.batch(stale=True).selected_by_state.get(("pending", ""))
    assert "nothing of little was measured by other weights" in place.messages.said
    number = registered.add(new_weights)
    registered.promote(number)
    new = load_landcover(new_weights).sha256
    place.batch()
    assert place.weights() == {OWN: 5}, "an ordinary batch leaves them"

    monkeypatch.setenv("DATABASE_URL", place.database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(place.home))
    listed = json.loads(CliRunner().invoke(lotline, ["models", "stale", "--json"]).output)
    assert listed["weights_sha256"] == new
    [only] = listed["stale"]
    assert only == {
        "county": KEY, "weights_sha256": OWN, "model": None, "properties": 4, "reviewed_in_full": 1,
    }  # fmt: skip
    printed = CliRunner().invoke(lotline, ["models", "stale"]).output
    assert f"--county {KEY} --registry {place.registry} --segmenter landcover --stale" in printed
    monkeypatch.setenv("REGISTRY", str(place.registry))
    assert "--registry" not in CliRunner().invoke(lotline, ["models", "stale"]).output
    monkeypatch.delenv("REGISTRY")
    assert f"landcover uses model {number}" in printed
    assert "4 properties, 1 reviewed in full" in printed

    report = place.batch(stale=True, limit=2)
    assert report.run is not None
    assert place.weights() == {OWN: 3, new: 2}
    place.batch(stale=True)
    assert place.weights() == {OWN: 1, new: 4}, "the lot reviewed in full stays"
    assert place.rows(_DECIDED) == decided
    with place.database.engine.connect() as conn:
        assert full_review(conn, full.property_fk) is not None
        assert read_areas_m2(conn, second.property_fk)["lawn"] > 0
    # Unreviewed detections name the weights of their run.
    for row in place.rows(
        "SELECT d.weights_sha256 AS ours, r.weights_sha256 AS of_run FROM lotline.detection d "
        "JOIN lotline.run r ON r.id = d.run_fk WHERE d.state = 'proposed'"
    ):
        assert row.ours == row.of_run == new
    runs = place.rows("SELECT count(*) FROM lotline.run")
    place.batch(stale=True)
    assert place.rows("SELECT count(*) FROM lotline.run") == runs, "nothing is left to do"

    registered.roll_back()
    listed = json.loads(CliRunner().invoke(lotline, ["models", "stale", "--json"]).output)
    [taken_back] = listed["stale"]
    assert (taken_back["weights_sha256"], taken_back["properties"]) == (new, 4)
    assert taken_back["model"] == number


def test_labels_that_are_not_asked_for_stay(
    place: Place, registered: Registered, new_weights: Path
) -> None:
    place.batch(labels=("lawn", "roof"), limit=2)
    registered.promote(registered.add(new_weights))
    new = load_landcover(new_weights).sha256
    place.batch(stale=True, labels=("lawn",), limit=2)
    by_label = place.rows(
        "SELECT DISTINCT label, weights_sha256 FROM lotline.measurement WHERE current ORDER BY 1"
    )
    assert [tuple(row) for row in by_label] == [("lawn", new), ("roof", OWN)]
    place.batch(stale=True, labels=("lawn", "roof"), limit=2)
    assert place.weights() == {new: 2}


def test_what_cannot_be_stale_is_refused(
    place: Place, registered: Registered, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="spectral has no weights"):
        place.batch(segmenter="spectral", stale=True)
    place.batch(limit=2)
    registered.promote(registered.add(pickled(tmp_path / "canary")))
    before = place.weights()
    with pytest.raises(ModelError, match="the champion cannot be used, so nothing is measured"):
        place.batch(stale=True)
    assert place.weights() == before
    assert place.rows("SELECT count(*) FROM lotline.property WHERE state = 'done'")[0][0] <= 2


_MANY_LOTS = 20_000
_FILL = f"""
INSERT INTO lotline.run (county, settings, segmenter, weights_sha256, state)
    SELECT 'large', '{{"segmenter": "landcover"}}', 'landcover-1', repeat(name, 64), 'finished'
    FROM unnest(ARRAY['a', 'b']) AS name;
INSERT INTO lotline.property (county, property_id, point, state, reason, run_fk)
    SELECT 'large', 'p' || n, ST_SetSRID(ST_Point(-90 + n * 1e-6, 35), 4326),
        'done', 'measured', (SELECT min(id) FROM lotline.run)
    FROM generate_series(1, {_MANY_LOTS}) n;
INSERT INTO lotline.boundary
    (property_fk, source, geom, area_m2, origin, parcel_ids, version, fetched_at)
    SELECT id, 'lot', ST_Multi(ST_Expand(point, 1e-4)), 1, '', '{{}}', 'v' || id, now()
    FROM lotline.property;
INSERT INTO lotline.measurement (property_fk, boundary_fk, run_fk, label, area_m2, detection_count,
        coverage_fraction, source, segmenter, weights_sha256)
    SELECT b.property_fk, b.id, (SELECT min(id) FROM lotline.run), label, 1, 1, 1, 'lot',
        'landcover-1', repeat(CASE WHEN b.id %% 200 = 0 THEN 'a' ELSE 'b' END, 64)
    FROM lotline.boundary b CROSS JOIN unnest(ARRAY['lawn', 'roof', 'tree']) AS label;
"""


def test_few_stale_lots_among_many_are_found_by_the_index(database: Database) -> None:
    with database.engine.begin() as conn:
        conn.exec_driver_sql(_FILL)
        conn.exec_driver_sql("ANALYZE lotline.measurement; ANALYZE lotline.property")
        stale = older_weights(conn, "large", "landcover", "b" * 64, ["lawn"])
        assert stale == StaleWeights(("a" * 64,), ("lawn",))
        [found] = count_stale(conn, "large", "landcover", stale)
        assert (found.properties, found.reviewed_in_full) == (_MANY_LOTS // 200, 0)
        assert queue.count_waiting(conn, "large", stale=stale) == _MANY_LOTS // 200
        plan = "\n".join(
            conn.execute(
                text(
                    "EXPLAIN SELECT m.property_fk FROM lotline.measurement m WHERE m.current "
                    "AND m.weights_sha256 IS NOT NULL "
                    "AND m.weights_sha256 = ANY(CAST(:older AS text[]))"
                ),
                {"older": list(stale.older)},
            ).scalars()
        )
        assert "measurement_weights_idx" in plan, plan
        none = older_weights(conn, "large", "spectral", "b" * 64)
        assert none.older == ()
        assert queue.reset(conn, "large", scope="nothing", stale=stale) == _MANY_LOTS // 200
        assert queue.count_waiting(conn, "large") == _MANY_LOTS // 200


def test_many_stale_lots_are_not_a_list_that_each_lot_reads(database: Database) -> None:
    with database.engine.begin() as conn:
        conn.exec_driver_sql(_FILL)
        conn.exec_driver_sql("ANALYZE lotline.measurement; ANALYZE lotline.property")
        conn.exec_driver_sql("SET LOCAL work_mem = '64kB'")  # 20,000 are then as 400,000 by default
        stale = older_weights(conn, "large", "landcover", "a" * 64)
        many = _MANY_LOTS - _MANY_LOTS // 200
        with sent_statements(database.engine) as asked:
            assert queue.count_waiting(conn, "large", stale=stale) == many
            assert queue.reset(conn, "large", scope="nothing", limit=10, stale=stale) == 10
        for statement, values in asked:
            plan = "\n".join(conn.exec_driver_sql(f"EXPLAIN {statement}", values).scalars())
            assert "Materialize" not in plan, plan
    assert len(asked) == 2

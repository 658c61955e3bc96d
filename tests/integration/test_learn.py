"""`lotline learn`: corrections of a measured county become weights, are judged, and are used."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from click.testing import CliRunner, Result
from sqlalchemy import text

from detection import sample
from detection.sample import SampleCounty
from pipeline import BatchRequest, run_batch
from pipeline.cli.app import lotline
from pipeline.errors import LearningError
from pipeline.learning.rounds.round_state import read_round
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.models.judgements import newest_verdicts
from pipeline.store.models.versions import champion, models
from pipeline.store.reviews import full_reviews, verdicts

KEY = "little"
LOTS = 12
LABELS = ("lawn", "tree", "roof", "driveway", "pool")
# A training of seconds.
SHORT = (
    "--device", "cpu", "--steps", "30", "--set", "views_per_part=3", "--set", "batch=4",
    "--set", "side_px=128", "--set", "checkpoint_every=30", "--set", "learning_rate=1e-3",
)  # fmt: skip
ROUND_LOCK = "hashtextextended('lotline learn landcover', 17)"
# A gate for a dozen lots.
FEW_LOTS = ("--gate", "min_lots=4", "--gate", "min_blocks=3")


@dataclass
class Loop:
    """The command over a database with a reviewed county."""

    database: Database
    registry: Path
    home: Path
    made: SampleCounty

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(lotline, list(words))

    def learn(self, *words: str) -> Result:
        return self("learn", "--registry", str(self.registry), "--by", "ann", *words)

    def run(self, statement: str, **values: object) -> list[Any]:
        with self.database.engine.begin() as conn:
            result = conn.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def batch(self) -> str:
        """Measure the county again; the weights of the run."""
        request = BatchRequest(
            KEY, registry=self.registry, segmenter="landcover", again=True, labels=LABELS, limit=1
        )
        run_batch(request, Settings(database_url=self.database.url, home=self.home))
        return str(self.run("SELECT weights_sha256 FROM lotline.run ORDER BY id DESC")[0][0])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleCounty]:
    folder = tmp_path_factory.mktemp("learn")
    made = sample.generate(folder / "county", seed=7, lots=LOTS)
    registry = folder / "registry.yaml"
    registry.write_text(
        f'counties:\n  {KEY}:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    return registry, made


@pytest.fixture
def loop(
    place: tuple[Path, SampleCounty],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Loop:
    registry, made = place
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path))
    request = BatchRequest(KEY, registry=registry, segmenter="landcover", labels=LABELS)
    run_batch(request, Settings(database_url=database.url, home=tmp_path))
    return Loop(database, registry, tmp_path, made)


def correct(loop: Loop, properties: Sequence[int] | None = None) -> None:
    """A reviewer who knows the truth: every detection is rejected, and what is there is drawn."""
    truth = geopandas.read_file(loop.made.truth).to_crs("EPSG:4326")
    rows = loop.run(
        "SELECT p.id, b.parcel_ids[1] AS parcel FROM lotline.property p "
        "JOIN lotline.boundary b ON b.id = p.boundary_fk "
        "WHERE p.state = 'done' AND b.source = 'lot' ORDER BY p.id"
    )
    with loop.database.engine.begin() as conn:
        for row in rows if properties is None else [rows[i] for i in properties]:
            query = text(
                "SELECT id FROM lotline.detection WHERE property_fk = :id AND state = 'proposed'"
            )
            for detection in conn.execute(query, {"id": row.id}).scalars().all():
                verdicts.reject(conn, detection, "ann")
            own = truth[(truth.parcel_id == row.parcel) & truth.label.isin(LABELS)]
            for each in own.itertuples():
                for part in shapely.get_parts(each.geometry):
                    if part.area * 1e10 > 5:  # about 5 m²
                        verdicts.add(conn, row.id, "ann", each.label, part)
            full_reviews.mark_fully_reviewed(conn, row.id, "ann")


def export(loop: Loop) -> None:
    """The first export decides how the ground is divided."""
    done = loop(
        "corrections", "export", "--to", str(loop.home / "corrections"),
        "--registry", str(loop.registry), "--block-m", "30", "--test", "0.5",
        "--validation", "0.2", "--seed", "5",
    )  # fmt: skip
    assert done.exit_code == 0, done.output


def registered(loop: Loop) -> list[int]:
    with loop.database.engine.connect() as conn:
        return [each.id for each in models(conn, "landcover")][::-1]


def test_what_is_done_without_a_round(loop: Loop) -> None:
    nothing = loop.learn()
    assert nothing.exit_code == 0
    assert "Not enough for another round: 0 of 50 corrections." in nothing.output
    correct(loop, [0, 1])
    done = loop.learn()
    assert done.exit_code == 0, done.output
    assert re.search(r"label +corrected +confirmed +lots\n", done.output)
    assert re.search(r"lawn +\d+ +0 +2\n", done.output)
    assert re.search(r"Not enough for another round: \d\d of 50", done.output)
    planned = loop.learn("--corrections", "10", "--dry-run", "--promote")
    assert planned.exit_code == 0
    assert "would export the corrections, train landcover-decoder, register" in planned.output
    assert "promote them if they pass" in planned.output
    assert not (loop.home / "corrections").exists()
    few = loop.learn("--corrections", "10")
    assert few.exit_code == 0, few.output
    assert "No round: its weights could not be judged. The test has " in few.output
    assert registered(loop) == []
    with (loop.home / "learn" / "landcover" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = loop.learn("--corrections", "10")
    assert second.exit_code == 0
    assert "Another `lotline learn` of landcover is running" in second.output
    with loop.database.engine.connect() as conn:  # on another machine
        conn.execute(text(f"SELECT pg_advisory_lock({ROUND_LOCK})"))
        assert "is running: nothing" in loop.learn("--corrections", "10").output
        conn.execute(text(f"SELECT pg_advisory_unlock({ROUND_LOCK})"))
    (loop.home / "learn" / "landcover" / "round.json").write_text("{")
    damaged = loop.learn("--corrections", "10")
    assert isinstance(damaged.exception, LearningError)
    assert "delete it, and the round begins anew" in str(damaged.exception)


@pytest.mark.long
def test_corrections_become_weights_that_batches_use(loop: Loop) -> None:
    correct(loop)
    export(loop)
    # Killed, or stopped at its time: the next run continues with the same corrections.
    stopped = loop.learn(*FEW_LOTS, "--", *SHORT, "--time-limit", "1s")
    assert stopped.exit_code == 0, stopped.output
    assert "the next run continues it" in stopped.output
    under_way = json.loads((loop.home / "learn/landcover/round.json").read_text())
    assert registered(loop) == []
    assert "A run would continue: train" in loop.learn("--dry-run").output
    # The training has no time limit now: the options of the round are those that it began with.
    (loop.home / "learn/landcover/round.json").write_text(
        json.dumps(under_way | {"options": under_way["options"][:-2]})
    )
    folder = loop.home / "learn" / "landcover"
    [run] = [path for path in folder.iterdir() if path.is_dir()]
    state = read_round(folder)
    assert state is not None
    run.rename(state.run_folder(folder))
    done = loop.learn(*FEW_LOTS)
    [number] = registered(loop)
    with loop.database.engine.connect() as conn:
        verdict = newest_verdicts(conn)[number]
    assert (done.exit_code, verdict) in ((0, "passed"), (1, "refused")), done.output
    assert re.search(r"all labels +area error.* better\n", done.output), done.output
    assert f"\n{verdict}: " in done.output
    assert not (folder / "round.json").exists()
    again = loop.learn(*FEW_LOTS)
    assert (again.exit_code, registered(loop)) == (0, [number])
    assert "Not enough for another round: 0 of 50" in again.output
    assert f"The last round made model {number}; the gate said: {verdict}: " in again.output
    # Without rehearsal it may have forgotten the pools: those who need none say so, and promote.
    no_pools = ("--set", "area_tolerance_m2=50", "--set", "min_lots=4", "--set", "min_blocks=3")
    passed = loop("models", "judge", str(number), *no_pools)
    assert passed.exit_code == 0, passed.output
    before = loop.batch()
    done = loop.learn("--promote", *FEW_LOTS)
    assert done.exit_code == 0, done.output
    assert f"model {number} is the champion of landcover" in done.output
    with loop.database.engine.connect() as conn:
        now = champion(conn, "landcover")
    assert now is not None
    assert loop.batch() == now.facts.weights_sha256 != before

"""`lotline learn`: corrections of a measured county become weights, are judged, and are used."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

import pytest
import rasterio
from learningcounty import FEW_LOTS, LearningCounty, make_place
from sqlalchemy import text

from detection.sample import SampleCounty
from pipeline.errors import LearningError
from pipeline.learning.rounds.round_state import read_round
from pipeline.store.database import Database
from pipeline.store.models.judgements import newest_verdicts
from pipeline.store.models.versions import champion

LABELS = ("lawn", "tree", "roof", "driveway", "pool")
# A training of seconds.
SHORT = (
    "--device", "cpu", "--steps", "80", "--set", "views_per_part=3", "--set", "batch=4",
    "--set", "side_px=128", "--set", "checkpoint_every=80", "--set", "learning_rate=1e-3",
)  # fmt: skip
ROUND_LOCK = "hashtextextended('lotline learn landcover', 17)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleCounty]:
    registry, made = make_place(tmp_path_factory.mktemp("learn"))
    for path in Path(made.imagery).parent.glob("*.tif"):
        _invert(path)
    return registry, made


def _invert(imagery: Path) -> None:
    """A negative: landcover knows the sample's own lawns, and has to learn these."""
    with rasterio.open(imagery, "r+") as file:
        file.write(255 - file.read())


@pytest.fixture
def loop(
    place: tuple[Path, SampleCounty],
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> LearningCounty:
    return LearningCounty.measured(place, database, tmp_path, monkeypatch, "landcover", LABELS)


def test_what_is_done_without_a_round(loop: LearningCounty) -> None:
    nothing = loop.learn()
    assert nothing.exit_code == 0
    assert "Not enough for another round: 0 of 50 corrections." in nothing.output
    loop.correct([0, 1])
    done = loop.learn()
    assert done.exit_code == 0, done.output
    assert re.search(r"label +corrected +confirmed +lots\n", done.output)
    assert re.search(r"lawn +\d+ +0 +2\n", done.output)
    assert re.search(r"Not enough for another round: \d\d of 50", done.output)
    planned = loop.learn("--corrections", "10", "--dry-run", "--promote")
    assert planned.exit_code == 0
    assert "would export the corrections, train landcover-decoder, register" in planned.output
    assert "promote them if they pass" in planned.output
    assert "whether the test is large enough for the gate" in planned.output
    assert "there is no export yet" in planned.output
    assert not (loop.home / "corrections").exists()
    few = loop.learn("--corrections", "10")
    assert few.exit_code == 0, few.output
    assert "No round: its weights could not be judged. The test has " in few.output
    planned = loop.learn("--corrections", "10", "--dry-run")
    assert "; the last export has " in planned.output
    assert loop.registered() == []
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
def test_corrections_become_weights_that_batches_use(loop: LearningCounty) -> None:
    loop.correct()
    loop.export()
    # Killed, or stopped at its time: the next run continues with the same corrections.
    stopped = loop.learn(*FEW_LOTS, "--", *SHORT, "--time-limit", "1s")
    assert stopped.exit_code == 0, stopped.output
    assert "the next run continues it" in stopped.output
    under_way = json.loads((loop.home / "learn/landcover/round.json").read_text())
    assert loop.registered() == []
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
    [number] = loop.registered()
    with loop.database.engine.connect() as conn:
        verdict = newest_verdicts(conn)[number]
    assert (done.exit_code, verdict) in ((0, "passed"), (1, "refused")), done.output
    assert re.search(r"all labels +area error.* better\n", done.output), done.output
    assert f"\n{verdict}: " in done.output
    assert not (folder / "round.json").exists()
    again = loop.learn(*FEW_LOTS)
    assert (again.exit_code, loop.registered()) == (0, [number])
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

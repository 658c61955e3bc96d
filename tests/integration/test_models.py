"""Trained weights are registered, promoted, used by batches, and taken back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from detection import sample
from detection.segmenters.landcover.weights import load_landcover, save_landcover
from pipeline import BatchRequest, run_batch
from pipeline.cli.app import lotline
from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.models.champion_file import read_champion
from pipeline.store.models.judgements import (
    GateVerdict,
    JudgementFacts,
    judgements,
    newest_verdicts,
    promoted_thresholds,
    store_judgement,
)
from pipeline.store.models.promoted_segmenter import build_promoted
from pipeline.store.models.promotions import promote, roll_back
from pipeline.store.models.versions import (
    ModelFacts,
    champion,
    model_states,
    models,
    promotions,
    register_model,
)

KEY = "little"
WHY = "tried by hand"


def judged(verdict: GateVerdict, event: int = 0) -> JudgementFacts:
    return JudgementFacts(
        verdict, "the sentence", event, "c" * 64, None, "d" * 64, {"min_lots": 20},
        [{"label": "lawn"}], {"champion": {}}, {"pool": 0.4},
    )  # fmt: skip


def test_a_promotion_needs_a_gate_that_was_passed_against_the_champion_of_today(
    conn: Connection,
) -> None:
    one, two = (register_model(conn, facts(name * 64), "ann") for name in "ab")
    with pytest.raises(ModelError, match=r"was not judged.*--despite-gate"):
        promote(conn, one, "ann")
    first = store_judgement(conn, one, judged("passed"), "ann")
    for verdict in ("refused", "too_few"):
        store_judgement(conn, one, judged(verdict), "ann")
        with pytest.raises(ModelError, match=r"does not let model .* pass: the sentence"):
            promote(conn, one, "ann")
    newest = store_judgement(conn, one, judged("passed"), "ann")
    store_judgement(conn, two, judged("passed"), "ann")
    promote(conn, one, "ann")
    now = champion(conn, "landcover")
    assert now is not None
    assert now.facts.thresholds == {"pool": 0.4}
    [event] = promotions(conn, "landcover")
    assert (event.judgement, event.despite_gate) == (newest, "")
    with pytest.raises(ModelError, match=r"has changed since model .* was judged"):
        promote(conn, two, "ann")
    promote(conn, two, "ann", despite_gate="a demonstration")
    assert promotions(conn, "landcover")[-1].despite_gate == "a demonstration"
    assert promoted_thresholds(conn, two) == {}
    assert [each.id for each in judgements(conn, one)][::3] == [newest, first]
    assert newest_verdicts(conn) == {one: "passed", two: "passed"}
    # Taken back, the model before is not promoted again by its old judgement.
    roll_back(conn, "landcover", "bob")
    back = champion(conn, "landcover")
    assert back == now
    roll_back(conn, "landcover", "bob")
    with pytest.raises(ModelError, match="has changed since"):
        promote(conn, one, "ann")


def test_the_database_wants_a_gate_or_a_reason(conn: Connection) -> None:
    one, two = (register_model(conn, facts(name * 64), "ann") for name in "ab")
    other = store_judgement(conn, two, judged("passed"), "ann")
    for judgement in (None, other):
        with pytest.raises(DBAPIError), conn.begin_nested():
            conn.execute(
                text(
                    "INSERT INTO lotline.model_promotion (segmenter, action, model_fk, "
                    "promoted_by, judgement_fk) VALUES ('landcover', 'promote', :one, 'x', :by)"
                ),
                {"one": one, "by": judgement},
            )
    with pytest.raises(DBAPIError), conn.begin_nested():
        conn.execute(text("UPDATE lotline.model_judgement SET verdict = 'passed'"))
    with pytest.raises(ModelError, match="name the person"):
        store_judgement(conn, one, judged("passed"), " ")


def facts(sha256: str, segmenter: str = "landcover") -> ModelFacts:
    return ModelFacts(segmenter, sha256, "/nowhere", {"model.safetensors": sha256})


def test_a_promotion_goes_on_top_and_a_rollback_takes_it_off(conn: Connection) -> None:
    one, two, three = (register_model(conn, facts(name * 64), "ann") for name in "abc")
    other = register_model(conn, facts("a" * 64, "sam3"), "ann")
    assert champion(conn, "landcover") is None
    for number in (one, two, three):
        promote(conn, number, "ann", "better", despite_gate=WHY)
    promote(conn, other, "ann", despite_gate=WHY)
    found = champion(conn, "landcover")
    assert found is not None
    assert found.id == three
    versions = models(conn)
    assert model_states(conn, versions) == {
        one: "retired", two: "retired", three: "champion", other: "champion",
    }  # fmt: skip
    back = roll_back(conn, "landcover", "bob")
    assert back is not None
    assert back.id == two
    promote(conn, one, "ann", despite_gate=WHY)
    assert roll_back(conn, "landcover", "bob") == back
    assert roll_back(conn, "landcover", "bob") == models(conn, "landcover")[-1]
    assert roll_back(conn, "landcover", "bob") is None
    with pytest.raises(ModelError, match="the package's own weights"):
        roll_back(conn, "landcover", "bob")
    assert champion(conn, "sam3") is not None


def test_what_is_refused(conn: Connection) -> None:
    number = register_model(conn, facts("a" * 64), "ann")
    with pytest.raises(ModelError, match=f"already, as model {number}"):
        register_model(conn, facts("a" * 64), "bob")
    with pytest.raises(ModelError, match="name the person"):
        register_model(conn, facts("b" * 64), " ")
    with pytest.raises(ModelError, match="no model 999"):
        promote(conn, 999, "ann")
    promote(conn, number, "ann", despite_gate=WHY)
    with pytest.raises(ModelError, match="champion of landcover already"):
        promote(conn, number, "ann")
    with pytest.raises(DBAPIError), conn.begin_nested():
        conn.execute(text("DELETE FROM lotline.model_promotion"))


@dataclass
class Command:
    """`lotline models` over a database, with a home of its own."""

    home: Path
    database: Database

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(lotline, ["models", *words])

    def added(self, folder: Path, *words: str) -> int:
        done = self("add", str(folder), "--by", "ann", *words)
        assert done.exit_code == 0, done.output
        number = re.search(r"model (\d+): ", done.output)  # beside the log of the S3 server
        assert number, done.output
        return int(number[1])

    def batch(self, registry: Path, limit: int) -> str | None:
        """Run a batch; the weights of its run."""
        settings = Settings(database_url=self.database.url, home=self.home)
        request = BatchRequest(
            KEY, registry=registry, segmenter="landcover", limit=limit, again=True
        )
        run_batch(request, settings)
        with self.database.engine.connect() as conn:
            query = "SELECT weights_sha256 FROM lotline.run ORDER BY id DESC LIMIT 1"
            found: str | None = conn.execute(text(query)).scalar_one()
        return found


@pytest.fixture
def command(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))
    return Command(tmp_path / "home", database)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """The package's weights with another temperature: other files, other answers."""
    root = tmp_path_factory.mktemp("weights")

    def made(change: float) -> Path:
        folder = root / str(change)
        if not folder.exists():
            weights = load_landcover()
            bias = weights.network.head.bias
            assert bias is not None
            bias.data += change
            folder.mkdir()
            save_landcover(weights.network, replace(weights.config, temperature=1.3), folder)
        return folder

    return made


def test_the_champion_is_published_for_workers_without_the_database(
    command: Command, trained: Callable[[float], Path], s3_bucket: str
) -> None:
    where = f"{s3_bucket}/workers/champions/landcover.json"
    assert command("publish", "--to", f"{s3_bucket}/workers").exit_code == 0
    assert read_champion(where, "landcover") is None  # the package's own weights
    number = command.added(trained(0.02))
    assert command("promote", str(number), "--by", "ann", "--despite-gate", WHY).exit_code == 0
    done = command("publish", "landcover", "--to", f"{s3_bucket}/workers")
    assert done.exit_code == 0, done.output
    assert f"LOTLINE_CHAMPION={where}" in done.output
    found = read_champion(where, "landcover")
    assert found is not None
    segmenter = build_promoted(found, command.home / "on-a-worker")
    assert segmenter.weights_sha256 == load_landcover(trained(0.02)).sha256


def test_a_batch_uses_the_champion_until_it_is_taken_back(
    command: Command, trained: Callable[[float], Path], tmp_path: Path, s3_bucket: str
) -> None:
    made = sample.generate(tmp_path / "county", seed=5, lots=4)
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        f'counties:\n  {KEY}:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    own = load_landcover().sha256
    assert command.batch(registry, 1) == own
    new = load_landcover(trained(0.01)).sha256
    number = command.added(trained(0.01), "--to", f"{s3_bucket}/weights")
    assert command.batch(registry, 1) == own  # a candidate is not used
    promoted = command(
        "promote", str(number), "--by", "ann", "--reason", "fewer", "--despite-gate", WHY
    )
    assert promoted.exit_code == 0, promoted.output
    assert command.batch(registry, 1) == new
    assert (command.home / "models" / new / "model.safetensors").is_file()
    # A damaged copy on this machine is fetched again.
    (command.home / "models" / new / "model.safetensors").write_bytes(b"damaged")
    assert command.batch(registry, 1) == new
    back = command("rollback", "--by", "bob")
    assert "landcover uses the package's own weights" in back.output
    assert command.batch(registry, 1) == own


def test_list_and_show_tell_what_is_used(
    command: Command, trained: Callable[[float], Path]
) -> None:
    one, two = command.added(trained(0.01)), command.added(trained(0.02), "--note", "dry lawns")
    assert "was not judged" in str(command("promote", str(two)).exception)
    assert command("promote", str(two), "--despite-gate", WHY).exit_code == 0
    listed: list[Any] = json.loads(command("list", "--json").output)
    assert [(each["id"], each["state"]) for each in listed] == [
        (two, "champion"), (one, "candidate"),
    ]  # fmt: skip
    assert "champion" in command("list").output
    shown = command("show", str(two)).output
    assert "dry lawns" in shown
    assert load_landcover(trained(0.02)).sha256 in shown
    again = command("add", str(trained(0.01)))
    assert f"already, as model {one}" in str(again.exception)


def test_weights_that_cannot_be_used_are_not_promoted(
    command: Command, trained: Callable[[float], Path], tmp_path: Path
) -> None:
    number = command.added(trained(0.01), "--to", str(tmp_path / "stored"))
    [stored] = (tmp_path / "stored").rglob("model.safetensors")
    stored.write_bytes(stored.read_bytes()[:-1])
    done = command("promote", str(number))
    assert isinstance(done.exception, ModelError)
    assert "is not what was registered" in str(done.exception)
    with command.database.engine.connect() as conn:
        assert champion(conn, "landcover") is None


def test_a_folder_that_has_no_weights(command: Command, tmp_path: Path) -> None:
    done = command("add", str(tmp_path))
    assert isinstance(done.exception, ModelError)
    assert "has no .safetensors file" in str(done.exception)


def test_a_checkpoint_must_be_proven(
    command: Command, trained: Callable[[float], Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    shutil.copytree(trained(0.01), checkpoint / "weights")
    (tmp_path / "run" / "run.json").write_text('{"task": "landcover-decoder"}')
    (tmp_path / "run" / "weights").symlink_to(checkpoint / "weights")
    done = command("add", str(tmp_path / "run"))
    assert "counts only when it is proven" in str(done.exception)
    proof = {"proven": True, "weights_sha256": "other", "score": 0.7, "figures": {"lawn": 0.7}}
    (checkpoint / "proof.json").write_text(json.dumps(proof))
    assert "was changed after" in str(command("add", str(tmp_path / "run")).exception)
    proof["weights_sha256"] = load_landcover(trained(0.01)).sha256
    (checkpoint / "proof.json").write_text(json.dumps(proof))
    number = command.added(tmp_path / "run")
    [found] = json.loads(command("list", "--json").output)
    assert (found["id"], found["tier"], found["metrics"]["score"]) == (
        number, "landcover-decoder", 0.7,
    )  # fmt: skip

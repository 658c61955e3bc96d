"""An exported model: a STAC item of the extension MLM, and files that others can register."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from registered import landcover_folder
from sqlalchemy import text

from detection.segmenters.landcover.weights import load_landcover
from pipeline.cli.app import lotline
from pipeline.errors import ModelError
from pipeline.store.database import Database
from pipeline.store.models.model_files import files_in, store_files
from pipeline.store.models.versions import ModelFacts, models, register_model

Models = Callable[..., Result]
SETTINGS = {"task": "landcover-decoder", "recipe_settings": {"steps": 400, "learning_rate": 1e-3}}
METRICS = {"score": 0.712, "figures": {"lawn": 0.66, "roof": 0.81}}


@pytest.fixture
def command(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("LOTLINE_HOME", str(tmp_path / "home"))
    return lambda *words: CliRunner().invoke(lotline, ["models", *map(str, words)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landcover_folder(tmp_path_factory.mktemp("weights") / "new", 0.01, 1)


@pytest.fixture
def number(database: Database, weights: Path, tmp_path: Path) -> int:
    files, sha256 = files_in(weights), load_landcover(weights).sha256
    stored = store_files(str(tmp_path / "stored"), sha256, files)
    facts = ModelFacts(
        "landcover", sha256, str(tmp_path / "stored"), stored, "landcover-decoder", "b" * 64,
        "d" * 64, SETTINGS, METRICS, "dry lawns",
    )  # fmt: skip
    with database.engine.begin() as conn:
        return register_model(conn, facts, "ann")


def _item(folder: Path) -> Any:
    return json.loads((folder / "item.json").read_text())


def test_the_item_names_base_data_files_input_and_output(
    command: Models, number: int, tmp_path: Path, weights: Path
) -> None:
    done = command("export", number, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "lotline models add" in done.output
    item = _item(tmp_path / "out")
    properties = item["properties"]
    assert item["stac_extensions"][0].startswith("https://stac-extensions.github.io/mlm/v1.")
    # What MLM requires of an item, of its input and output, and of a model's asset.
    for name in ("name", "architecture", "tasks", "input", "output"):
        assert properties[f"mlm:{name}"], name
    [given] = properties["mlm:input"]
    assert given["bands"] == ["red", "green", "blue", "nir"]
    assert [each["name"] for each in properties["bands"]] == given["bands"]
    assert given["value_scaling"] == [{"type": "z-score", "mean": 127.5, "stddev": 127.5}]
    [made] = properties["mlm:output"]
    for each in (given["input"], made["result"]):
        assert len(each["shape"]) == len(each["dim_order"]) == 4
        assert each["data_type"] == "float32"
    assert [each["name"] for each in made["classification:classes"]][1] == "lawn"
    assert (properties["gsd"], properties["license"]) == (0.2, "Apache-2.0")
    low_m, high_m = properties["lotline:gsd_range_m"]
    assert low_m < properties["gsd"] < high_m
    assert {link["href"] for link in item["links"]} == {
        f"urn:sha256:{'b' * 64}", f"urn:sha256:{'d' * 64}",
    }  # fmt: skip
    assert properties["lotline:state"] == "candidate"
    model = item["assets"]["model.safetensors"]
    assert {"mlm:model", "mlm:weights"} <= set(model["roles"])
    assert model["mlm:artifact_type"] == "safetensors.torch.save_file"
    content = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert content == (weights / "model.safetensors").read_bytes()
    assert model["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
    assert model["file:size"] == len(content)
    again = command("export", number, "--to", tmp_path / "out")
    assert "is not empty" in str(again.exception)
    own = command("export", number, "--to", tmp_path / "own", "--license", "CC-BY-4.0")
    assert own.exit_code == 0
    assert _item(tmp_path / "own")["properties"]["license"] == "CC-BY-4.0"


def test_another_database_registers_it_with_all_that_was_known(
    command: Models, number: int, tmp_path: Path, database: Database
) -> None:
    assert command("export", number, "--to", tmp_path / "out").exit_code == 0
    with database.engine.begin() as conn:
        [before] = models(conn)
        # As in another installation: nothing is registered.
        conn.execute(text("ALTER TABLE lotline.model DISABLE TRIGGER model_append_only"))
        conn.execute(text("DELETE FROM lotline.model"))
    added = command("add", tmp_path / "out", "--by", "bob")
    assert added.exit_code == 0, added.output
    with database.engine.connect() as conn:
        [after] = models(conn)
    assert after.created_by == "bob"
    changed = {"address"}
    for name in ModelFacts.__dataclass_fields__.keys() - changed:
        assert getattr(after.facts, name) == getattr(before.facts, name), name
    listed = command("list").output
    assert "score 0.712  lawn 0.660  roof 0.810" in listed
    assert "candidate" in listed
    assert "landcover has no champion: it uses the package's own weights" in listed


def _remove(folder: Path) -> None:
    (folder / "config.json").unlink()


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _add_file(folder: Path) -> None:
    (folder / "run.py").write_text("print('hello')")


def _change(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        item = _item(folder)
        change(item)
        (folder / "item.json").write_text(json.dumps(item))

    return changed


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_remove, "is missing"),
        (_cut, "was changed after it was exported"),
        (_add_file, "is not in the item"),
        (lambda folder: (folder / "item.json").write_text("{"), "is not the item"),
        (lambda folder: (folder / "item.json").write_text("[]"), "is not the item"),
        (_change(lambda item: item["properties"].pop("lotline:tier")), "is not the item"),
        (_change(lambda item: item.update(stac_extensions=[])), "no fields of the STAC"),
        (
            _change(lambda item: item["properties"].update({"lotline:weights_sha256": "0" * 64})),
            "its item is of 000000000000",
        ),
        (
            _change(lambda item: item["properties"].update({"lotline:segmenter": "sam3"})),
            "has weights of sam3",
        ),
        (
            _change(lambda item: item["assets"]["config.json"].update({"file:checksum": "12"})),
            "is not the item",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_was_changed_is_refused(
    damage: Callable[[Path], None], why: str, command: Models, number: int, tmp_path: Path
) -> None:
    assert command("export", number, "--to", tmp_path / "out").exit_code == 0
    damage(tmp_path / "out")
    refused = command("add", tmp_path / "out")
    assert isinstance(refused.exception, ModelError)
    assert why in str(refused.exception)

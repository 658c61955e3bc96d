"""Click to mask is answered by the champion of now, and by the last good one if that fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import shapely
from registered import (
    KEY,
    TINY,
    Registered,
    little_county,
    pickled,
    sam3_base,
    write_delta,
)
from safetensors.torch import load_file, save_file
from servers.panel import panel
from sqlalchemy import text

from detection.segmenters import build_segmenter
from pipeline import BatchRequest, run_batch
from pipeline.settings import Settings
from pipeline.store.database import Database


def _weights(folder: Path, scale: float) -> Path:
    """sam3-tiny's network with one tensor scaled."""
    folder.mkdir(parents=True)
    shutil.copy(TINY / "config.json", folder)
    state = load_file(TINY / "model.safetensors")
    name = next(each for each in sorted(state) if each.endswith("layer_norm.bias"))
    state[name] = (state[name] * scale).contiguous()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_county(tmp_path_factory.mktemp("county"))


class Clicks:
    """A reviewer who clicks on one roof."""

    def __init__(self, address: str, session: requests.Session, database: Database) -> None:
        self._address, self._session = address, session
        query = text(
            "SELECT property_fk, ST_AsBinary(geom) AS geom FROM lotline.detection "
            "WHERE label = 'roof' ORDER BY area_m2 DESC LIMIT 1"
        )
        with database.engine.connect() as conn:
            roof = conn.execute(query).one()
        point = shapely.point_on_surface(shapely.from_wkb(roof.geom))
        self._body = {"property_key": roof.property_fk, "label": "roof"}
        self._body["point"] = (point.x, point.y)

    def click(self) -> Any:
        return self._session.post(f"{self._address}/v1/review/masks", json=self._body, timeout=120)

    def weights(self) -> str:
        answer = self.click()
        assert answer.status_code == 200, answer.text
        assert answer.json()["area_m2"] > 10
        found: str = answer.json()["weights_sha256"]
        return found


@contextmanager
def session_of(
    database: Database, registry: Path, home: Path, sam3_weights: str | None = None
) -> Iterator[tuple[str, requests.Session]]:
    with (
        panel(database, home, registry, sam3_weights) as address,
        requests.Session() as session,
    ):
        csrf = session.get(f"{address}/session", timeout=60).json()["csrf"]
        session.headers["X-CSRF-Token"] = csrf
        yield address, session


@pytest.fixture
def panel_session(
    database: Database, registry: Path, tmp_path: Path
) -> Iterator[tuple[str, requests.Session]]:
    with session_of(database, registry, tmp_path) as found:
        yield found


def test_clicks_are_answered_by_the_champion_of_now(
    database: Database,
    registry: Path,
    tmp_path: Path,
    panel_session: tuple[str, requests.Session],
) -> None:
    registered = Registered(database, tmp_path / "stored")
    folders = [_weights(tmp_path / name, scale) for name, scale in (("one", 1.0), ("two", 1.001))]
    one, two = (build_segmenter("sam3", str(each)).weights_sha256 for each in folders)
    assert one is not None
    assert two is not None
    request = BatchRequest(
        KEY, registry=registry, segmenter="sam3", weights=str(folders[0]), limit=3, labels=("roof",)
    )
    run_batch(request, Settings(database_url=database.url, home=tmp_path))
    clicks = Clicks(*panel_session, database)
    numbers = [
        registered.add(folder, sha256, "sam3")
        for folder, sha256 in zip(folders, (one, two), strict=True)
    ]
    registered.promote(numbers[0])
    assert clicks.weights() == one
    registered.promote(numbers[1])
    assert clicks.weights() == two, "also where the first one measured"
    bad = registered.add(pickled(tmp_path / "canary"), name="sam3")
    registered.promote(bad)
    assert clicks.weights() == two, "the last good one goes on"
    assert not (tmp_path / "canary").exists()


def test_a_promoted_delta_is_put_on_the_base_that_the_panel_is_given(
    database: Database, registry: Path, tmp_path: Path
) -> None:
    registered = Registered(database, tmp_path / "stored")
    base = sam3_base(tmp_path / "base")
    delta = write_delta(str(base), tmp_path / "delta")
    own = build_segmenter("sam3", str(base)).weights_sha256
    sha256 = build_segmenter("sam3", f"{base}{os.pathsep}{delta}").weights_sha256
    assert own is not None
    assert sha256 is not None
    request = BatchRequest(
        KEY, registry=registry, segmenter="sam3", weights=str(base), limit=3, labels=("roof",)
    )
    run_batch(request, Settings(database_url=database.url, home=tmp_path))
    with session_of(database, registry, tmp_path, str(base)) as session:
        clicks = Clicks(*session, database)
        assert clicks.weights() == own
        number = registered.add_delta(delta, sha256, "sam3")
        registered.promote_with(number, {"pool": 0.4}, "sam3")
        assert clicks.weights() == sha256
        registered.roll_back("sam3")
        assert clicks.weights() == own
    # BASE:DELTA is what is used, whatever is promoted.
    named = write_delta(str(base), tmp_path / "named", 4e-3)
    named_sha256 = build_segmenter("sam3", f"{base}{os.pathsep}{named}").weights_sha256
    exact = f"{base}{os.pathsep}{named}"
    run_batch(
        BatchRequest(
            KEY, registry=registry, segmenter="sam3", weights=exact, limit=3, labels=("roof",),
            again=True,
        ),
        Settings(database_url=database.url, home=tmp_path),
    )  # fmt: skip
    registered.promote(number)
    with session_of(database, registry, tmp_path, exact) as session:
        assert Clicks(*session, database).weights() == named_sha256

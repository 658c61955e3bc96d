"""The embedded database is killed during a batch: the batch restarts it, and completes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from detection import sample
from pipeline import BatchRequest, run_batch
from pipeline.batch.engines import local
from pipeline.batch.request import NoProgress
from pipeline.settings import Settings
from pipeline.store.database import open_database

LOTS = 12

FOUND = text("""
SELECT p.property_id, p.state, p.reason, p.attempts, d.label, d.state, ST_AsText(d.geom), m.area_m2
FROM lotline.property p
LEFT JOIN lotline.detection d ON d.property_fk = p.id
LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.current AND m.label = d.label
WHERE p.county = :county ORDER BY p.property_id, d.fingerprint
""")


class KillsServer(NoProgress):
    """Kills the server when the first lots are written."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.killed_pid = 0

    def advance(self, count: int) -> None:  # noqa: ARG002 - as `Progress` has it
        if self.killed_pid:
            return
        [pid_file] = self.home.rglob("postmaster.pid")
        server = psutil.Process(int(pid_file.read_text().split()[0]))
        server.kill()
        server.wait(60)
        self.killed_pid = server.pid


def test_a_batch_survives_a_killed_database_server(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MAX_LOTS_PER_WRITE", 1)  # so that more is written after the kill
    monkeypatch.setattr(local, "MAX_WRITE_DELAY_S", 0.0)
    made = sample.generate(tmp_path / "county", seed=5, lots=LOTS)
    entry = (
        f'    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    registry = tmp_path / "registry.yaml"
    registry.write_text(f"counties:\n  killed:\n{entry}  clean:\n{entry}")
    settings = Settings(database_url=None, home=open_folder)

    killer = KillsServer(open_folder)
    killed = run_batch(
        BatchRequest("killed", registry=registry, segmenter="spectral"), settings, killer
    )
    clean = run_batch(BatchRequest("clean", registry=registry, segmenter="spectral"), settings)

    assert killer.killed_pid
    assert killed.processed == clean.processed
    with open_database(None, open_folder) as opened, opened.engine.connect() as conn:
        rows: dict[str, list[Any]] = {
            county: conn.execute(FOUND, {"county": county}).all() for county in ("killed", "clean")
        }
    assert rows["killed"] == rows["clean"]
    assert len({row.property_id for row in rows["killed"]}) >= LOTS

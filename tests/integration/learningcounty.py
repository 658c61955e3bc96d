"""A measured county that a reviewer who knows the truth corrects, and `lotline learn` on it."""

from __future__ import annotations

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
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.models.versions import models
from pipeline.store.reviews import full_reviews, verdicts

KEY = "little"
LOTS = 12
# A gate for a dozen lots.
FEW_LOTS = ("--gate", "min_lots=4", "--gate", "min_blocks=3")


@dataclass
class LearningCounty:
    """The command over a database with a county that is to be reviewed."""

    database: Database
    registry: Path
    home: Path
    made: SampleCounty
    segmenter: str
    labels: tuple[str, ...]

    @classmethod
    def measured(
        cls,
        place: tuple[Path, SampleCounty],
        database: Database,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        segmenter: str,
        labels: tuple[str, ...],
    ) -> LearningCounty:
        registry, made = place
        monkeypatch.setenv("DATABASE_URL", database.url)
        monkeypatch.setenv("LOTLINE_HOME", str(home))
        county = cls(database, registry, home, made, segmenter, labels)
        request = BatchRequest(KEY, registry=registry, segmenter=segmenter, labels=labels)
        run_batch(request, Settings(database_url=database.url, home=home))
        return county

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(lotline, list(words))

    def learn(self, *words: str) -> Result:
        return self(
            "learn", "--segmenter", self.segmenter, "--registry", str(self.registry), "--by", "ann",
            *words,
        )  # fmt: skip

    def run(self, statement: str, **values: object) -> list[Any]:
        with self.database.engine.begin() as conn:
            result = conn.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def batch(self) -> str:
        """Measure the county again; the weights of the run."""
        request = BatchRequest(
            KEY, registry=self.registry, segmenter=self.segmenter, again=True, labels=self.labels,
            limit=1,
        )  # fmt: skip
        run_batch(request, Settings(database_url=self.database.url, home=self.home))
        return str(self.run("SELECT weights_sha256 FROM lotline.run ORDER BY id DESC")[0][0])

    def correct(self, properties: Sequence[int] | None = None) -> None:
        """Every detection is rejected, and what is there is drawn."""
        truth = geopandas.read_file(self.made.truth).to_crs("EPSG:4326")
        rows = self.run(
            "SELECT p.id, b.parcel_ids[1] AS parcel FROM lotline.property p "
            "JOIN lotline.boundary b ON b.id = p.boundary_fk "
            "WHERE p.state = 'done' AND b.source = 'lot' ORDER BY p.id"
        )
        with self.database.engine.begin() as conn:
            for row in rows if properties is None else [rows[i] for i in properties]:
                query = text(
                    "SELECT id FROM lotline.detection "
                    "WHERE property_fk = :id AND state = 'proposed'"
                )
                for detection in conn.execute(query, {"id": row.id}).scalars().all():
                    verdicts.reject(conn, detection, "ann")
                own = truth[(truth.parcel_id == row.parcel) & truth.label.isin(self.labels)]
                for each in own.itertuples():
                    for part in shapely.get_parts(each.geometry):
                        if part.area * 1e10 > 5:  # about 5 m²
                            verdicts.add(conn, row.id, "ann", each.label, part)
                full_reviews.mark_fully_reviewed(conn, row.id, "ann")

    def export(self) -> None:
        """The first export decides how the ground is divided."""
        done = self(
            "corrections", "export", "--to", str(self.home / "corrections"),
            "--registry", str(self.registry), "--block-m", "30", "--test", "0.5",
            "--validation", "0.2", "--seed", "5",
        )  # fmt: skip
        assert done.exit_code == 0, done.output

    def registered(self) -> list[int]:
        with self.database.engine.connect() as conn:
            return [each.id for each in models(conn, self.segmenter)][::-1]


def make_place(folder: Path) -> tuple[Path, SampleCounty]:
    """The registry, and the county."""
    made = sample.generate(folder / "county", seed=7, lots=LOTS)
    registry = folder / "registry.yaml"
    registry.write_text(
        f'counties:\n  {KEY}:\n    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    return registry, made

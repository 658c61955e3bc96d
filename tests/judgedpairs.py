"""Reviewed lots of a synthetic county as an export has them, without a database: truth is exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import shapely

from detection import sample
from detection.clip import LotLines
from detection.county_settings import open_county_imagery
from detection.detector import Detector
from detection.registry.county import DetectionCounty
from detection.segmenters.interface import Segmenter
from parcels import load_registry
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal
from pipeline.learning.coco_file import coco_document
from pipeline.learning.corrections_manifest import CorrectionsManifest, write_manifest
from pipeline.learning.export_files import ExportFiles
from pipeline.learning.pair_builder import BuiltPair, PairSource, build_pairs, chips_of, view_of
from pipeline.learning.spatial_split import SPLITS, Split, block_of
from pipeline.store.objects.folder_or_bucket import ObjectStore
from pipeline.store.reads.fully_reviewed import AcceptedObject, ReviewedProperty

KEY = "little"
LABELS = ("lawn", "tree", "roof", "driveway", "pool")
BLOCK_M = 30.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ReviewedCounty:
    """The lots of a synthetic county, each with the exact outlines of its labels."""

    folder: Path
    county: DetectionCounty
    lots: Sequence[ReviewedProperty]

    @classmethod
    def generate(
        cls, folder: Path, lots: int, seed: int = 7, segmenter: str = "landcover-1"
    ) -> ReviewedCounty:
        made = sample.generate(folder / "county", seed=seed, lots=lots)
        registry = folder / "registry.yaml"
        registry.write_text(
            f"counties:\n  {KEY}:\n    path: {made.parcels}\n"
            f'    imagery: {{path: "{made.imagery}"}}\n'
        )
        county = load_registry(registry, DetectionCounty).county(KEY)
        parcels = geopandas.read_file(made.parcels).to_crs("EPSG:4326")
        truth = geopandas.read_file(made.truth).to_crs("EPSG:4326")
        column = next(name for name in parcels.columns if name.lower() in ("parcel_id", "apn"))
        reviewed = []
        for number, row in enumerate(parcels.itertuples(), start=1):
            parcel_id = str(getattr(row, column))
            outline = polygonal(row.geometry)
            own = truth[(truth.parcel_id.astype(str) == parcel_id) & truth.label.isin(LABELS)]
            objects = [
                AcceptedObject(number * 1000 + place, each.label, 1, part)
                for place, (each, part) in enumerate(
                    (each, part)
                    for each in own.itertuples()
                    for part in shapely.get_parts(each.geometry)
                )
            ]
            reviewed.append(_reviewed(number, parcel_id, outline, objects, segmenter))
        return cls(folder, county, reviewed)

    def as_found_by(self, segmenter: Segmenter) -> ReviewedCounty:
        """The same lots, where people accepted what a segmenter finds."""
        results = Detector.for_county(self.county, segmenter, LABELS).detect(
            [found.boundary for found in self.lots]
        )
        lots = []
        for found, result in zip(self.lots, results, strict=True):
            objects = tuple(
                AcceptedObject(found.key * 1000 + place, each.label, 1, each.geometry)
                for place, each in enumerate(result.detections)
            )
            lots.append(replace(found, objects=objects))
        return ReviewedCounty(self.folder, self.county, lots)

    def export(
        self,
        objects: ObjectStore,
        split_of: Callable[[int], Split] = lambda _: "test",
        lots: Sequence[ReviewedProperty] | None = None,
    ) -> CorrectionsManifest:
        """Write the pairs and their manifest; the lots' numbers say their splits."""
        files, imagery = ExportFiles(objects), open_county_imagery(self.county)
        built: list[BuiltPair] = []
        chips = None
        for found in self.lots if lots is None else lots:
            source = PairSource(found, view_of(found, None), LotLines())
            chips = chips or chips_of(source, imagery)
            block = block_of(found.boundary.geometry, BLOCK_M)
            built += [
                BuiltPair(
                    each.pair.model_copy(update={"split": split_of(found.key), "block": block}),
                    each.objects,
                )
                for each in build_pairs(source, chips, files.store)
            ]
        own = {each.pair.id: each.objects for each in built}
        pairs = [each.pair for each in built]
        coco = {
            split: files.store(
                "coco",
                coco_document([p for p in pairs if p.split == split], own, LABELS),
                ".json",
            )
            for split in SPLITS
            if any(pair.split == split for pair in pairs)
        }
        manifest = CorrectionsManifest(
            lotline="0", created_at=NOW, block_m=BLOCK_M, validation=0.2, test=0.2, seed=0,
            coco=coco, pairs=tuple(pairs),
        )  # fmt: skip
        write_manifest(objects, manifest)
        return manifest


def _reviewed(
    number: int,
    parcel_id: str,
    outline: shapely.MultiPolygon,
    objects: Sequence[AcceptedObject],
    segmenter: str,
) -> ReviewedProperty:
    boundary = Boundary(outline, "lot", area_m2(outline), "parcel_id", "county", (parcel_id,))
    return ReviewedProperty(
        number, KEY, parcel_id, boundary, number, "ann", NOW, LABELS, None,
        tuple((label, segmenter, None, None) for label in LABELS), False, tuple(objects), (),
    )  # fmt: skip

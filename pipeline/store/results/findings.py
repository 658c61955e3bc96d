"""The findings of a chunk: its new detections, deduplicated by fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import shapely

from detection.results import Detection
from pipeline.store.results.outcomes import Processed, RunInfo


@dataclass(frozen=True, slots=True)
class Finding:
    """A detection that is not stored yet.

    Attributes:
        fingerprint: SHA-256 of the boundary version, chip, segmenter, weights, label, prompt and
            geometry: the same inference on a lot has the same fingerprints.
        wkb: the geometry as WKB.
        count: number of equal detections; areas and score are those of the last one.
    """

    property_fk: int
    detection: Detection
    fingerprint: str
    wkb: bytes
    count: int


def collect_findings(run: RunInfo, lots: Sequence[Processed]) -> list[Finding]:
    """The findings of imaged lots, in the order of the lots."""
    geometries = [detection.geometry for lot in lots for detection in lot.result.detections]
    wkb = iter(shapely.to_wkb(geometries, byte_order=1))
    return [finding for lot in lots for finding in _lot_findings(run, lot, wkb)]


def _lot_findings(run: RunInfo, lot: Processed, wkb: Iterator[bytes]) -> Iterator[Finding]:
    chip = lot.result.chip
    assert chip is not None  # noqa: S101 (the lot is imaged; for the type checker)
    provenance = (lot.boundary.version, chip.sha256, run.segmenter, run.weights_sha256 or "")
    unique: dict[str, tuple[Detection, bytes]] = {}
    counts: Counter[str] = Counter()
    for detection in lot.result.detections:
        outline = next(wkb)
        digest = hashlib.sha256(repr((*provenance, detection.label, detection.prompt)).encode())
        digest.update(outline)
        fingerprint = digest.hexdigest()
        unique[fingerprint] = detection, outline
        counts[fingerprint] += 1
    for fingerprint, (detection, outline) in unique.items():
        yield Finding(lot.property_fk, detection, fingerprint, outline, counts[fingerprint])

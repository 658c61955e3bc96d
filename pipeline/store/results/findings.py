"""The findings of a chunk: its new detections, deduplicated by fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import shapely
from shapely import MultiPolygon

from detection.results import Detection
from parcels.measure import area_m2
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


def with_geometry(
    run: RunInfo, lot: Processed, finding: Finding, geometry: MultiPolygon
) -> Finding:
    """The finding with a part of its geometry: its areas and fingerprint are of that part.

    The whole area stays that of the object.
    """
    old, outline = finding.detection, shapely.to_wkb(geometry, byte_order=1)
    left_m2 = clipped_m2 = area_m2(geometry)
    if old.clipped_area_m2 < old.area_m2:  # a discrete object that crosses the lot line
        inside_m2 = area_m2(shapely.intersection(geometry, lot.boundary.geometry))
        clipped_m2 = min(inside_m2, old.clipped_area_m2)
    new = replace(old, geometry=geometry, area_m2=left_m2, clipped_area_m2=clipped_m2)
    fingerprint = _fingerprint(_provenance(run, lot), new, outline)
    return replace(finding, detection=new, fingerprint=fingerprint, wkb=outline)


def _lot_findings(run: RunInfo, lot: Processed, wkb: Iterator[bytes]) -> Iterator[Finding]:
    provenance = _provenance(run, lot)
    unique: dict[str, tuple[Detection, bytes]] = {}
    counts: Counter[str] = Counter()
    for detection in lot.result.detections:
        outline = next(wkb)
        fingerprint = _fingerprint(provenance, detection, outline)
        unique[fingerprint] = detection, outline
        counts[fingerprint] += 1
    for fingerprint, (detection, outline) in unique.items():
        yield Finding(lot.property_fk, detection, fingerprint, outline, counts[fingerprint])


def _provenance(run: RunInfo, lot: Processed) -> tuple[str, ...]:
    chip = lot.result.chip
    assert chip is not None  # noqa: S101 (the lot is imaged; for the type checker)
    return (lot.boundary.version, chip.sha256, run.segmenter, run.weights_sha256 or "")


def _fingerprint(provenance: tuple[str, ...], detection: Detection, outline: bytes) -> str:
    digest = hashlib.sha256(repr((*provenance, detection.label, detection.prompt)).encode())
    digest.update(outline)
    return digest.hexdigest()

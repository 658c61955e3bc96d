"""What was found on the lots of a chunk, each thing once and with its fingerprint."""

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
    """A detection on its way into the database.

    Attributes:
        fingerprint: SHA-256 of all that makes it what it is: the same look at a lot finds the
            same.
        wkb: of its geometry.
        count: how often it was found; the areas and the score are those of the last.
    """

    property_fk: int
    detection: Detection
    fingerprint: str
    wkb: bytes
    count: int


def collect_findings(run: RunInfo, lots: Sequence[Processed]) -> list[Finding]:
    """The findings of imaged lots, in their order."""
    every = [detection.geometry for lot in lots for detection in lot.result.detections]
    wkb = iter(shapely.to_wkb(every, byte_order=1))
    return [finding for lot in lots for finding in _of_lot(run, lot, wkb)]


def _of_lot(run: RunInfo, lot: Processed, wkb: Iterator[bytes]) -> Iterator[Finding]:
    chip = lot.result.chip
    assert chip is not None  # noqa: S101 (the lot is imaged; for the type checker)
    look = (lot.boundary.version, chip.sha256, run.segmenter, run.weights_sha256 or "")
    once: dict[str, tuple[Detection, bytes]] = {}
    times: Counter[str] = Counter()
    for detection in lot.result.detections:
        outline = next(wkb)
        digest = hashlib.sha256(repr((*look, detection.label, detection.prompt)).encode())
        digest.update(outline)
        fingerprint = digest.hexdigest()
        once[fingerprint] = detection, outline
        times[fingerprint] += 1
    for fingerprint, (detection, outline) in once.items():
        yield Finding(lot.property_fk, detection, fingerprint, outline, times[fingerprint])

"""The manifest of an export: its pairs, and the files that they have. It is written last.

A manifest is named by its content and never changed; `manifest.json` is a copy of the newest. What
no manifest names was left by an export that did not end, and may be removed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ManifestError
from pipeline.learning.pair import Pair, StoredFile
from pipeline.learning.spatial_split import SPLITS, Split
from pipeline.store.objects.folder_or_bucket import ObjectStore

FORMAT: Final = 1
NEWEST: Final = "manifest.json"
MANIFESTS: Final = "manifests/"


class CorrectionsManifest(BaseModel):
    """The pairs of an export.

    Attributes:
        block_m, validation, test, seed: as `SplitRule`.
        coco: by split.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    lotline: str
    created_at: datetime
    block_m: float
    validation: float
    test: float
    seed: int
    coco: dict[Split, StoredFile]
    pairs: tuple[Pair, ...]

    def of_split(self, split: Split) -> list[Pair]:
        """The pairs of a split."""
        return [pair for pair in self.pairs if pair.split == split]

    def counts(self) -> dict[Split, int]:
        """The number of pairs by split."""
        return {split: len(self.of_split(split)) for split in SPLITS}


def read_newest(objects: ObjectStore) -> CorrectionsManifest | None:
    """The newest manifest of a store; None before the first export.

    Raises:
        ManifestError: it is damaged, or of a later version of Lotline.
        ObjectStoreError: it cannot be read.
    """
    data = objects.get(NEWEST)
    return None if data is None else parse_manifest(data, f"{objects.address}/{NEWEST}")


def parse_manifest(data: bytes, where: str) -> CorrectionsManifest:
    """A manifest from its bytes.

    Raises:
        ManifestError: as `read_newest`.
    """
    try:
        manifest = CorrectionsManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ManifestError(
            f"{where} is not a manifest of `lotline corrections export` ({place}: {first['msg']}): "
            "export again into an empty folder"
        ) from error
    if manifest.format != FORMAT:
        raise ManifestError(
            f"{where} has format {manifest.format}, and this Lotline reads format {FORMAT}: "
            f"install Lotline {manifest.lotline} or later, or export again"
        )
    return manifest


def manifest_sha256(manifest: CorrectionsManifest) -> str:
    """The hash by which a manifest is named, and by which weights name what they learned from."""
    return hashlib.sha256(manifest.model_dump_json(indent=1).encode()).hexdigest()


def write_manifest(objects: ObjectStore, manifest: CorrectionsManifest) -> str:
    """Write a manifest under its hash, then as the newest; returns its SHA-256.

    Raises:
        ObjectStoreError: it cannot be written.
    """
    data = manifest.model_dump_json(indent=1).encode()
    digest = hashlib.sha256(data).hexdigest()
    objects.put(f"{MANIFESTS}{digest}.json", data)
    objects.put(NEWEST, data)
    return digest

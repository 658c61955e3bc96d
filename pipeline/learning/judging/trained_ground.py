"""Refuses to judge weights on ground that they learned from.

The weights name the manifest that they learned from by its hash. Its pairs of training and
validation (which chose the checkpoint) must share no property, no parcel, no ground and no block
with the lots that judge. A later manifest may have moved a block to the test: a lot of it was
drawn into the audit.
"""

from __future__ import annotations

from collections.abc import Sequence

from shapely.geometry import shape

from pipeline.errors import ManifestError, ModelError
from pipeline.learning.corrections_manifest import (
    MANIFESTS,
    CorrectionsManifest,
    manifest_sha256,
    parse_manifest,
)
from pipeline.learning.pair import Pair
from pipeline.learning.spatial_split import Place, Split, shared_lots
from pipeline.store.objects.folder_or_bucket import ObjectStore

_CURE = "train again on the newest manifest, or judge on the one of its training (--from)"
_SHOWN = 3


def training_manifest(
    objects: ObjectStore, data_sha256: str, option: str = "--from"
) -> CorrectionsManifest:
    """The manifest that weights learned from, by its hash.

    Args:
        option: of the command, that names the store; for the message.

    Raises:
        ModelError: it is not in this store.
        ManifestError, ObjectStoreError: it cannot be read.
    """
    key = f"{MANIFESTS}{data_sha256}.json"
    data = objects.get(key)
    if data is not None:
        return parse_manifest(data, f"{objects.address}/{key}")
    # An earlier version of Lotline wrote it with fewer fields: its name is another hash.
    for other in objects.listed(MANIFESTS):
        found = parse_manifest(objects.get(other) or b"", f"{objects.address}/{other}")
        if manifest_sha256(found) == data_sha256:
            return found
    raise ModelError(
        f"{objects.address}/{key} does not exist: it has the lots that the weights learned from, "
        "and without it nobody knows whether they are judged on them. Name the folder or bucket of "
        f"the training with {option}"
    )


def check_not_trained_on(
    trained: CorrectionsManifest, judged: CorrectionsManifest, split: Split = "test"
) -> None:
    """
    Raises:
        ModelError: lots of the split were trained on, or share ground or a block with such.
        ManifestError: the two were divided into blocks of different sizes or by different rules.
    """
    rule = ("block_m", "seed", "test", "validation")
    if any(getattr(trained, name) != getattr(judged, name) for name in rule):
        raise ManifestError(
            "the corrections that the weights learned from were divided by other blocks or "
            f"fractions than those that judge: {_CURE}"
        )
    learned = [pair for pair in trained.pairs if pair.split != split]
    own = judged.of_split(split)
    shared = sorted(_shared(learned, own))
    if shared:
        more = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
        raise ModelError(
            f"the weights learned from {len(shared)} of the lots that would judge them, or from "
            f"ground beside them in the same block ({', '.join(shared[:_SHOWN])}{more}): {_CURE}"
        )


def _shared(learned: Sequence[Pair], judged: Sequence[Pair]) -> set[str]:
    """The judged properties that the learned pairs touch."""
    names = {(pair.county, pair.property_id) for pair in learned}
    blocks = {pair.block for pair in learned}
    found = {
        pair.property_id
        for pair in judged
        if (pair.county, pair.property_id) in names or pair.block in blocks
    }
    both = [*learned, *judged]
    sides: dict[bool, Split] = {True: "train", False: "test"}
    splits = [sides[number < len(learned)] for number in range(len(both))]
    found |= {both[max(pair)].property_id for pair in shared_lots([*map(_place, both)], splits)}
    return found


def _place(pair: Pair) -> Place:
    ids = tuple(f"{pair.county}:{each}" for each in pair.parcel_ids)
    return Place(shape(pair.boundary), ids, pair.is_audited)

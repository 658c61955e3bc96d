"""Whether a round can train what its delta would be judged and used on: the champion's base."""

from __future__ import annotations

from sqlalchemy import Engine

from detection.segmenters import base_sha256
from pipeline.errors import LearningError
from pipeline.learning.rounds.tiers import LearningTier
from pipeline.store.models.versions import champion

_SHORT = 12


def check_base(engine: Engine, tier: LearningTier, sam3_weights: str | None) -> None:
    """Check that the base here is that of the champion: deltas of different bases do not compare.

    Args:
        sam3_weights: of the setting SAM3_WEIGHTS.

    Raises:
        LearningError: it is another one.
        SegmenterError: it cannot be read.
    """
    if not tier.has_deltas:
        return
    with engine.connect() as conn:
        now = champion(conn, tier.segmenter)
    if now is None or now.facts.base_sha256 is None:
        return
    here = base_sha256(tier.segmenter, sam3_weights)
    if here == now.facts.base_sha256:
        return
    where = "SAM3_WEIGHTS names" if tier.segmenter == "sam3" else "this version of Lotline has"
    cure = (
        "set SAM3_WEIGHTS to the weights that the champion is a delta of"
        if tier.segmenter == "sam3"
        else "install the version that the champion was trained with"
    )
    raise LearningError(
        f"model {now.id}, the champion of {tier.segmenter}, is a delta of the weights "
        f"{now.facts.base_sha256[:_SHORT]}, and {where} {here[:_SHORT]}: {cure}, or go back with "
        f"`lotline models rollback {tier.segmenter}` and learn from these"
    )

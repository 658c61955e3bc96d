"""`--stale`: which weights a batch will have, and what others have measured before."""

from __future__ import annotations

from detection.county_labels import CountyLabels
from detection.segmenters import WITHOUT_WEIGHTS
from pipeline.batch.request import BatchRequest, Progress
from pipeline.batch.run_context import BuildSegmenter
from pipeline.errors import ModelError
from pipeline.open_county import OpenCounty
from pipeline.plurals import count_of
from pipeline.store.database import Database
from pipeline.store.models.promoted_segmenter import ChampionBuilder
from pipeline.store.queue.missing_labels import AskedLabels
from pipeline.store.queue.stale import StaleWeights, count_stale, older_weights


def weights_in_use(build: BuildSegmenter, request: BatchRequest) -> tuple[BuildSegmenter, str]:
    """The hash of the weights that a batch will have, and what builds its segmenter.

    Where no file says it, the segmenter is built to know it, and not built again.

    Raises:
        ModelError: the segmenter has no weights.
        SegmenterError: it cannot be built.
    """
    if request.segmenter in WITHOUT_WEIGHTS:
        raise ModelError(
            f"{request.segmenter} has no weights, so no measurement of it is stale: to repeat "
            "them, use --again (AGAIN=1)"
        )
    if isinstance(build, ChampionBuilder):
        return build, build.champions[0].facts.weights_sha256
    segmenter = build()
    if segmenter.weights_sha256 is None:
        raise ModelError(f"{segmenter.name} has no weights, so no measurement of it is stale")
    return build if request.engine == "ray" else lambda: segmenter, segmenter.weights_sha256


def stale_weights(
    database: Database,
    opened: OpenCounty,
    segmenter: str,
    weights_sha256: str,
    asked: AskedLabels | CountyLabels,
    progress: Progress,
) -> StaleWeights:
    """The weights whose measurements are to be repeated; says how many properties have some."""
    names = asked.names if isinstance(asked, AskedLabels) else tuple(asked.known)
    county = opened.county.key
    with database.engine.connect() as conn:
        stale = older_weights(conn, county, segmenter, weights_sha256, names)
        counts = count_stale(conn, county, segmenter, stale)
    for each in counts:
        model = "" if each.model is None else f" (model {each.model})"
        progress.message(
            f"weights {each.weights_sha256[:12]}{model} measured "
            f"{count_of(each.properties, 'properties')} of {opened.name}"
        )
    if not counts:
        progress.message(f"nothing of {opened.name} was measured by other weights")
    return stale


def check_weights(expected: str | None, found: str | None) -> None:
    """
    Raises:
        ModelError: the batch has not the weights for which stale properties were found.
    """
    if expected is not None and found != expected:
        raise ModelError(
            "the champion cannot be used, so nothing is measured again: `lotline models list` "
            "shows why; roll back or promote another"
        )

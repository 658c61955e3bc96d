"""The last stage of a batch: what became of properties is written, many in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from pipeline.batch.counters import Counters
from pipeline.batch.engine import Completed
from pipeline.batch.run_context import RunContext
from pipeline.batch.stages import PendingOutcome
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Outcome, Processed

# Many together cost little more than one; but what is found is not kept waiting for long, so that
# progress is seen, and a crash loses little.
MOST_LOTS = 500
WITHIN_S = 1.0


def write_outcomes(
    settling: Sequence[PendingOutcome], recipe: RunContext, engine: Engine, counters: Counters
) -> list[Completed]:
    """Write what became of properties that the run's owner leased; all or nothing of each.

    Raises:
        DBAPIError: the database could not be written to, and did not come back in time.
    """
    with counters.timer.stage("write"):
        written = writer.write(
            engine, recipe.run, [outcome for _, outcome in settling], recipe.owner
        )
    return [
        Completed(leased.property.property_id, written.get(leased.id), _note(outcome))
        for leased, outcome in settling
    ]


def _note(outcome: Outcome) -> str:
    # What is said of one without imagery has its boundary's note already.
    if isinstance(outcome, Processed) and outcome.is_imaged:
        return outcome.boundary.note
    return ""

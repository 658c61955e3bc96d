"""The last stage of a batch: write the outcomes of many lots in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from pipeline.batch.counters import Counters
from pipeline.batch.engine import Completed
from pipeline.batch.stage_context import StageContext
from pipeline.batch.stages import PendingOutcome
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Outcome, Processed

# Engines gather this many lots for a write, because a large transaction costs little more than a
# small one; but they wait no longer than this, so that progress shows and a crash loses little.
MAX_LOTS_PER_WRITE = 500
MAX_WRITE_DELAY_S = 1.0


def write_outcomes(
    outcomes: Sequence[PendingOutcome], context: StageContext, engine: Engine, counters: Counters
) -> list[Completed]:
    """Write the outcomes of properties that the run still leases; none is written in part.

    Raises:
        DBAPIError: the database could not be written to, after retries.
    """
    with counters.timer.stage("write"):
        written = writer.write(
            engine, context.run, [outcome for _, outcome in outcomes], context.owner
        )
    return [
        Completed(leased.property.property_id, written.get(leased.id), _note(outcome))
        for leased, outcome in outcomes
    ]


def _note(outcome: Outcome) -> str:
    # Without imagery the outcome's detail already contains the note.
    if isinstance(outcome, Processed) and outcome.is_imaged:
        return outcome.boundary.note
    return ""

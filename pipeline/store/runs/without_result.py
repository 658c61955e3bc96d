"""The properties of a run that have no result, each with its reason."""

from __future__ import annotations

from sqlalchemy import Connection, text

from pipeline.store.runs.lifecycle import Run
from pipeline.store.runs.totals import PROCESSED, ExampleProperty

_WITHOUT_RESULT = text(f"""
SELECT p.property_id, p.state, p.reason, p.detail, count(*) OVER () AS told
FROM {PROCESSED} AND p.state <> 'done' ORDER BY p.state, p.reason, p.sort_key, p.id LIMIT :limit
""")  # noqa: S608


def list_without_result(conn: Connection, run: Run, limit: int) -> list[ExampleProperty]:
    """Up to `limit` of them, by state and reason; `told` is the number of all."""
    where = {"county": run.county, "run": run.id, "limit": limit}
    return [ExampleProperty(*row) for row in conn.execute(_WITHOUT_RESULT, where)]

"""Queue states of a county's properties: counts, resets, lease renewal and release.

Functions take a `Connection`; the caller commits. `loading` fills the queue, `leases` leases from
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.store.queue import retry_policy
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.queue.stale import IS_STALE, StaleWeights

UnfinishedState = Literal["pending", "deferred", "failed", "no_imagery"]


@dataclass(frozen=True, slots=True)
class LeasedProperty:
    """A property leased to one owner.

    Attributes:
        id: the row's key, the `property_fk` of other functions of the store.
        attempts: number of attempts, including this one.
    """

    id: int
    property: Property
    attempts: int


# What a batch processes again, in addition to what is waiting.
ReprocessScope = Literal["nothing", "without_result", "everything"]

_REPROCESSED_STATES: dict[ReprocessScope, tuple[str, ...]] = {
    "nothing": (),
    "without_result": ("failed", "deferred", "no_imagery"),
    "everything": ("failed", "deferred", "no_imagery", "done"),
}

# Properties completed by a run that is still alive are excluded: of two concurrent batches, neither
# repeats what the other has just done, nor requests a server that just failed for the other. The
# condition lists the runs that ended, as a run that started in between is not yet visible.
_COMPLETED_BEFORE = """(p.run_fk IS NULL OR p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'))"""

# A property that is waiting. The first line is the condition of the queue's index.
WAITS = f"""p.state IN ('pending', 'leased', 'deferred', 'failed') AND (
    p.state = 'pending'
    OR (p.state = 'leased' AND p.leased_until < clock_timestamp())
    OR (({retry_policy.condition("next run")}) AND {_COMPLETED_BEFORE}))"""

# The same, at the time of the batch request: results that another run with the same settings wrote
# since are fresh.
_COMPLETED_BEFORE_REQUEST = """(p.run_fk IS NULL OR p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'
        AND (coalesce(r.finished_at, r.started_at)
                <= coalesce(CAST(:requested_at AS timestamptz), 'infinity')
            -- The clock was set back since.
            OR coalesce(r.finished_at, r.started_at)
                > clock_timestamp() + make_interval(mins => 1)
            OR r.settings -> 'shared_settings' IS DISTINCT FROM
                coalesce(CAST(:shared AS jsonb), r.settings -> 'shared_settings'))))"""

# Processed with another registry entry, whose hash each run stores in its settings.
_REGISTRY_CHANGED = f"""(({retry_policy.condition("registry changed")}) AND p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'
        AND r.settings ->> 'registry_sha256' <> :registry_sha256))"""  # noqa: S608

# SKIP LOCKED: a locked row is being written, so its lease ends or is renewed the next time.
# Waiting for it could deadlock.
_RENEW = text("""
UPDATE lotline.property SET leased_until = clock_timestamp() + make_interval(secs => :lease_s)
WHERE id = ANY(ARRAY(SELECT id FROM lotline.property
    WHERE state = 'leased' AND lease_owner = :owner FOR NO KEY UPDATE SKIP LOCKED))
""")

# A released attempt does not count. Statements that lock many properties do so in the order of
# their ids, to avoid deadlocks.
_RELEASE_WHERE = """
UPDATE lotline.property SET state = 'pending', lease_owner = NULL, leased_until = NULL,
    attempts = attempts - 1, updated_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM lotline.property
    WHERE state = 'leased' AND {condition} ORDER BY id FOR NO KEY UPDATE))
"""

_RELEASE = text(_RELEASE_WHERE.format(condition="lease_owner = :owner"))
_RELEASE_RUNS = text(_RELEASE_WHERE.format(condition="run_fk = ANY(CAST(:runs AS bigint[]))"))


def count_states(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> dict[tuple[str, str], int]:
    """Number of properties by (state, reason)."""
    counted = text(
        "SELECT p.state, p.reason, count(*) FROM lotline.property p "  # noqa: S608
        f"WHERE {selection.full_scan_condition} GROUP BY p.state, p.reason"
    )
    rows = conn.execute(counted, {"county": county, **selection.values})
    return {(state, reason): count for state, reason, count in rows}


def is_empty(conn: Connection, county: str) -> bool:
    """Whether the county has no properties."""
    found = text("SELECT 1 FROM lotline.property WHERE county = :county LIMIT 1")
    return conn.execute(found, {"county": county}).first() is None


def count_waiting(
    conn: Connection,
    county: str,
    selection: Selection = WHOLE_COUNTY,
    scope: ReprocessScope = "nothing",
    registry_sha256: str = "",
    stale: StaleWeights | None = None,
) -> int:
    """Number of waiting properties, including those that `reset` would make pending."""
    # Two counts, each by its own index; in a completed county both read almost nothing.
    counted = text(f"""
        SELECT (SELECT count(*) FROM lotline.property p
                WHERE {selection.condition} AND {WAITS})
            + (SELECT count(*) FROM lotline.property p
               WHERE {selection.condition} AND NOT ({WAITS}) AND ({_reprocessed(scope, stale)}))
    """)  # noqa: S608
    values = _values(county, selection, registry_sha256, stale)
    return int(conn.execute(counted, values).scalar_one())


def any_waits_for_all_labels(
    conn: Connection,
    county: str,
    selection: Selection = WHOLE_COUNTY,
    scope: ReprocessScope = "nothing",
    registry_sha256: str = "",
    stale: StaleWeights | None = None,
) -> bool:
    """Whether a property waits, or would after `reset`, that is not limited to some labels."""
    found = text(f"""
        SELECT EXISTS (SELECT FROM lotline.property p
            WHERE {selection.condition} AND p.only_labels IS NULL
                AND ({WAITS} OR {_reprocessed(scope, stale)}))
    """)  # noqa: S608
    values = _values(county, selection, registry_sha256, stale)
    return bool(conn.execute(found, values).scalar_one())


def count_without_location(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> int:
    """Number of properties without a known location, which no bounding box can select."""
    everywhere = Selection(selection.list_id)
    counted = text(
        "SELECT count(*) FROM lotline.property p "  # noqa: S608
        f"WHERE {everywhere.full_scan_condition} AND p.sort_key IS NULL"
    )
    return int(conn.execute(counted, {"county": county, **everywhere.values}).scalar_one())


def reset(
    conn: Connection,
    county: str,
    selection: Selection = WHOLE_COUNTY,
    scope: ReprocessScope = "everything",
    registry_sha256: str = "",
    limit: int | None = None,
    requested_at: datetime | None = None,
    shared: Mapping[str, str] | None = None,
    stale: StaleWeights | None = None,
) -> int:
    """Make properties pending again, except those that are waiting or being processed.

    Properties completed by a run that is alive, or was alive at the time of the request, count as
    being processed: two batches that both reprocess a county share the work.

    Args:
        registry_sha256: of the county's current registry entry. Properties that failed with another
            entry, and may succeed with this one, become pending too.
        limit: reset only as many as needed for the first `limit` properties to be waiting.
        requested_at: time of the batch request, by the database's clock; None means now.
        shared: see `runs.concurrent`; results of runs with other settings are not fresh.
        stale: completed properties with measurements by these weights become pending too.

    Returns:
        The number of properties made pending.
    """
    # Of completed properties only stale ones are reset, unless everything is.
    all_labels = "CASE WHEN p.state <> 'done' THEN p.only_labels END"
    if scope == "everything":
        all_labels = "NULL"
    # SKIP LOCKED: a row that another statement has locked is being processed.
    made_pending = text(f"""
        WITH picked AS (
            SELECT p.id, {WAITS} AS waits FROM lotline.property p
            WHERE {selection.condition} AND ({WAITS} OR {_reprocessed(scope, stale)})
            {"" if limit is None else "ORDER BY p.sort_key, p.id LIMIT :limit"}
            FOR NO KEY UPDATE OF p SKIP LOCKED
        )
        UPDATE lotline.property p SET state = 'pending', reason = '', detail = '', attempts = 0,
            only_labels = {all_labels},
            lease_owner = NULL, leased_until = NULL, updated_at = now()
        FROM picked WHERE p.id = picked.id
            AND (NOT picked.waits {"OR p.only_labels IS NOT NULL" if scope == "everything" else ""})
    """)  # noqa: S608
    values = _values(county, selection, registry_sha256, stale, requested_at, shared)
    if limit is not None:
        values["limit"] = limit
    return conn.execute(made_pending, values).rowcount


def _values(
    county: str,
    selection: Selection,
    registry_sha256: str,
    stale: StaleWeights | None,
    requested_at: datetime | None = None,
    shared: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """The parameters of a statement with `_reprocessed`."""
    return {
        "county": county,
        "registry_sha256": registry_sha256,
        "requested_at": requested_at,
        "shared": None if shared is None else json.dumps(shared),
        **selection.values,
        **(stale or StaleWeights()).values,
    }


def renew(conn: Connection, owner: str, lease_s: float) -> None:
    """Extend the owner's leases to `lease_s` seconds from now."""
    conn.execute(_RENEW, {"owner": owner, "lease_s": lease_s})


def release(conn: Connection, owner: str) -> None:
    """Release the owner's leases: the properties are pending again."""
    conn.execute(_RELEASE, {"owner": owner})


def release_runs(conn: Connection, run_ids: Sequence[int]) -> int:
    """Release the leases of runs; returns how many."""
    return conn.execute(_RELEASE_RUNS, {"runs": list(run_ids)}).rowcount


def _reprocessed(scope: ReprocessScope, stale: StaleWeights | None) -> str:
    conditions = [_REGISTRY_CHANGED]
    if _REPROCESSED_STATES[scope]:
        states = ", ".join(f"'{state}'" for state in _REPROCESSED_STATES[scope])
        conditions.append(f"(p.state IN ({states}) AND {_COMPLETED_BEFORE_REQUEST})")
    if stale is not None and stale.older:
        conditions.append(f"({IS_STALE} AND {_COMPLETED_BEFORE_REQUEST})")
    return " OR ".join(conditions)

"""The queue of a county's properties: what waits, what is asked once more, what is held.

Functions take a `Connection`, and the caller commits. `loading` fills the queue, `leases` takes
from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.store.queue import retry_policy
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection

UnfinishedState = Literal["pending", "deferred", "failed", "no_imagery"]


@dataclass(frozen=True, slots=True)
class LeasedProperty:
    """A property that one owner works on.

    Attributes:
        id: the row's key, which the other functions of the store take.
        attempts: how often it has been tried, this time included.
    """

    id: int
    property: Property
    attempts: int


# What a batch does beside what waits: nothing, what has no result, or everything.
ReprocessScope = Literal["nothing", "without_result", "everything"]

_REPROCESSED_STATES: dict[ReprocessScope, tuple[str, ...]] = {
    "nothing": (),
    "without_result": ("failed", "deferred", "no_imagery"),
    "everything": ("failed", "deferred", "no_imagery", "done"),
}

# What a run that is still alive has settled is left alone: of two batches at once, neither does
# what the other has just done, nor asks a server again that did not answer the other. Runs are
# named that have ended, and not those that live: one that began meanwhile is not seen yet.
_SETTLED_BEFORE = """(p.run_fk IS NULL OR p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'))"""

# A property that waits. The first line is the condition of the queue's index.
WAITS = f"""p.state IN ('pending', 'leased', 'deferred', 'failed') AND (
    p.state = 'pending'
    OR (p.state = 'leased' AND p.leased_until < clock_timestamp())
    OR (({retry_policy.condition("next run")}) AND {_SETTLED_BEFORE}))"""

# The same, as it was when the batch was ordered: what another did since is as fresh as it gets.
_SETTLED_BEFORE_THE_ORDER = """(p.run_fk IS NULL OR p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'
        AND coalesce(r.finished_at, r.started_at)
            <= coalesce(CAST(:requested_at AS timestamptz), 'infinity')))"""

# Of an earlier registry entry, as each run keeps it in its settings.
_REGISTRY_CHANGED = f"""(({retry_policy.condition("registry changed")}) AND p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county AND r.state <> 'running'
        AND r.settings ->> 'registry_sha256' <> :registry_sha256))"""  # noqa: S608

# What is being written at this moment is finished then, or renewed the next time: who waits for
# it could be waited for.
_RENEW = text("""
UPDATE lotline.property SET leased_until = clock_timestamp() + make_interval(secs => :lease_s)
WHERE id = ANY(ARRAY(SELECT id FROM lotline.property
    WHERE state = 'leased' AND lease_owner = :owner FOR NO KEY UPDATE SKIP LOCKED))
""")

# An attempt that was not made does not count. All that lock many properties and wait for others
# take them in the order of their ids, so that nobody waits in a circle.
_GIVE_BACK = """
UPDATE lotline.property SET state = 'pending', lease_owner = NULL, leased_until = NULL,
    attempts = attempts - 1, updated_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM lotline.property
    WHERE state = 'leased' AND {whose} ORDER BY id FOR NO KEY UPDATE))
"""

_RELEASE = text(_GIVE_BACK.format(whose="lease_owner = :owner"))
_RELEASE_RUNS = text(_GIVE_BACK.format(whose="run_fk = ANY(CAST(:runs AS bigint[]))"))


def count_states(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> dict[tuple[str, str], int]:
    """How many properties are in which state, for which reason."""
    counted = text(
        "SELECT p.state, p.reason, count(*) FROM lotline.property p "  # noqa: S608
        f"WHERE {selection.condition_of_all} GROUP BY p.state, p.reason"
    )
    rows = conn.execute(counted, {"county": county, **selection.values})
    return {(state, reason): count for state, reason, count in rows}


def is_empty(conn: Connection, county: str) -> bool:
    """Whether the county has no property at all."""
    found = text("SELECT 1 FROM lotline.property WHERE county = :county LIMIT 1")
    return conn.execute(found, {"county": county}).first() is None


def count_waiting(
    conn: Connection,
    county: str,
    selection: Selection = WHOLE_COUNTY,
    scope: ReprocessScope = "nothing",
    registry_sha256: str = "",
) -> int:
    """How many properties wait, those among them that `reset` would make pending."""
    # Each by its own index: where a county is done, both are all but empty.
    counted = text(f"""
        SELECT (SELECT count(*) FROM lotline.property p
                WHERE {selection.condition} AND {WAITS})
            + (SELECT count(*) FROM lotline.property p
               WHERE {selection.condition} AND NOT ({WAITS}) AND ({_reprocessed(scope)}))
    """)  # noqa: S608
    values = {
        "county": county,
        "registry_sha256": registry_sha256,
        "requested_at": None,
        **selection.values,
    }
    return int(conn.execute(counted, values).scalar_one())


def count_without_location(
    conn: Connection, county: str, selection: Selection = WHOLE_COUNTY
) -> int:
    """How many properties no bounding box takes, as nobody has said yet where they are."""
    everywhere = Selection(selection.list_id)
    counted = text(
        "SELECT count(*) FROM lotline.property p "  # noqa: S608
        f"WHERE {everywhere.condition_of_all} AND p.sort_key IS NULL"
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
) -> int:
    """Make properties pending again, except what waits already or is being worked on.

    What a run has settled that is alive, or was when this was ordered, is being worked on, too:
    two batches that are both told to do a county again share it, and do it once.

    Args:
        registry_sha256: of the county's entry as it is now: properties that another entry may be
            to blame for are made pending, too.
        limit: no more than it takes to have the first so many waiting.
        requested_at: when the batch was ordered, by the database's clock; None is now.

    Returns:
        How many were made pending.
    """
    # What another statement has locked is at work, and is not waited for.
    made_pending = text(f"""
        WITH picked AS (
            SELECT p.id, {WAITS} AS waits FROM lotline.property p
            WHERE {selection.condition} AND ({WAITS} OR {_reprocessed(scope)})
            {"" if limit is None else "ORDER BY p.sort_key, p.id LIMIT :limit"}
            FOR NO KEY UPDATE OF p SKIP LOCKED
        )
        UPDATE lotline.property p SET state = 'pending', reason = '', detail = '', attempts = 0,
            lease_owner = NULL, leased_until = NULL, updated_at = now()
        FROM picked WHERE p.id = picked.id AND NOT picked.waits
    """)  # noqa: S608
    values: dict[str, object] = {
        "county": county,
        "registry_sha256": registry_sha256,
        "requested_at": requested_at,
        **selection.values,
    }
    if limit is not None:
        values["limit"] = limit
    return conn.execute(made_pending, values).rowcount


def renew(conn: Connection, owner: str, lease_s: float) -> None:
    """Hold what the owner holds for `lease_s` seconds from now."""
    conn.execute(_RENEW, {"owner": owner, "lease_s": lease_s})


def release(conn: Connection, owner: str) -> None:
    """Give back to the queue what the owner still holds."""
    conn.execute(_RELEASE, {"owner": owner})


def release_runs(conn: Connection, run_ids: Sequence[int]) -> int:
    """Give back to the queue what these runs still hold; how many that were."""
    return conn.execute(_RELEASE_RUNS, {"runs": list(run_ids)}).rowcount


def _reprocessed(scope: ReprocessScope) -> str:
    if not _REPROCESSED_STATES[scope]:
        return _REGISTRY_CHANGED
    states = ", ".join(f"'{state}'" for state in _REPROCESSED_STATES[scope])
    return f"(p.state IN ({states}) AND {_SETTLED_BEFORE_THE_ORDER}) OR {_REGISTRY_CHANGED}"

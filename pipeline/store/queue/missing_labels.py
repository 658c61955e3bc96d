"""Labels that finished properties lack: asked for later, or new in the registry entry.

A finished property waits again for the labels that no run has measured on it, and only for those
(`property.only_labels`); what was measured before stays. A label that another segmenter has
measured is not missing: only a batch that reprocesses properties replaces it.

Functions take a `Connection`; the caller commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.queue.selection import Selection


@dataclass(frozen=True, slots=True)
class AskedLabels:
    """The labels that a batch is asked for.

    Attributes:
        segmenter: only properties that this segmenter processed last lack them: labels that are
            asked for by default are no reason to mix segmenters. None for labels that are named.
    """

    names: tuple[str, ...]
    segmenter: str | None = None


# Runs that did not have all the labels: the properties of the others lack none. Unless a run
# measured only some labels of a property.
_CANDIDATE = """p.state = 'done' AND p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county
        AND (CAST(:segmenter AS text) IS NULL OR r.settings ->> 'segmenter' = :segmenter))
AND (p.only_labels IS NOT NULL OR p.run_fk IN (
    SELECT r.id FROM lotline.run r WHERE r.county = :county
        AND NOT coalesce(r.settings -> 'labels' @> to_jsonb(CAST(:labels AS text[])), false)))"""

# A run of an early version may have measured a label without a row for it. What only people drew
# was not measured.
_MISSING = """array(
    SELECT asked.label FROM unnest(CAST(:labels AS text[])) WITH ORDINALITY AS asked (label, place)
    WHERE NOT EXISTS (SELECT FROM lotline.measurement m
            WHERE m.property_fk = p.id AND m.label = asked.label AND m.current
                AND m.segmenter <> 'person')
        AND NOT EXISTS (SELECT FROM lotline.run r
            WHERE r.id = p.run_fk AND p.only_labels IS NULL
                AND coalesce(r.settings -> 'labels' ? asked.label, true))
    ORDER BY asked.place)"""

# Interrupted before it was processed, and these labels are not asked for any more.
_SETTLE = """
UPDATE lotline.property p SET state = 'done', updated_at = now(),
    reason = CASE WHEN EXISTS (SELECT FROM lotline.detection d
        WHERE d.property_fk = p.id AND d.state IN ('proposed', 'accepted'))
        THEN 'measured' ELSE 'nothing_found' END
WHERE p.id = ANY(ARRAY(SELECT p.id FROM lotline.property p
    WHERE {selected} AND p.state = 'pending' AND p.only_labels IS NOT NULL
        AND NOT p.only_labels && CAST(:labels AS text[])
    ORDER BY p.id FOR NO KEY UPDATE SKIP LOCKED))
"""

_COUNT = f"""
SELECT count(*) FROM lotline.property p
WHERE {{selected}} AND {_CANDIDATE} AND {_MISSING} <> CAST(ARRAY[] AS text[])
"""  # noqa: S608

_REOPEN = f"""
WITH picked AS (
    SELECT p.id, {_MISSING} AS missing FROM lotline.property p
    WHERE {{selected}} AND {_CANDIDATE} AND {_MISSING} <> CAST(ARRAY[] AS text[])
    ORDER BY p.sort_key, p.id {{limit}} FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE lotline.property p SET state = 'pending', reason = '', detail = '', attempts = 0,
    only_labels = picked.missing, updated_at = now()
FROM picked WHERE p.id = picked.id
"""  # noqa: S608

_ALL_MISSING = f"""
SELECT DISTINCT label FROM (
    SELECT unnest({_MISSING}) AS label FROM lotline.property p WHERE {{selected}} AND {_CANDIDATE}
    UNION ALL
    SELECT unnest(p.only_labels) FROM lotline.property p
    WHERE {{selected}} AND p.state IN ('pending', 'leased', 'deferred', 'failed')
) missing
"""  # noqa: S608


def settle(conn: Connection, county: str, selection: Selection, labels: Sequence[str]) -> int:
    """Finish properties that wait for other labels than these; returns how many.

    A batch that was interrupted left them; they have what earlier runs measured.
    """
    statement = text(_SETTLE.format(selected=selection.condition))
    values = {"county": county, "labels": list(labels), **selection.values}
    return conn.execute(statement, values).rowcount


def count_missing(conn: Connection, county: str, selection: Selection, asked: AskedLabels) -> int:
    """Number of finished properties that lack one of the labels."""
    statement = text(_COUNT.format(selected=selection.full_scan_condition))
    return int(conn.execute(statement, _values(county, selection, asked)).scalar_one())


def reopen(
    conn: Connection,
    county: str,
    selection: Selection,
    asked: AskedLabels,
    limit: int | None = None,
) -> int:
    """Make finished properties pending for the labels that they lack; returns how many."""
    limited = "" if limit is None else "LIMIT :limit"
    statement = text(_REOPEN.format(selected=selection.full_scan_condition, limit=limited))
    values = _values(county, selection, asked)
    return conn.execute(statement, values | ({} if limit is None else {"limit": limit})).rowcount


def missing_anywhere(
    conn: Connection, county: str, selection: Selection, asked: AskedLabels
) -> frozenset[str]:
    """The labels that any selected property lacks, or waits for alone."""
    statement = text(_ALL_MISSING.format(selected=selection.full_scan_condition))
    rows = conn.execute(statement, _values(county, selection, asked))
    return frozenset(rows.scalars()) & frozenset(asked.names)


def _values(county: str, selection: Selection, asked: AskedLabels) -> dict[str, object]:
    return {
        "county": county,
        "labels": list(asked.names),
        "segmenter": asked.segmenter,
        **selection.values,
    }

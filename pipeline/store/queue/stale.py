"""Stale properties: a label of theirs was measured with other weights than those in use.

A batch with `--stale` processes them again. What people reviewed stays, as with `--again`. A
property that was reviewed in full is not processed: everything there is decided, and a new proposal
would end its mark.

Functions take a `Connection`; the caller commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.review_tables import FULL_REVIEW_HOLDS

# The weights that runs of the county had. Runs are few: the measurements of each weights are then
# found by their index.
_OLDER = text("""
SELECT DISTINCT r.weights_sha256 FROM lotline.run r
WHERE r.county = :county AND r.settings ->> 'segmenter' = :segmenter
    AND r.weights_sha256 IS NOT NULL AND r.weights_sha256 <> :weights
ORDER BY 1
""")

_COUNTIES = text("""
SELECT DISTINCT county FROM lotline.run WHERE settings ->> 'segmenter' = :segmenter ORDER BY 1
""")

_REVIEWED_IN_FULL = f"""EXISTS (SELECT FROM (SELECT * FROM lotline.full_review
    WHERE property_fk = p.id ORDER BY id DESC LIMIT 1) f WHERE {FULL_REVIEW_HOLDS})"""  # noqa: S608

# Correlated, so that each property costs one look at an index. Within an OR, `p.id IN (SELECT …)`
# would be a list that each property reads again where it does not fit `work_mem`: in a county of
# 200,000 lots that took longer than 18 minutes.
_MEASURED_WITH_OLDER = """p.state = 'done' AND EXISTS (SELECT FROM lotline.measurement m
    WHERE m.property_fk = p.id AND m.current AND m.weights_sha256 IS NOT NULL
        AND m.weights_sha256 = ANY(CAST(:older_weights AS text[]))
        AND (m.label = ANY(CAST(:stale_labels AS text[])) OR :any_label))"""

IS_STALE = f"({_MEASURED_WITH_OLDER} AND NOT {_REVIEWED_IN_FULL})"
"""SQL condition on `lotline.property p`; binds the names of `StaleWeights.values`."""


@dataclass(frozen=True, slots=True)
class StaleWeights:
    """The weights of earlier runs, and the labels that are to be measured with those in use.

    Attributes:
        older: hashes.
        labels: empty for all.
    """

    older: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, object]:
        """Bind values of `IS_STALE`."""
        return {
            "older_weights": list(self.older),
            "stale_labels": list(self.labels),
            "any_label": not self.labels,
        }


def older_weights(
    conn: Connection, county: str, segmenter: str, weights_sha256: str, labels: Sequence[str] = ()
) -> StaleWeights:
    """What a batch with these weights finds stale.

    Args:
        segmenter: as requested, without its version.
        labels: what the batch asks for, as others stay as they were measured; empty for all.
    """
    values = {"county": county, "segmenter": segmenter, "weights": weights_sha256}
    return StaleWeights(tuple(conn.execute(_OLDER, values).scalars()), tuple(labels))


def measured_counties(conn: Connection, segmenter: str) -> list[str]:
    """The counties in which a segmenter measured."""
    return list(conn.execute(_COUNTIES, {"segmenter": segmenter}).scalars())


@dataclass(frozen=True, slots=True)
class StaleCount:
    """Properties of a county with measurements by older weights.

    Attributes:
        model: the number of the weights, if they are registered.
        properties: of them, the number that a batch with `--stale` processes.
        reviewed_in_full: the number that it leaves alone.
    """

    county: str
    weights_sha256: str
    model: int | None
    properties: int
    reviewed_in_full: int


def count_stale(
    conn: Connection,
    county: str,
    segmenter: str,
    stale: StaleWeights,
    selection: Selection = WHOLE_COUNTY,
) -> list[StaleCount]:
    """Stale properties by weights, the most first. One with two older weights is in both."""
    if not stale.older:
        return []
    counted = text(f"""
        WITH found AS MATERIALIZED (
            SELECT DISTINCT m.property_fk, m.weights_sha256 FROM lotline.measurement m
            WHERE m.current AND m.weights_sha256 IS NOT NULL
                AND m.weights_sha256 = ANY(CAST(:older_weights AS text[]))
                AND (m.label = ANY(CAST(:stale_labels AS text[])) OR :any_label)
        ), marked AS (
            SELECT found.weights_sha256, {_REVIEWED_IN_FULL} AS is_full
            FROM found JOIN lotline.property p ON p.id = found.property_fk
            WHERE {selection.full_scan_condition} AND p.state = 'done'
        )
        SELECT weights_sha256, count(*) FILTER (WHERE NOT is_full) AS properties,
            count(*) FILTER (WHERE is_full) AS reviewed_in_full,
            (SELECT id FROM lotline.model WHERE segmenter = :segmenter
                AND model.weights_sha256 = marked.weights_sha256) AS model
        FROM marked GROUP BY weights_sha256 ORDER BY count(*) DESC, weights_sha256
    """)  # noqa: S608
    values = {"county": county, "segmenter": segmenter, **stale.values, **selection.values}
    return [
        StaleCount(county, row.weights_sha256, row.model, row.properties, row.reviewed_in_full)
        for row in conn.execute(counted, values)
    ]

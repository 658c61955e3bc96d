"""Which boundaries of a county overlap: the ground that a sum would count twice.

Lots side by side share an edge and no ground, but their boxes touch, and comparing 100,000 lots
with their neighbours takes some ten seconds. A boundary never changes, so what was compared is
stored, by the boundary's version. `pairs_of` compares what is not stored yet, on the fly.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

# Less is the rounding of a shared edge.
_MIN_OVERLAP_M2 = 1.0
# A millimetre: boxes of lots along a street grid only touch.
_MIN_OVERLAP_DEG = 1e-8

_LOCK_CLASS = 0x0E41A9

# One statement at a time: a run that ends meanwhile compares with what this one has stored.
_LOCK = text("SELECT pg_advisory_xact_lock(:class, hashtext(:county))")

# The first boundary of each version: the units of a house have one lot.
_ADD = text("""
INSERT INTO lotline.compared_boundary (county, version, boundary_fk)
SELECT :county, b.version, min(b.id)
FROM lotline.property p JOIN lotline.boundary b ON b.id = p.boundary_fk
WHERE p.county = :county GROUP BY b.version
ON CONFLICT (county, version) DO NOTHING
RETURNING boundary_fk
""")


def _overlapping(near: str) -> str:
    """SQL: versions of boundaries that share ground with `n`, not only an edge.

    Args:
        near: condition on the boundary `b`; binds `:county`.
    """
    # OFFSET 0: the boxes by one index scan for each boundary, whatever the statistics say; then
    # the exact tests, each of which would scan the index again.
    return f"""(
    SELECT b.version FROM (
        SELECT b.version, b.geom FROM lotline.boundary b
        WHERE b.geom && n.geom
            AND least(ST_XMax(b.geom), ST_XMax(n.geom))
                - greatest(ST_XMin(b.geom), ST_XMin(n.geom)) > {_MIN_OVERLAP_DEG}
            AND least(ST_YMax(b.geom), ST_YMax(n.geom))
                - greatest(ST_YMin(b.geom), ST_YMin(n.geom)) > {_MIN_OVERLAP_DEG}
            AND b.source = n.source AND b.version <> n.version AND {near}
        OFFSET 0) b
    WHERE (ST_Overlaps(b.geom, n.geom) OR ST_Within(b.geom, n.geom) OR ST_Within(n.geom, b.geom))
        AND ST_Area(CAST(ST_Intersection(b.geom, n.geom) AS geography)) >= {_MIN_OVERLAP_M2})"""  # noqa: S608


_IN_COUNTY = """EXISTS (SELECT FROM lotline.property p
            WHERE p.id = b.property_fk AND p.county = :county)"""
_COMPARED_EARLIER = """(b.id < n.id OR b.id NOT IN (SELECT id FROM new))
            AND EXISTS (SELECT FROM lotline.compared_boundary c
                WHERE c.boundary_fk = b.id AND c.county = :county)"""

# Of two new boundaries, the later one finds the earlier one.
_COMPARE = text(f"""
WITH new AS MATERIALIZED (SELECT unnest(CAST(:new AS bigint[])) AS id)
INSERT INTO lotline.boundary_overlap (county, version, other_version)
SELECT DISTINCT :county, greatest(n.version, o.version), least(n.version, o.version)
FROM lotline.boundary n CROSS JOIN LATERAL {_overlapping(_COMPARED_EARLIER)} o
WHERE n.id IN (SELECT id FROM new)
ON CONFLICT DO NOTHING
""")  # noqa: S608

# CTEs after a CTE `counted` with property_fk and boundary_fk. `contested` are the boundaries that
# several properties have, or that overlap another one.
CONTESTED = f"""
version AS MATERIALIZED (
    SELECT c.property_fk, c.boundary_fk, b.version
    FROM (SELECT DISTINCT property_fk, boundary_fk FROM counted) c
    JOIN lotline.boundary b ON b.id = c.boundary_fk
), uncompared AS MATERIALIZED (
    SELECT v.version, min(v.boundary_fk) AS boundary_fk FROM version v
    WHERE NOT EXISTS (SELECT FROM lotline.compared_boundary k
        WHERE k.county = :county AND k.version = v.version)
    GROUP BY v.version
), pair AS MATERIALIZED (
    SELECT version, other_version FROM lotline.boundary_overlap WHERE county = :county
    UNION
    SELECT greatest(n.version, o.version), least(n.version, o.version)
    FROM uncompared u JOIN lotline.boundary n ON n.id = u.boundary_fk
    CROSS JOIN LATERAL {_overlapping(_IN_COUNTY)} o
), contested_version AS MATERIALIZED (
    SELECT version FROM version GROUP BY version HAVING min(property_fk) <> max(property_fk)
    UNION
    SELECT both_ways.version FROM (
        SELECT version, other_version FROM pair UNION ALL SELECT other_version, version FROM pair
    ) both_ways
    WHERE EXISTS (SELECT FROM version v WHERE v.version = both_ways.version)
        AND EXISTS (SELECT FROM version v WHERE v.version = both_ways.other_version)
), contested AS MATERIALIZED (
    SELECT DISTINCT boundary_fk, version FROM version JOIN contested_version USING (version)
)"""  # noqa: S608


def compare_new(conn: Connection, county: str) -> int:
    """Compare and store the current boundaries that are not stored yet; returns how many."""
    conn.execute(_LOCK, {"class": _LOCK_CLASS, "county": county})
    new = list(conn.execute(_ADD, {"county": county}).scalars())
    if new:
        conn.execute(_COMPARE, {"county": county, "new": new})
    return len(new)

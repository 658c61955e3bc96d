"""Which boundaries of a county overlap: the ground that a sum would count twice.

Lots side by side share an edge and no ground, but their boxes touch, and comparing 100,000 lots
with their neighbours takes some ten seconds. A boundary never changes, so what was compared is
stored, by the boundary's version. `pairs_of` compares what is not stored yet, on the fly.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

# Less is the rounding of a shared edge.
_MIN_OVERLAP_M2 = 1.0

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


def _overlap(a: str, b: str) -> str:
    """SQL condition: two geometries share ground, not only an edge."""
    return f"""{a} && {b}
        AND (ST_Overlaps({a}, {b}) OR ST_Within({a}, {b}) OR ST_Within({b}, {a}))
        AND ST_Area(CAST(ST_Intersection({a}, {b}) AS geography)) >= {_MIN_OVERLAP_M2}"""


# OFFSET 0: by the spatial index for each new boundary, whatever the statistics say.
_COMPARE = text(f"""
INSERT INTO lotline.boundary_overlap (county, version, other_version)
SELECT DISTINCT :county, greatest(n.version, o.version), least(n.version, o.version)
FROM lotline.boundary n CROSS JOIN LATERAL (
    SELECT b.version FROM lotline.boundary b
    WHERE b.source = n.source AND b.version <> n.version AND {_overlap("b.geom", "n.geom")}
        AND EXISTS (SELECT FROM lotline.compared_boundary c
            WHERE c.boundary_fk = b.id AND c.county = :county)
    OFFSET 0) o
WHERE n.id = ANY(CAST(:new AS bigint[]))
ON CONFLICT DO NOTHING
""")  # noqa: S608

# CTEs after a CTE `counted` with boundary_fk, version and source. `contested` are the versions
# that several properties have, or that overlap another one.
CONTESTED = f"""
uncompared AS MATERIALIZED (
    SELECT c.version, min(c.boundary_fk) AS boundary_fk FROM counted c
    WHERE NOT EXISTS (SELECT FROM lotline.compared_boundary k
        WHERE k.county = :county AND k.version = c.version)
    GROUP BY c.version
), pair AS MATERIALIZED (
    SELECT version, other_version FROM lotline.boundary_overlap WHERE county = :county
    UNION
    SELECT greatest(n.version, o.version), least(n.version, o.version)
    FROM uncompared u JOIN lotline.boundary n ON n.id = u.boundary_fk CROSS JOIN LATERAL (
        SELECT b.version FROM lotline.boundary b
        WHERE b.source = n.source AND b.version <> n.version AND {_overlap("b.geom", "n.geom")}
            AND EXISTS (SELECT FROM lotline.property p
                WHERE p.id = b.property_fk AND p.county = :county)
        OFFSET 0) o
), contested AS MATERIALIZED (
    SELECT version FROM counted GROUP BY version HAVING min(property_fk) <> max(property_fk)
    UNION
    SELECT both_ways.version FROM (
        SELECT version, other_version FROM pair UNION ALL SELECT other_version, version FROM pair
    ) both_ways
    WHERE EXISTS (SELECT FROM counted c WHERE c.version = both_ways.version)
        AND EXISTS (SELECT FROM counted c WHERE c.version = both_ways.other_version)
)"""  # noqa: S608


def compare_new(conn: Connection, county: str) -> int:
    """Compare and store the current boundaries that are not stored yet; returns how many."""
    conn.execute(_LOCK, {"class": _LOCK_CLASS, "county": county})
    new = list(conn.execute(_ADD, {"county": county}).scalars())
    if new:
        conn.execute(_COMPARE, {"county": county, "new": new})
    return len(new)

"""Which properties and detections count in sums, and with which ground: those of today.

SQL that the status, exports and maps share, so that they agree.
"""

from __future__ import annotations

# A lookup that ended with one of these says that the lot of the earlier results is not there, or
# not the property's.
_WITHOUT_LOT = (
    "not_found",
    "outside_county",
    "bad_geometry",
    "address_not_found",
    "address_ambiguous",
    "address_unconfirmed",
)

# Conditions on `lotline.property p`. A finished property that waits for another label keeps what
# was measured before, unless its lot has vanished meanwhile.
HAS_VANISHED = f"""(p.state = 'failed'
    AND p.reason IN ({", ".join(f"'{name}'" for name in _WITHOUT_LOT)}))"""
IS_COUNTED = f"(p.state = 'done' OR (p.only_labels IS NOT NULL AND NOT {HAS_VANISHED}))"

# Live detections `d` of `lotline.property p`, with the label's measurement `m` and the boundary `b`
# of today.
COUNTED_DETECTIONS = """
JOIN lotline.detection d ON d.property_fk = p.id AND d.state IN ('proposed', 'accepted')
LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.label = d.label AND m.current
JOIN lotline.boundary b ON b.id = coalesce(m.boundary_fk, p.boundary_fk)"""


def inside_boundary(detection: str = "d") -> str:
    """The ground that a detection counts with, before overlaps; needs its boundary of today, `b`.

    A detection of another version of the boundary counts only inside the current one.
    """
    return f"""CASE WHEN {detection}.boundary_fk = b.id THEN {detection}.geom
        ELSE ST_Multi(ST_CollectionExtract(ST_Intersection({detection}.geom, b.geom), 3)) END"""


# Whether detections of the label on the property overlap, or are of another boundary: the parts of
# others add up to the measured area, and need no geometry.
OVERLAPS_OR_IS_OLD = """(
    SELECT coalesce(sum(e.area_m2) - m.area_m2 > 0.001, true) OR bool_or(e.boundary_fk <> b.id)
    FROM lotline.detection e
    WHERE e.property_fk = d.property_fk AND e.label = d.label
        AND e.state IN ('proposed', 'accepted'))"""

# The ground of `d` without that of earlier rows: each piece of ground is in one row of a label on a
# property. What a person let stand has it before proposals, and the older of two.
OWN_GROUND = f"""(
    SELECT CASE WHEN earlier.geom IS NULL THEN own.geom
        ELSE ST_Multi(ST_CollectionExtract(ST_Difference(own.geom, earlier.geom), 3)) END
    FROM (SELECT {inside_boundary("d")} AS geom) own
    CROSS JOIN LATERAL (
        SELECT ST_Union({inside_boundary("e")}) AS geom FROM lotline.detection e
        WHERE e.property_fk = d.property_fk AND e.label = d.label AND e.geom && d.geom
            AND e.state IN ('proposed', 'accepted')
            AND (e.state <> 'accepted', e.id) < (d.state <> 'accepted', d.id)) earlier)"""  # noqa: S608

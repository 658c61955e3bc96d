"""A synthetic county of any size with results, generated in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, text

LABELS = ("lawn", "tree", "roof", "pool")
WEST, SOUTH = -90.05, 35.15
LOT_DEG = 0.0003  # about 30 m

# Every hundredth property failed, every fiftieth has a 30 m buffer, the rest a lot. They are in no
# spatial order, as in a CSV of leads.
_PROPERTIES = text("""
INSERT INTO lotline.property (county, property_id, point, address)
SELECT :county, 'lot-' || i,
       ST_SetSRID(ST_MakePoint(:west + (i % 400 + 0.5) * :lot_deg,
                               :south + (i / 400 + 0.5) * :lot_deg), 4326),
       i || ' Synthetic Street'
FROM (SELECT (n * 7919::bigint) % :lots AS i FROM generate_series(0, :lots - 1) AS n) AS shuffled
ORDER BY i % 1009, i
""")

_BOUNDARIES = text("""
INSERT INTO lotline.boundary (property_fk, source, geom, area_m2, origin, parcel_ids, version,
                              fetched_at)
SELECT id, CASE WHEN id % 50 = 1 THEN 'buffer_30m' ELSE 'lot' END, geom,
       ST_Area(ST_Transform(geom, 6933)), 'synthetic', ARRAY['parcel-' || id], 'v-' || id, now()
FROM (SELECT id, ST_Multi(ST_Expand(point, :lot_deg * 0.48)) AS geom FROM lotline.property
      WHERE county = :county AND id % 100 <> 0) AS placed
""")

_CHIP = text("""
INSERT INTO lotline.chip (sha256, sources, captured_on, crs, gsd_m, bands, bounds)
VALUES (repeat('a', 64), ARRAY['synthetic.tif'], '2023-07-01', 'EPSG:32616', 0.6,
        ARRAY['red', 'green', 'blue'], ARRAY[0, 0, 1, 1])
ON CONFLICT DO NOTHING
""")

_RUN = text("""
INSERT INTO lotline.run (county, settings, segmenter, state)
VALUES (:county, '{}', 'synthetic', 'finished') RETURNING id
""")

# A disc of each label in its own corner of the lot.
_DETECTIONS = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, run_fk, chip_sha256, label, prompt,
    segmenter, score, relation, geom, area_m2, clipped_area_m2, whole_area_m2, fingerprint)
SELECT property_fk, boundary_fk, :run, repeat('a', 64), label, 'a ' || label, 'synthetic', 0.9,
       'belongs', geom, area_m2, area_m2, area_m2, 'f-' || label
FROM (
    SELECT *, ST_Area(ST_Transform(geom, 6933)) AS area_m2
    FROM (
        SELECT p.id AS property_fk, b.id AS boundary_fk, l.label, ST_Multi(ST_Buffer(
            ST_Translate(p.point, :lot_deg * (l.place % 2 - 1.5) * 0.4,
                                  :lot_deg * (l.place / 3 - 0.5) * 0.4),
            :lot_deg * (0.08 + 0.0001 * (p.id * 31 % 997)), :quarter)) AS geom
        FROM lotline.property p JOIN lotline.boundary b ON b.property_fk = p.id
        CROSS JOIN unnest(CAST(:labels AS text[])) WITH ORDINALITY AS l (label, place)
        WHERE p.county = :county
    ) AS drawn
) AS measured
""")

_ANALYZE = text("ANALYZE lotline.property, lotline.boundary, lotline.detection")

_MEASUREMENTS = text("""
INSERT INTO lotline.measurement (property_fk, boundary_fk, run_fk, label, area_m2,
    detection_count, coverage_fraction, source, segmenter)
SELECT d.property_fk, d.boundary_fk, :run, d.label, d.area_m2, 1, 1, b.source, d.segmenter
FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk
JOIN lotline.property p ON p.id = d.property_fk
WHERE p.county = :county
""")

_STATES = text("""
UPDATE lotline.property p SET run_fk = :run, boundary_fk = b.id,
    state = CASE WHEN b.id IS NULL THEN 'failed' ELSE 'done' END,
    reason = CASE WHEN b.id IS NULL THEN 'not_found' ELSE 'measured' END,
    detail = CASE WHEN b.id IS NULL THEN 'no lot, no buffer' ELSE '' END,
    method = CASE WHEN b.id IS NULL THEN NULL WHEN b.source = 'lot' THEN 'point' ELSE 'no_lot' END,
    coverage_fraction = CASE WHEN b.id IS NOT NULL THEN 1 END,
    chip_sha256 = CASE WHEN b.id IS NOT NULL THEN repeat('a', 64) END
FROM lotline.property q LEFT JOIN lotline.boundary b ON b.property_fk = q.id
WHERE q.id = p.id AND p.county = :county
""")


def create_county(conn: Connection, county: str, lots: int, corners: int = 64) -> None:
    """Insert a county of `lots` properties, with four detections on each that is done.

    `lots` must not be a multiple of 7919, which shuffles them. `corners` is the number of vertices
    of an outline.
    """
    run = conn.execute(_RUN, {"county": county}).scalar_one()
    values = {"county": county, "lots": lots, "run": run, "labels": list(LABELS),
              "west": WEST, "south": SOUTH, "lot_deg": LOT_DEG,
              "quarter": corners // 4}  # fmt: skip
    # Disables triggers and foreign keys, which would check each row: the rows are valid.
    conn.execute(text("SET LOCAL session_replication_role = replica"))
    for statement in (
        _PROPERTIES, _BOUNDARIES, _CHIP, _DETECTIONS, _ANALYZE, _MEASUREMENTS, _STATES,
    ):  # fmt: skip
        conn.execute(statement, values)
    conn.commit()

"""After lots were split, merged, moved or vanished: exports, status and runs agree."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pytest
import shapely
from lots import (
    LAT,
    LON,
    lease_to,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_detections,
    set_state,
    shifted,
    square,
    start_run,
    write_lot,
)
from shapely import MultiPolygon
from sqlalchemy import Connection, text

from parcels import County
from parcels.boundary import Boundary, Property
from parcels.measure import area_m2, buffer_m
from pipeline.export import export_county
from pipeline.store.database import Database
from pipeline.store.queue import loading
from pipeline.store.reads import row_cursors
from pipeline.store.reads.county_status import county_status
from pipeline.store.results.merge import write_chunk
from pipeline.store.results.outcomes import NotProcessed, RunInfo
from pipeline.store.reviews import verdicts
from pipeline.store.reviews.carried_over import carry_over_in
from pipeline.store.runs import lifecycle
from pipeline.store.runs.map_data import build_run_map
from pipeline.store.runs.metrics import RunMetrics

KEY = "synthetic"
COUNTY = County(
    key=KEY,
    name="Synthetic County",
    url="https://gis.example.gov/arcgis/rest/services/Parcels/MapServer",
    layer=0,
)
SUFFIXES = {"geoparquet": ".parquet", "geojson": ".geojson", "csv": ".csv"}
LAWN = square(1, 1, 8, 4)
POOL = square(3, 6, 2, 2)
# `parcels.measure` takes another way for long edges: a union and its parts differ by less.
AS_MEASURED = 5e-5
GROUPS = ["label", "source", "partly_imaged", "measured_by", "measured_weights_sha256"]


def _lot(geometry: Any) -> Boundary:
    geometry = MultiPolygon([geometry]) if geometry.geom_type == "Polygon" else geometry
    return Boundary(geometry, "lot", area_m2(geometry), "point", "synthetic", ("p-1",))


def _find(
    conn: Connection, run: RunInfo, key: int, lot: Boundary, *found: Any, coverage: float = 1.0
) -> None:
    """Write (label, outline) pairs, clipped to the lot as a segmenter's are."""
    detections = []
    for label, outline in found:
        inside = shapely.intersection(outline, lot.geometry)
        if inside.area > 0:
            inside = MultiPolygon([inside]) if inside.geom_type == "Polygon" else inside
            detections.append(make_detection(inside, label))
    write_lot(conn, run, key, lot, make_result(*detections, coverage_fraction=coverage))


def _vanish(conn: Connection, run: RunInfo, *keys: int) -> None:
    lease_to(conn, keys)
    write_chunk(
        conn, run, [NotProcessed(key, "failed", "not_found", "no lot, no buffer") for key in keys],
        "worker",
    )  # fmt: skip


def _read(path: Path) -> Any:
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return (geopandas.read_parquet if path.suffix == ".parquet" else geopandas.read_file)(path)


def _groups(frame: Any) -> dict[tuple[Any, ...], float]:
    filled = frame.assign(
        measured_weights_sha256=frame["measured_weights_sha256"].astype(object).fillna("")
    )
    sums = filled.groupby(GROUPS)["area_m2"].sum()
    return {key: size_m2 for key, size_m2 in sums.items() if size_m2}


def check_agreement(database: Database, out: Path, kinds: Any = SUFFIXES) -> Any:
    """All rows of an export add up to the status; returns the frames of the first kind by label."""
    with database.engine.connect() as conn:
        areas = county_status(conn, KEY).areas
        library = pd.concat(row_cursors.iter_detections(conn, KEY))
    expected = {
        (a.label, a.source, a.partly_imaged, a.segmenter, a.weights_sha256 or ""): a.area_m2
        + (a.repeated_m2 or 0)
        for a in areas
        if a.area_m2 + (a.repeated_m2 or 0)
    }
    first: dict[str, Any] = {}
    for kind in kinds:
        written = export_county(database.engine, COUNTY, out / kind, kind)
        frames = {
            path.stem.removeprefix("detections_"): _read(path)
            for path in written
            if path.name.startswith("detections_")
        }
        rows = pd.concat([frame for frame in frames.values() if len(frame)])
        assert _groups(rows) == pytest.approx(expected, rel=AS_MEASURED)
        assert sorted(rows["detection_id"]) == sorted(library["detection_id"])
        assert rows["area_m2"].sum() == pytest.approx(library["area_m2"].sum())
        properties = _read(out / kind / f"properties{SUFFIXES[kind]}")
        by_property = rows.groupby("property_id")
        for name, frame in frames.items():
            total_m2 = properties[f"{name}_m2"].sum()
            in_rows_m2 = frame["area_m2"].sum() if len(frame) else 0.0
            assert in_rows_m2 == pytest.approx(total_m2, rel=AS_MEASURED)
        states = properties.set_index("property_id")["state"]
        assert all(states[name] == set(own["property_state"]).pop() for name, own in by_property)
        if kind != "csv":
            _check_ground(rows, properties.set_index("property_id")["geometry"])
        first = first or frames
    return first


def _check_ground(rows: Any, boundaries: Any) -> None:
    for (_, name), own in rows.groupby(["label", "property_id"]):
        shapes = list(own["geometry"])
        for shape, size_m2 in zip(shapes, own["area_m2"], strict=True):
            assert area_m2(shape) == pytest.approx(size_m2, rel=AS_MEASURED)
        union = shapely.union_all(shapes)
        assert area_m2(union) == pytest.approx(own["area_m2"].sum(), rel=AS_MEASURED)
        # A person may draw beyond the lot line.
        is_found = own["clipped_area_m2"] >= own["area_m2"]
        inside = shapely.union_all(list(own[is_found]["geometry"]))
        assert area_m2(inside.difference(boundaries[name])) < 0.01


def test_a_split_lot_is_exported_inside_its_boundary_of_today(
    database: Database, tmp_path: Path
) -> None:
    left, right = square(0, 0, 3.5, 10), square(3.5, 0, 6.5, 10)
    with database.engine.begin() as conn:
        whole, new = load_properties(conn, 2)
        run = start_run(conn, ["lawn", "tree", "pool"])
        trees, beds = square(1, 6, 1, 3), square(6, 6, 3, 3)
        _find(
            conn, run, whole, make_boundary(),
            ("lawn", LAWN), ("lawn", beds), ("tree", trees), ("pool", POOL),
        )  # fmt: skip
        lawn, bed, tree, pool = read_detections(conn, whole)
        verdicts.accept(conn, lawn.id, "ann")
        verdicts.reject(conn, bed.id, "ann")
        verdicts.relabel(conn, tree.id, "ann", "lawn")
        verdicts.edit(conn, pool.id, "ann", square(3, 6, 2, 3))
        again = start_run(conn, ["lawn", "tree", "pool"])
        for key, half in ((whole, left), (new, right)):
            found = [("lawn", LAWN), ("lawn", beds), ("tree", trees), ("pool", POOL)]
            _find(conn, again, key, _lot(half), *found)
        results = lifecycle.finish(conn, again.id, "finished", RunMetrics())
    frames = check_agreement(database, tmp_path)
    lawns = frames["lawn"].set_index("property_id")
    assert lawns.loc["p0", "area_m2"].sum() == pytest.approx(
        area_m2(LAWN.intersection(left)) + area_m2(trees)
    )
    accepted = lawns[lawns["detection_id"] == lawn.id].iloc[0]
    assert (accepted.state, accepted.property_state) == ("accepted", "done")
    assert accepted.clipped_area_m2 == accepted.area_m2
    assert accepted.whole_area_m2 == pytest.approx(2 * area_m2(LAWN))
    assert accepted.boundary_version == _lot(left).version
    with database.engine.connect() as conn:
        assert county_status(conn, KEY).areas == results.areas
        drawn = build_run_map(conn, lifecycle.get_run(conn, again.id))
    assert drawn is not None
    assert sum(area_m2(each.geometry) for each in drawn.detections) == pytest.approx(
        sum(frame["area_m2"].sum() for frame in frames.values())
    )


def test_vanished_and_merged_lots_count_once_and_say_why(
    database: Database, tmp_path: Path
) -> None:
    west, east = square(0, 0, 10, 10), square(10, 0, 10, 10)
    front, back = LAWN, shifted(LAWN, 10)
    with database.engine.begin() as conn:
        one, other, merged, alone = load_properties(conn, 4)
        run = start_run(conn, ["lawn"])
        _find(conn, run, one, _lot(west), ("lawn", front))
        _find(conn, run, other, _lot(east), ("lawn", back))
        _find(conn, run, alone, _lot(shifted(west, 40)), ("lawn", shifted(LAWN, 40)))
        verdicts.reject(conn, read_detections(conn, other)[0].id, "ann")
        verdicts.accept(conn, read_detections(conn, alone)[0].id, "ann")
        again = start_run(conn, ["lawn"])
        _vanish(conn, again, one, other, alone)
        both = square(0, 0, 20, 10)
        _find(conn, again, merged, _lot(both), ("lawn", front), ("lawn", back))
        results = lifecycle.finish(conn, again.id, "finished", RunMetrics())
    frames = check_agreement(database, tmp_path)
    assert list(frames["lawn"]["property_id"]) == ["p2"]
    assert frames["lawn"]["area_m2"].sum() == pytest.approx(area_m2(front))
    with database.engine.connect() as conn:
        assert county_status(conn, KEY).areas == results.areas
    errors = pd.read_csv(tmp_path / "csv" / "errors.csv").set_index("property_id")
    assert list(errors.loc[["p0", "p1", "p3"], "reason"]) == ["not_found"] * 3


def test_a_vanished_lot_that_waited_for_a_label_does_not_count(
    database: Database, tmp_path: Path
) -> None:
    with database.engine.begin() as conn:
        gone, stays = load_properties(conn, 2)
        run = start_run(conn, ["lawn"])
        for key, step in ((gone, 0), (stays, 40)):
            lot = _lot(shifted(square(0, 0, 10, 10), step))
            _find(conn, run, key, lot, ("lawn", shifted(LAWN, step)))
        conn.execute(text("UPDATE lotline.property SET only_labels = ARRAY['pool']"))
        set_state(conn, [stays], "pending")
        _vanish(conn, start_run(conn, ["pool"]), gone)
    frames = check_agreement(database, tmp_path, ["csv"])
    assert list(frames["lawn"]["property_id"]) == ["p1"]
    assert list(frames["lawn"]["property_state"]) == ["pending"]


def test_a_moved_property_takes_nothing_with_it(database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as conn:
        [key] = load_properties(conn)
        run = start_run(conn, ["lawn", "pool"])
        _find(conn, run, key, make_boundary(), ("lawn", LAWN), ("pool", POOL))
        verdicts.accept(conn, read_detections(conn, key)[1].id, "ann")
        loading.load(conn, KEY, [Property("p0", LON + 0.01, LAT)])
        there = _lot(shifted(square(0, 0, 10, 10), 100))
        _find(conn, start_run(conn, ["lawn"]), key, there, ("lawn", shifted(LAWN, 100)))
    frames = check_agreement(database, tmp_path)
    assert frames["lawn"]["area_m2"].sum() == pytest.approx(area_m2(LAWN), rel=1e-3)
    assert not len(frames.get("pool", []))


def test_ground_that_people_drew_twice_is_in_one_row(database: Database, tmp_path: Path) -> None:
    """Accepted before proposed, then the older one; what has no ground of its own has no row."""
    with database.engine.begin() as conn:
        [key] = load_properties(conn)
        run = start_run(conn, ["lawn"])
        _find(conn, run, key, make_boundary(), ("lawn", LAWN))
        drawn = [square(5, 1, 4.5, 6), square(1, 4, 3, 4), square(2, 5, 1, 1)]
        for outline in drawn:
            verdicts.add(conn, key, "ann", "lawn", outline)
    rows = check_agreement(database, tmp_path)["lawn"].set_index("detection_id")
    with database.engine.connect() as conn:
        ids = [row.id for row in read_detections(conn, key)]
    assert sorted(rows.index) == ids[:3]
    assert list(rows.loc[ids[:3], "area_m2"]) == pytest.approx([
        area_m2(LAWN.difference(shapely.union_all(drawn))), area_m2(drawn[0]), area_m2(drawn[1]),
    ])  # fmt: skip


def test_properties_that_share_a_lot_add_up_with_what_is_repeated(
    database: Database, tmp_path: Path
) -> None:
    with database.engine.begin() as conn:
        keys = load_properties(conn, 4)
        run = start_run(conn, ["lawn"])
        for key in keys[:2]:
            _find(conn, run, key, make_boundary(), ("lawn", LAWN))
        verdicts.add(conn, keys[1], "ann", "lawn", square(1, 6, 3, 3))
        verdicts.accept(conn, read_detections(conn, keys[0])[0].id, "ann")
        for key, east in zip(keys[2:], (60, 63), strict=True):
            circle = shifted(buffer_m(shapely.Point(LON, LAT), 30), east)
            boundary = Boundary(circle, "buffer_30m", area_m2(circle), "no_lot", "synthetic", ())
            _find(conn, run, key, boundary, ("lawn", circle), coverage=0.5)
    check_agreement(database, tmp_path)
    with database.engine.connect() as conn:
        assert sum(area.repeated_m2 or 0 for area in county_status(conn, KEY).areas) > 100


# Lots of a small district: whole ones, halves, two that are merged, a street strip, elsewhere.
SHAPES = [
    square(0, 0, 10, 10), square(0, 0, 3.5, 10), square(3.5, 0, 6.5, 10), square(10, 0, 10, 10),
    square(0, 0, 20, 10), square(0, 4, 20, 6), shifted(square(0, 0, 10, 10), 50),
]  # fmt: skip
OUTLINES = [
    LAWN, shifted(LAWN, 9), square(2, 2, 14, 3), POOL, square(1, 6, 5, 3), square(6, 5, 9, 4),
    shifted(LAWN, 50), square(2, 2, 2, 2),
]  # fmt: skip


def _history(rng: random.Random, conn: Connection, keys: list[int]) -> Iterator[None]:
    """Runs over changing lots and verdicts of people, at random."""
    while True:
        labels = rng.choice([["lawn"], ["lawn", "pool"], ["lawn", "pool"]])
        run = replace(start_run(conn, labels), segmenter=rng.choice(["one", "one", "two"]))
        for key in keys:
            fate = rng.random()
            if fate < 0.15:
                _vanish(conn, run, key)
            elif fate < 0.85:
                found = [
                    (rng.choice(labels), rng.choice(OUTLINES)) for _ in range(rng.randint(0, 3))
                ]
                coverage = rng.choice([1, 1, 0.5])
                _find(conn, run, key, _lot(rng.choice(SHAPES)), *found, coverage=coverage)
        yield
        carry_over_in(conn, KEY, {})
        assert carry_over_in(conn, KEY, {}) == 0
        yield
        rows = conn.execute(
            text("SELECT id, state, property_fk FROM lotline.detection WHERE state <> 'superseded'")
        ).all()
        for row in rng.sample(rows, min(len(rows), 5)):
            if row.state == "rejected":
                verdicts.restore(conn, row.id, "ann")
                continue
            action = rng.choice(["accept", "reject", "reject", "edit", "relabel", "add"])
            more = {"edit": [rng.choice(OUTLINES)], "relabel": [rng.choice(["lawn", "pool"])]}
            if action != "add":
                getattr(verdicts, action)(conn, row.id, "ann", *more.get(action, []))
            elif _has_boundary(conn, row.property_fk):
                verdicts.add(conn, row.property_fk, "ann", "lawn", rng.choice(OUTLINES))
        yield


def _has_boundary(conn: Connection, key: int) -> bool:
    query = text("SELECT boundary_fk IS NOT NULL FROM lotline.property WHERE id = :id")
    return bool(conn.execute(query, {"id": key}).scalar_one())


def _no_finding_on_decided_ground(conn: Connection) -> None:
    """What the last run proposes is not on ground that people decided on the same property."""
    rows = conn.execute(
        text("SELECT property_fk, label, state, review_fk, ST_AsBinary(geom) AS geom, "
             "run_fk = (SELECT max(id) FROM lotline.run) AS is_new "
             "FROM lotline.detection WHERE state <> 'superseded'")
    ).all()  # fmt: skip
    decided = defaultdict(list)
    for row in rows:
        if row.review_fk is not None:
            decided[row.property_fk, row.label].append(shapely.from_wkb(row.geom))
    for row in rows:
        if row.review_fk is None and row.is_new:
            ground = shapely.union_all(decided[row.property_fk, row.label])
            assert area_m2(shapely.from_wkb(row.geom).intersection(ground)) < 0.02


@pytest.mark.parametrize(
    ("seed", "steps"), [(4, 9), *(pytest.param(s, 21, marks=pytest.mark.long) for s in range(40))]
)
def test_random_histories_agree(database: Database, tmp_path: Path, seed: int, steps: int) -> None:
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    with database.engine.begin() as conn:
        keys = load_properties(conn, 5)
        history = _history(rng, conn, keys)
        for step in range(steps):
            next(history)
            conn.execute(text("SAVEPOINT checked"))
            if step % 3 == 0:
                _no_finding_on_decided_ground(conn)
            _compare(conn, seen)
    check_agreement(database, tmp_path, ["geoparquet"])
    assert seen


def _compare(conn: Connection, seen: Counter[str]) -> None:
    """The rows of the library add up to the status."""
    rows = pd.concat(row_cursors.iter_detections(conn, KEY))
    for area in county_status(conn, KEY).areas:
        own = rows[(rows["label"] == area.label) & (rows["measured_by"] == area.segmenter)]
        own = own[(own["coverage_fraction"] < 0.995) == area.partly_imaged]
        expected_m2 = area.area_m2 + (area.repeated_m2 or 0)
        assert own["area_m2"].sum() == pytest.approx(expected_m2, rel=AS_MEASURED)
        seen[area.label] += 1

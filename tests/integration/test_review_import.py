"""Corrections made in QGIS become reviews: what changed, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
import shapely
from lots import (
    COUNTY,
    LAT,
    LAWN,
    LON,
    STEP,
    TREE,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_areas_m2,
    read_detections,
    square,
    start_run,
    write_lot,
)
from shapely.geometry import mapping
from sqlalchemy import text

from detection.clip import LotLines
from detection.labels import LABELS as DEFAULT_LABELS
from parcels import County
from parcels.measure import area_m2
from pipeline.errors import CorrectionsFileError, StoreError
from pipeline.export import export_county
from pipeline.review.corrections.import_corrections import (
    ImportReport,
    ImportRequest,
    import_corrections,
)
from pipeline.review.corrections.label_names import LabelNames, read_label_maps
from pipeline.review.corrections.read_file import read_corrections
from pipeline.store.database import Database
from pipeline.store.reviews import undo, verdicts
from pipeline.store.reviews.outline_checks import OutlineRules

ENTRY = County(
    key=COUNTY, name="Synthetic County", layer=0,
    url="https://gis.example.gov/arcgis/rest/services/Parcels/MapServer",
)  # fmt: skip
LABELS = LabelNames(["lawn", "tree", "pool"], {"Grass": "lawn"})
RULES = OutlineRules(DEFAULT_LABELS, LotLines())
# With a hole, and vertices of more digits than any program writes.
YARD = shapely.MultiPolygon([shapely.affinity.rotate(LAWN.geoms[0] - square(2, 2, 1, 1), 3.7)])


@pytest.fixture
def lot(database: Database) -> int:
    """A property with a proposed lawn (in two pieces that overlap) and a tree."""
    with database.engine.begin() as conn:
        [lot] = load_properties(conn)
        found = make_result(
            make_detection(YARD), make_detection(square(5, 1, 4, 2)), make_detection(TREE, "tree")
        )
        write_lot(conn, start_run(conn), lot, make_boundary(), found)
    return lot


@pytest.fixture
def exported(database: Database, lot: int, tmp_path: Path) -> Path:
    """The county as `lotline export --format geojson` writes it."""
    export_county(database.engine, ENTRY, tmp_path / "out", "geojson")
    return tmp_path / "out"


def _import(database: Database, file: Path, reviewer: str = "ann", **options: Any) -> ImportReport:
    request = ImportRequest(COUNTY, reviewer, file.name, RULES, **options)
    corrections = read_corrections(file, None, options.pop("crs", None))
    return import_corrections(database.engine, corrections, LABELS, request)


def _read(file: Path) -> Any:
    return geopandas.read_file(file)


def _save(frame: Any, file: Path, **options: Any) -> Path:
    """Write as QGIS does: through GDAL's GeoJSON driver."""
    file.unlink(missing_ok=True)
    pyogrio.write_dataframe(frame, file, driver="GeoJSON", **options)
    return file


def _with(frame: Any, outline: Any, label: str) -> Any:
    """The layer with a drawn feature, whose other columns are NULL."""
    drawn = {**dict.fromkeys(frame.columns), "label": label, "geometry": outline}
    rows = [*frame.to_dict("records"), drawn]
    return geopandas.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")


def _events(database: Database) -> list[tuple[str, str, str]]:
    with database.engine.connect() as conn:
        query = text("SELECT action, reviewer, note FROM lotline.review ORDER BY id")
        return [(row.action, row.reviewer, row.note) for row in conn.execute(query)]


def _by_label(database: Database, lot: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with database.engine.connect() as conn:
        for row in read_detections(conn, lot):
            found.setdefault(row.label, []).append(row)
    return found


def _collection(*features: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features), **more})


def _feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    shape = None if geometry is None else mapping(geometry)
    return {"type": "Feature", "properties": properties, "geometry": shape}


@pytest.mark.parametrize(
    "options",
    [
        {"RFC7946": "YES"},  # seven digits
        {"COORDINATE_PRECISION": "7"},
        {"COORDINATE_PRECISION": "15"},
        {},
    ],
)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32616"])
def test_what_nobody_changed_is_no_review(
    database: Database, exported: Path, options: dict[str, str], crs: str
) -> None:
    """Rounded coordinates, another CRS and other types of numbers are no corrections."""
    if crs != "EPSG:4326" and "RFC7946" in options:
        pytest.skip("RFC 7946 is always EPSG:4326")
    for label in ("lawn", "tree"):
        frame = _read(exported / f"detections_{label}.geojson").to_crs(crs)
        frame["detection_id"] = frame["detection_id"].astype(float)
        frame["version"] = frame["version"].astype(str)
        report = _import(database, _save(frame, exported / "saved.geojson", **options))
        assert report.refused == []
        assert dict(report.done) == {"unchanged": len(frame)}
    assert _events(database) == []


def test_an_untouched_export_is_no_review(database: Database, exported: Path) -> None:
    report = _import(database, exported / "detections_lawn.geojson")
    assert dict(report.done) == {"unchanged": 2}
    assert report.left_out == 0


def test_a_part_that_was_exported_is_unchanged_without_its_area(
    database: Database, exported: Path
) -> None:
    """Of two lawns that overlap, one is exported without the other's ground."""
    lawns = _read(exported / "detections_lawn.geojson").drop(columns=["area_m2"])
    report = _import(database, _save(lawns, exported / "saved.geojson", RFC7946="YES"))
    assert dict(report.done) == {"unchanged": 2}
    lawns = lawns.sort_values("detection_id").reset_index(drop=True)
    lawns.loc[1, "geometry"] = square(7, 1, 2, 1)
    report = _import(database, _save(lawns, exported / "saved.geojson"))
    assert dict(report.done) == {"unchanged": 1, "edited": 1}


def test_each_change_is_an_event_of_the_reviewer(
    database: Database, exported: Path, lot: int
) -> None:
    lawns = _read(exported / "detections_lawn.geojson").sort_values("detection_id")
    lawns = lawns.reset_index(drop=True)
    with database.engine.connect() as conn:
        before = {row.id: shapely.from_wkb(row.geom) for row in read_detections(conn, lot)}
    changed = shapely.difference(lawns.geometry[0], square(1, 1, 1, 1))
    lawns.loc[0, "geometry"] = changed
    lawns.loc[1, "state"] = "rejected"
    lawns.loc[1, "note"] = "a shadow"
    lawns = _with(lawns, square(8, 8, 1, 1), "Pool")
    report = _import(database, _save(lawns, exported / "saved.geojson"))
    assert report.refused == []
    assert dict(report.done) == {"edited": 1, "rejected": 1, "added": 1}
    note = "Imported from saved.geojson"
    assert _events(database) == [
        ("edit", "ann", note), ("reject", "ann", "a shadow"), ("add", "ann", note),
    ]  # fmt: skip
    now = _by_label(database, lot)
    edited, rejected = now["lawn"]
    assert [edited.state, rejected.state] == ["accepted", "rejected"]
    assert edited.area_m2 == pytest.approx(area_m2(changed), rel=1e-5)
    [pool] = now["pool"]
    assert pool.area_m2 == pytest.approx(area_m2(square(8, 8, 1, 1)), rel=1e-7)
    # A vertex that was not touched has all of its digits again.
    stored = set(map(tuple, shapely.get_coordinates(before[edited.id])))
    kept = set(map(tuple, shapely.get_coordinates(shapely.from_wkb(edited.geom))))
    assert stored <= kept
    assert len(stored) > 5


def test_the_same_file_again_changes_nothing(database: Database, exported: Path, lot: int) -> None:
    lawns = _read(exported / "detections_lawn.geojson")
    lawns.loc[0, "geometry"] = square(1, 1, 4, 4)
    lawns.loc[1, "review"] = "Accept"
    lawns = _with(lawns, square(8, 4, 1, 1), "tree")
    saved = _save(lawns, exported / "saved.geojson")
    first = _import(database, saved)
    assert dict(first.done) == {"edited": 1, "accepted": 1, "added": 1}
    events = _events(database)
    # Another program has saved it with fewer digits.
    again = _save(_read(saved), exported / "again.geojson", RFC7946="YES")
    for file in (saved, again):
        report = _import(database, file, "bob")
        assert report.refused == []
        assert sum(report.done.values()) == 3
        assert report.done.keys() <= {"imported before", "unchanged"}
    assert _events(database) == events


def test_a_dry_run_stores_nothing(database: Database, exported: Path) -> None:
    trees = _read(exported / "detections_tree.geojson")
    trees.loc[0, "review"] = "reject"
    saved = _save(trees, exported / "saved.geojson")
    assert dict(_import(database, saved, dry_run=True).done) == {"rejected": 1}
    assert _events(database) == []
    assert dict(_import(database, saved).done) == {"rejected": 1}


def test_a_label_is_changed_together_with_the_outline(
    database: Database, exported: Path, lot: int
) -> None:
    trees = _read(exported / "detections_tree.geojson")
    trees.loc[0, ["label", "geometry"]] = ["GRASS", square(1, 6, 2, 2)]
    report = _import(database, _save(trees, exported / "saved.geojson"))
    assert dict(report.done) == {"relabelled": 1, "edited": 1}
    assert [action for action, _, _ in _events(database)] == ["relabel", "edit"]
    with database.engine.connect() as conn:
        assert read_areas_m2(conn, lot)["tree"] == 0


def test_a_change_of_what_somebody_has_changed_is_refused_with_both(
    database: Database, exported: Path, lot: int
) -> None:
    with database.engine.begin() as conn:
        tree = next(row for row in read_detections(conn, lot) if row.label == "tree")
        verdicts.edit(conn, tree.id, "bob", square(1, 6, 3, 2))
    trees = _read(exported / "detections_tree.geojson")
    trees.loc[0, "geometry"] = square(1, 6, 2, 3)
    report = _import(database, _save(trees, exported / "saved.geojson"))
    [refusal] = report.refused
    both = area_m2(shapely.symmetric_difference(square(1, 6, 3, 2), square(1, 6, 2, 3)))
    assert "changed by bob after version 1 was exported" in refusal.why
    assert f"differ by {both:.2f} m²" in refusal.why
    assert [action for action, _, _ in _events(database)] == ["edit"]
    # Who has not touched it contradicts nobody.
    assert dict(_import(database, exported / "detections_tree.geojson").done) == {"unchanged": 1}


def test_an_object_that_is_left_out_stays_unless_asked(
    database: Database, exported: Path, lot: int
) -> None:
    lawns = _read(exported / "detections_lawn.geojson").iloc[1:]
    saved = _save(lawns, exported / "saved.geojson")
    report = _import(database, saved)
    assert report.left_out == 0, "it is newer than all in the file, for all one knows"
    lawns = _read(exported / "detections_lawn.geojson").iloc[:1]
    # The file's ids end before the one that is missing.
    saved = _save(lawns, exported / "saved.geojson")
    newest = int(lawns["detection_id"].max())
    with database.engine.connect() as conn:
        others = [row.id for row in read_detections(conn, lot) if row.label == "lawn"]
    expected = sum(each < newest for each in others)
    report = _import(database, saved, reject_missing=True)
    assert report.left_out == expected
    assert report.done["rejected"] == expected


def test_a_split_object_is_the_larger_part_and_a_new_one(
    database: Database, exported: Path, lot: int
) -> None:
    trees = _read(exported / "detections_tree.geojson")
    trees = trees.loc[[0, 0]].reset_index(drop=True)
    trees["geometry"] = [square(1, 6, 1, 3), square(2, 6, 2, 3)]
    saved = _save(trees.set_crs("EPSG:4326", allow_override=True), exported / "saved.geojson")
    assert dict(_import(database, saved).done) == {"edited": 1, "added": 1}
    first, second = _by_label(database, lot)["tree"]
    assert first.area_m2 == pytest.approx(area_m2(square(2, 6, 2, 3)), rel=1e-6)
    assert second.state == "accepted"
    assert read_areas_m2_of(database, lot)["tree"] == pytest.approx(area_m2(TREE), rel=1e-6)


def read_areas_m2_of(database: Database, lot: int) -> dict[str, float]:
    with database.engine.connect() as conn:
        return read_areas_m2(conn, lot)


OUTLINE = square(7, 7, 2, 2)


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (_feature(OUTLINE, label="lawn", detection_id="twelve"), "is not a number"),
        (_feature(OUTLINE, label="lawn", detection_id=True), "is not a number"),
        (_feature(OUTLINE, label="lawn", detection_id=10**30), "is not a number"),
        (_feature(OUTLINE, label="lawn", detection_id=999, version=1), "no detection 999"),
        (_feature(OUTLINE, label="law n"), "--label-map 'law n'=LABEL"),
        (_feature(OUTLINE, label="\x1b[2Jlawn"), "is not a label"),
        (_feature(OUTLINE), "has no label"),
        (_feature(OUTLINE, label="lawn", review="perhaps"), "is not a decision"),
        (_feature(None, label="lawn"), "has no geometry"),
        (_feature(shapely.Point(-90, 35), label="lawn"), "not a polygon"),
        (_feature(shapely.Polygon([(-90, 35), (-91, 36), (-90, 36), (-91, 35)]), label="lawn"),
         "crosses or touches itself"),
        (_feature(square(30, 30, 1, 1), label="lawn"), "in no boundary"),
        (_feature(square(9, 1, 4, 1), label="lawn"), "no property has half"),
        (_feature(square(9, 1, 1.9, 1), label="lawn"), "clip it to the boundary"),
        (_feature(square(5, 5, 0.01, 0.01), label="lawn"), "too small"),
        (_feature(OUTLINE, label="lawn", property_id="p9"), "correct property_id"),
        (_feature(LAWN, label="lawn"), "detection_id"),
        ({"type": "Feature", "properties": {"label": "lawn"},
          "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [1, 1],
                                                           [0, 0]]]}}, "not a number"),
        ({"type": "Feature", "properties": {"label": "lawn"},
          "geometry": {"type": "Polygon", "coordinates": [["a", {}]]}}, "cannot be read"),
        ({"type": "Feature", "properties": {"label": "lawn"},
          "geometry": {"type": "Polygon", "coordinates": []}}, "vertices"),
        ({"type": "Feature", "properties": [1], "geometry": mapping(OUTLINE)}, "has no label"),
        ({"type": "Feature", "properties": {"label": "lawn"}, "geometry": {
            "type": "Polygon",
            "coordinates": [[[x / 1e6, (x % 2) / 1e6] for x in range(100_001)]]}}, "vertices"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_with_a_reason(
    database: Database, lot: int, tmp_path: Path, feature: dict[str, Any], why: str
) -> None:
    """The other objects of the file are imported."""
    file = tmp_path / "drawn.geojson"
    file.write_text(_collection(feature, _feature(square(8, 8, 1, 1), label="pool")))
    report = _import(database, file)
    [refusal] = report.refused
    assert why in refusal.why
    assert refusal.correction.where == "feature 1"
    assert dict(report.done) == {"added": 1}
    assert [action for action, _, _ in _events(database)] == ["add"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"[]", "no features"),
        (b"{", "is not GeoJSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"type": "FeatureCollection", "features": []}', "no features"),
        (b"\x00\x00\x27\x0a" + bytes(96), "shapefile"),
        (b"PK\3\4" + bytes(30), "zip"),
        (b"SQLite format 3\0", "GeoPackage"),
        (_collection(_feature(OUTLINE, label="lawn"), crs=None).encode(), "CRS"),
        (_collection(_feature(OUTLINE), crs={"properties": {"name": "+proj=x"}}).encode(), "CRS"),
        (_collection(_feature(OUTLINE), crs={"properties": {"name": "EPSG:999999"}}).encode(),
         "EPSG:4326"),
        (_collection(_feature(shapely.box(500_000, 4e6, 500_010, 4e6 + 10))).encode(),
         "not on Earth"),
        (b'{"images": [], "annotations": [], "categories": []}', "no annotations"),
        (b'{"images": 1, "annotations": [{}]}', "no categories"),
    ],
)  # fmt: skip
def test_an_unusable_file_says_what_to_do(
    database: Database, lot: int, tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "drawn.geojson"
    file.write_bytes(content)
    with pytest.raises(CorrectionsFileError, match=why):
        _import(database, file)
    assert _events(database) == []


def test_a_pipe_and_a_device_are_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.geojson"
    os.mkfifo(pipe)
    for path, what in ((pipe, "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(CorrectionsFileError, match=what):
            read_corrections(path, None, None)
    large = tmp_path / "large.geojson"
    with large.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(CorrectionsFileError, match="MiB"):
        read_corrections(large, None, None)


def test_an_endless_feature_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "endless.geojson"
    with file.open("wb") as writing:
        writing.write(b'{"type": "FeatureCollection", "features": [{"a": [')
        for _ in range(70):
            writing.write(b"0," * (1 << 19))
    with pytest.raises(CorrectionsFileError, match="more than 64 MiB"):
        read_corrections(file, None, None)


def test_other_ways_to_write_geojson(database: Database, lot: int, tmp_path: Path) -> None:
    """A byte order mark, one feature per line, heights, other cases of names, and a `fid`."""
    line = json.dumps(
        {"type": "Feature", "id": 7, "properties": {"fid": 7, "LABEL": "pool", "Detection_ID": None,
         "version": "NULL"}, "geometry": mapping(shapely.force_3d(square(8, 8, 1, 1), 3.0))}
    )  # fmt: skip
    file = tmp_path / "lines.geojsonl"
    other = line.replace("pool", "tree")
    file.write_bytes(b"\xef\xbb\xbf" + f"{line}\n{other}\n".encode())
    assert dict(_import(database, file).done) == {"added": 2}


def test_units_of_one_lot_need_their_property_id(database: Database, tmp_path: Path) -> None:
    with database.engine.begin() as conn:
        run = start_run(conn)
        for lot in load_properties(conn, 2):
            write_lot(conn, run, lot, make_boundary(), make_result(make_detection(LAWN)))
    file = tmp_path / "drawn.geojson"
    file.write_text(_collection(_feature(OUTLINE, label="pool")))
    [refusal] = _import(database, file).refused
    assert "p0, p1" in refusal.why
    assert "property_id" in refusal.why
    file.write_text(_collection(_feature(OUTLINE, label="pool", property_id="p1")))
    assert dict(_import(database, file).done) == {"added": 1}


def test_corrections_need_a_reviewer(database: Database, exported: Path) -> None:
    with pytest.raises(StoreError, match="--by"):
        _import(database, exported / "detections_lawn.geojson", " ")


def test_label_maps(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("Swimming Pool: pool\n2: lawn\n")
    names = LabelNames(["lawn"], read_label_maps([str(file), "Baum = tree"]))
    assert [names.label(name) for name in ("swimming pool", "2", "baum", "LAWN", "pool")] == [
        "pool", "lawn", "tree", "lawn", "pool",
    ]  # fmt: skip
    for bad in ("a=", "=b", str(tmp_path / "none.yaml"), str(tmp_path)):
        with pytest.raises(CorrectionsFileError):
            read_label_maps([bad])
    file.write_text("[1, 2]")
    with pytest.raises(CorrectionsFileError, match="name: label"):
        read_label_maps([str(file)])


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(database: Database, tmp_path: Path) -> Command:
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        f"counties:\n  {COUNTY}:\n    name: Synthetic County\n    url: {ENTRY.url}\n    layer: 0\n"
    )

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("lotline")), "review", "import",
             "--county", COUNTY, "--registry", str(registry), *map(str, words)],
            env={**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(tmp_path)},
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run


def test_the_command_reports_what_it_refused_and_imports_it_after_a_correction(
    command: Command, database: Database, lot: int, tmp_path: Path
) -> None:
    file = tmp_path / "drawn.geojson"
    file.write_text(
        _collection(
            _feature(square(8, 8, 1, 1), label="pool"),
            _feature(square(8, 4, 1, 1), label="\x1b[2Jplum", note="seen"),
        )
    )
    some = command(file, "--by", "Ann Lee")
    assert some.returncode == 1, some.stderr
    assert "imported: 1 added" in some.stdout
    assert "\x1b" not in some.stdout + some.stderr
    refused = tmp_path / "drawn.geojson.refused.geojson"
    assert str(refused) in some.stderr
    [feature] = json.loads(refused.read_text())["features"]
    assert "is not a label" in feature["properties"]["refused"]
    # It is corrected and imported like any other file.
    feature["properties"]["label"] = "tree"
    refused.write_text(_collection(feature))
    assert command(refused, "--by", "Ann Lee").returncode == 0
    assert _events(database)[-1] == ("add", "Ann Lee", "seen")
    assert command(file, "--label-map", " [2Jplum=tree").returncode == 0
    nothing = command(tmp_path / "none.geojson")
    assert nothing.returncode == 2
    assert "error: " in nothing.stderr


def test_annotations_of_an_image_edit_accept_and_add(
    database: Database, lot: int, tmp_path: Path
) -> None:
    """COCO has no ids of ours: an annotation that shows a stored object is that object."""
    step = STEP / 10  # a tenth of a step of the lot is a pixel
    size = 100

    def ring(outline: Any) -> list[float]:
        xy = shapely.get_coordinates(outline) - [LON, LAT]
        columns, rows = xy[:, 0] / step, size - xy[:, 1] / step
        return [float(each) for pair in zip(columns, rows, strict=True) for each in pair]

    def coco(*annotations: tuple[int, Any]) -> Path:
        content = {
            "images": [
                {"id": 1, "file_name": "chip.png", "width": size, "height": size,
                 "crs": "EPSG:4326", "transform": [step, 0, LON, 0, -step, LAT + size * step]}
            ],
            "categories": [{"id": 1, "name": "Swimming Pool"}, {"id": 2, "name": "tree"}],
            "annotations": [
                {"id": number, "image_id": 1, "category_id": category,
                 "segmentation": [ring(outline)]}
                for number, (category, outline) in enumerate(annotations)
            ],
        }  # fmt: skip
        file = tmp_path / "instances_default.json"
        file.write_text(json.dumps(content))
        return file

    names = LabelNames(["lawn", "tree"], {"swimming pool": "pool"})
    request = ImportRequest(COUNTY, "ann", "instances_default.json", RULES)

    def run(file: Path) -> ImportReport:
        corrections = read_corrections(file, None, None)
        return import_corrections(database.engine, corrections, names, request)

    same, pool, beyond = TREE, square(8, 8, 1, 1), square(5, -0.5, 1, 0.5)
    report = run(coco((2, same), (1, pool), (1, beyond)))
    assert dict(report.done) == {"accepted": 1, "added": 1}
    [refusal] = report.refused
    assert "beyond its image" in refusal.why
    assert [action for action, _, _ in _events(database)] == ["accept", "add"]
    events = _events(database)
    again = run(coco((2, same), (1, pool)))
    assert dict(again.done) == {"imported before": 2}
    assert _events(database) == events
    # The crown is drawn anew.
    smaller = square(1, 6, 3, 2)
    assert dict(run(coco((2, smaller))).done) == {"edited": 1}
    [tree] = _by_label(database, lot)["tree"]
    assert tree.area_m2 == pytest.approx(area_m2(smaller), rel=1e-4)
    assert [pool.state for pool in _by_label(database, lot)["pool"]] == ["accepted"]


def test_labels_of_an_objects_history_are_not_those_of_the_file(
    database: Database, exported: Path, lot: int
) -> None:
    with database.engine.begin() as conn:
        [lawn, *_] = [row.id for row in read_detections(conn, lot) if row.label == "lawn"]
        relabelled = verdicts.relabel(conn, lawn, "ann", "tree")
        undo.undo(conn, relabelled.id, "ann")
    lawns = _read(exported / "detections_lawn.geojson")
    report = _import(database, _save(lawns, exported / "saved.geojson"), reject_missing=True)
    assert report.left_out == 0
    assert dict(report.done) == {"unchanged": len(lawns)}
    # A feature that the person relabels is still one of the lawns that were exported.
    lawns.loc[0, "label"] = "tree"
    report = _import(database, _save(lawns, exported / "saved.geojson"), reject_missing=True)
    assert report.left_out == 0
    assert report.done["rejected"] == 0

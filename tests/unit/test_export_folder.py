"""The folder of an export: complete, or without a README.md."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.errors import ExportError
from pipeline.export.export_folder import MARK, README, ExportDraft, draft
from pipeline.export.manifest import MANIFEST


def fill(new: ExportDraft, **files: str) -> None:
    for name, text in files.items():
        with new.file(f"{name}.csv") as file:
            file.write(text.encode())
    with new.file(README) as file:
        file.write(f"# A county\n{MARK}\n".encode())


def names(out: Path) -> set[str]:
    """The files of a folder, without the manifest."""
    return {path.name for path in out.iterdir()} - {MANIFEST}


def export(out: Path, **files: str) -> None:
    with draft(out) as new:
        fill(new, **files)
        new.publish()


def interrupted(out: Path, fault: BaseException | type[BaseException], **files: str) -> None:
    with draft(out) as new:
        fill(new, **files)
        raise fault


def test_files_are_published_with_the_readme_last(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with draft(out) as new:
        fill(new, properties="1")
        assert names(out) == {".making"}, "no partial file is visible"
        new.publish()
    assert names(out) == {"properties.csv", README}
    assert (out / README).stat().st_mtime_ns >= (out / "properties.csv").stat().st_mtime_ns


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_a_stopped_export_leaves_no_readme(tmp_path: Path, fault: type[BaseException]) -> None:
    export(tmp_path, properties="old")
    with pytest.raises(fault):
        interrupted(tmp_path, fault, properties="new")
    assert names(tmp_path) == {"properties.csv"}
    assert (tmp_path / "properties.csv").read_text() == "old", "two exports are never mixed"
    export(tmp_path, properties="new")
    assert names(tmp_path) == {"properties.csv", README}


def test_leftovers_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".making"
    left.mkdir()
    (left / "properties.csv").write_text("half of it")
    (left / "detections_pool.csv").write_text("half of it")
    export(tmp_path, properties="all of it")
    assert names(tmp_path) == {"properties.csv", README}
    assert (tmp_path / "properties.csv").read_text() == "all of it"


def test_outdated_labels_are_deleted_and_foreign_files_stay(tmp_path: Path) -> None:
    for theirs in ("notes.csv", "detections_pool.parquet"):
        (tmp_path / theirs).write_text("theirs")
    export(tmp_path, detections_pool="", detections_lawn="")
    export(tmp_path, detections_lawn="")
    assert names(tmp_path) == {
        "detections_lawn.csv", README, "notes.csv", "detections_pool.parquet",
    }  # fmt: skip


def test_a_foreign_readme_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / README).write_text("# My project\n")
    with pytest.raises(ExportError, match=r"README\.md is not from an export.*--out"):
        export(tmp_path, properties="")
    assert names(tmp_path) == {README}
    assert (tmp_path / README).read_text() == "# My project\n"


def test_a_folder_is_locked_during_an_export(tmp_path: Path) -> None:
    with draft(tmp_path) as new:
        with pytest.raises(ExportError, match="another export is writing into"):
            export(tmp_path, properties="second")
        fill(new, properties="first")
        new.publish()
    assert (tmp_path / "properties.csv").read_text() == "first"
    export(tmp_path, properties="third")


def test_an_unwritable_folder_error_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExportError, match=r"out cannot be written \(.+\)\. Make it writable"):
        export(tmp_path / "out", properties="")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_full_error_has_a_remedy(tmp_path: Path, number: int) -> None:
    with pytest.raises(ExportError, match=r"is full after 0\.2 MB.*Free some"):
        interrupted(tmp_path, OSError(number, "as the system says it"), properties="x" * 200_000)
    assert names(tmp_path) == set()


def test_an_export_in_another_format_replaces_the_earlier_one(tmp_path: Path) -> None:
    with draft(tmp_path) as new:
        for name in ("properties.parquet", "detections_lawn.parquet", README):
            with new.file(name) as file:
                file.write(MARK.encode())
        new.publish()
    (tmp_path / "my map.qgz").write_text("theirs")
    export(tmp_path, properties="1", detections_lawn="2")
    assert names(tmp_path) == {"properties.csv", "detections_lawn.csv", README, "my map.qgz"}


def test_a_foreign_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "properties.csv").write_text("the customer's own list")
    with pytest.raises(ExportError, match=r"properties\.csv is not from an export.*--out"):
        export(tmp_path, errors="", properties="")
    assert names(tmp_path) == {"properties.csv"}
    assert (tmp_path / "properties.csv").read_text() == "the customer's own list"


def test_a_changed_file_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(tmp_path, errors="to correct", detections_pool="1")
    (tmp_path / "errors.csv").write_text("corrected")
    (tmp_path / "detections_pool.csv").write_text("edited")
    export(tmp_path, errors="fewer")
    assert (tmp_path / "errors.csv").read_text() == "fewer"
    assert (tmp_path / "errors.csv.changed").read_text() == "corrected"
    assert (tmp_path / "detections_pool.csv").read_text() == "edited"
    assert "it is now errors.csv.changed" in caplog.text
    assert "detections_pool.csv is of an earlier export and was changed since" in caplog.text
    (tmp_path / "errors.csv").write_text("corrected again")
    export(tmp_path, errors="none")
    assert (tmp_path / "errors.csv.changed2").read_text() == "corrected again"


def test_a_stopped_export_still_knows_the_files_of_the_earlier_one(tmp_path: Path) -> None:
    export(tmp_path, properties="old", detections_pool="old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, KeyboardInterrupt, properties="new")
    export(tmp_path, properties="new")
    assert names(tmp_path) == {"properties.csv", README}


def test_an_export_without_a_manifest_is_known_by_its_readme(tmp_path: Path) -> None:
    row = "| `{}` | one row per property | {} | {} |\n"
    table = row.format("properties.parquet", "1,000", "1,005") + row.format("errors.csv", 1, 6)
    (tmp_path / README).write_text(f"# A county\n{MARK}\n\n{table}")
    (tmp_path / "properties.parquet").write_text("x" * 1_005)
    (tmp_path / "errors.csv").write_text("other size")
    export(tmp_path, properties="new")
    assert names(tmp_path) == {"properties.csv", README, "errors.csv"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": {"../precious.csv": ["x"]}}'])
def test_a_damaged_manifest_deletes_nothing(tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious.csv").write_text("precious")
    (out / "notes.csv").write_text("theirs")
    (out / MANIFEST).write_text(text)
    export(out, properties="new")
    assert names(out) == {"properties.csv", README, "notes.csv"}
    assert (tmp_path / "precious.csv").exists()

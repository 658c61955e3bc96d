"""The folder of an export: complete, or without a README.md."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.errors import ExportError
from pipeline.export.export_folder import MARK, README, ExportDraft, draft


def fill(new: ExportDraft, **files: str) -> None:
    for name, text in files.items():
        with new.file(f"{name}.csv") as file:
            file.write(text.encode())
    with new.file(README) as file:
        file.write(f"# A county\n{MARK}\n".encode())


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def export(out: Path, **files: str) -> None:
    with draft(out) as new:
        fill(new, **files)
        new.publish(outdated="detections_*.csv")


def interrupted(out: Path, fault: BaseException | type[BaseException], **files: str) -> None:
    with draft(out) as new:
        fill(new, **files)
        raise fault


def test_files_are_published_with_the_readme_last(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with draft(out) as new:
        fill(new, properties="1")
        assert names(out) == {".making"}, "no partial file is visible"
        new.publish(outdated="detections_*.csv")
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
        new.publish(outdated="detections_*.csv")
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

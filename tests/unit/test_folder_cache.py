"""The folder cache: killed or concurrent processes and damaged files cause misses, not errors."""

from __future__ import annotations

import gc
import logging
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordingsource import ORIGIN, RecordingSource, synthetic_rows

from parcels.cache import CachedLayer, FolderCache, LayerKey
from parcels.cache.fetch_layer import fetch_layer
from parcels.errors import CacheError
from parcels.parcel_source import LayerVersion, QueryResult

KEY = LayerKey("synthetic", ORIGIN, "a" * 32)
STAMP = LayerVersion(last_edit_ms=1)
TESTS = Path(__file__).resolve().parent.parent

# Stores results and prints a line for each, until it is killed.
WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from recordingsource import ORIGIN, synthetic_rows
from parcels.cache import FolderCache, LayerKey
from parcels.parcel_source import LayerVersion, QueryResult
layer = FolderCache(Path(sys.argv[1])).layer(LayerKey("synthetic", ORIGIN, "a" * 32))
for number in range(100_000):
    question = f"{{sys.argv[2]}}:{{number}}"
    found = QueryResult(tuple(synthetic_rows()), ORIGIN)
    layer.store_results({{question: found}}, LayerVersion(last_edit_ms=1))
    print(question, flush=True)
"""


@pytest.fixture
def layer(tmp_path: Path) -> CachedLayer:
    return FolderCache(tmp_path).layer(KEY)


def _parts(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("synthetic/*/answers/*/*.parquet"))


def test_results_of_a_killed_process_are_complete(tmp_path: Path) -> None:
    for round_ in range(4):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), f"{round_}{name}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in "ab"
        ]
        keys: list[str] = []
        for writer in writers:
            assert writer.stdout is not None
            keys += [writer.stdout.readline().strip() for _ in range(3)]
        time.sleep(random.Random(round_).random() / 50)  # at any instant
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            rest, _ = writer.communicate()
            keys += rest.split()
        found = FolderCache(tmp_path).layer(KEY).read_results(keys, STAMP)
        assert set(found) == set(keys)
        assert {result.rows for result in found.values()} == {tuple(synthetic_rows())}


def test_a_damaged_part_is_removed_with_a_warning(
    tmp_path: Path, layer: CachedLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer.store_results({"id:1": QueryResult(tuple(synthetic_rows()), ORIGIN)}, STAMP)
    [good] = _parts(tmp_path)
    content = good.read_bytes()
    middle = len(content) // 2
    damaged = {
        "1-aa": b"",
        "2-bb": b"not a table",
        "3-cc": content[:middle],
        "4-dd": content[: middle - 30] + bytes(60) + content[middle + 30 :],
    }
    for name, broken in damaged.items():
        good.with_name(f"{name}.parquet").write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        found = FolderCache(tmp_path).layer(KEY).read_results(["id:1", "id:2"], STAMP)
    assert set(found) == {"id:1"}
    assert found["id:1"].rows == tuple(synthetic_rows())
    assert caplog.text.count("is damaged and was removed") == len(damaged)
    assert _parts(tmp_path) == [good]


def _with(good: Path, name: str, column: pa.Array) -> None:
    table = pq.read_table(good)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, table.schema.field(place), column), good)


def test_invalid_parts_and_versions_are_cache_misses(tmp_path: Path, layer: CachedLayer) -> None:
    def newest_part() -> Path:
        shutil.rmtree(tmp_path / "synthetic", ignore_errors=True)
        fresh = FolderCache(tmp_path).layer(KEY)
        fresh.record_version(STAMP)
        fresh.store_results({"id:1": QueryResult(tuple(synthetic_rows(3)), ORIGIN)}, STAMP)
        [part] = _parts(tmp_path)
        return part

    _with(newest_part(), "geometry", pa.array([b"\x01\x02"] * 3, pa.binary()))
    assert FolderCache(tmp_path).layer(KEY).read_results(["id:1"], STAMP) == {}
    _with(newest_part(), "fetched_at", pa.nulls(3, pa.timestamp("us", tz="UTC")))
    assert FolderCache(tmp_path).layer(KEY).read_results(["id:1"], STAMP) == {}
    good = newest_part()
    good.with_name("5-ab.parquet").mkdir()
    later = FolderCache(tmp_path).layer(KEY)
    assert set(later.read_results(["id:1", "id:2"], STAMP)) == {"id:1"}
    later.evict_before(datetime.now(UTC) - timedelta(days=30))
    about = good.parent.parent.parent / "layer.json"
    for keys in ("[" * 100_000, '{"stamp": {"last_edit_ms": "/../x"}}', '{"stamp": {"count": {}}}'):
        about.write_text(keys)
        assert FolderCache(tmp_path).layer(KEY).last_version() is None
    with pytest.raises(CacheError):
        layer.store_results({}, LayerVersion(last_edit_ms="/../x"))  # type: ignore[arg-type]  # a server's word


def test_a_folder_without_delete_permission_still_works(
    tmp_path: Path,
    layer: CachedLayer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer.store_results({"id:1": QueryResult(tuple(synthetic_rows()), ORIGIN)}, STAMP)
    [good] = _parts(tmp_path)
    good.with_name("1-aa.parquet").write_bytes(b"not a table")

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    later = FolderCache(tmp_path).layer(KEY)
    assert set(later.read_results(["id:1", "id:2"], STAMP)) == {"id:1"}
    for _ in range(2):
        later.evict_before(datetime.now(UTC) + timedelta(days=1))
    assert caplog.text.count("cannot be removed") == 1
    assert caplog.text.count("old parcels stay in") == 1


def test_many_parts_are_merged(tmp_path: Path, layer: CachedLayer) -> None:
    now = datetime.now(UTC)
    for number in range(120):
        when = now - timedelta(days=40 if number < 5 else 0)
        layer.store_results({f"id:{number}": QueryResult((), ORIGIN, when)}, STAMP)
    assert len(_parts(tmp_path)) == 120
    layer.evict_before(now - timedelta(days=30))
    assert len(_parts(tmp_path)) == 1
    for reader in (layer, FolderCache(tmp_path).layer(KEY)):
        found = reader.read_results([f"id:{number}" for number in range(5, 120)], STAMP)
        assert len(found) == 115
    assert not FolderCache(tmp_path).layer(KEY).read_results(["id:1"], STAMP)


def test_results_of_an_earlier_version_leave_memory(layer: CachedLayer) -> None:
    before = pa.total_allocated_bytes()
    for edited in range(5):
        layer_version = LayerVersion(last_edit_ms=edited)
        layer.store_results(
            {"id:1": QueryResult(tuple(synthetic_rows(2_000)), ORIGIN)}, layer_version
        )
        if edited == 0:
            one = pa.total_allocated_bytes() - before
    gc.collect()
    assert pa.total_allocated_bytes() - before < 2 * one
    assert layer.read_results(["id:1"], LayerVersion(last_edit_ms=0)), (
        "on the disk they are, for a while"
    )


def test_a_read_only_folder_causes_cache_misses_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "synthetic").write_text("a file where the folder should be")
    layer = FolderCache(tmp_path).layer(KEY)
    with caplog.at_level(logging.WARNING):
        layer.record_version(STAMP)
        layer.store_results({"id:1": QueryResult((), ORIGIN)}, STAMP)
        layer.store_results({"id:2": QueryResult((), ORIGIN)}, STAMP)
        layer.evict_before(datetime.now(UTC))
    assert layer.read_results(["id:1"], STAMP) == {}
    assert caplog.text.count("make the folder writable") == 1


def test_a_damaged_snapshot_is_not_used(
    tmp_path: Path, layer: CachedLayer, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_layer(RecordingSource(), layer)
    [copy] = tmp_path.glob("synthetic/*/copy.parquet")
    copy.write_bytes(copy.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert layer.snapshot_version() is None
        assert layer.snapshot() is None
    assert "lotline parcels fetch" in caplog.text
    fetch_layer(RecordingSource(), layer)
    assert layer.snapshot() is not None


def test_temporary_files_of_a_killed_process_are_removed(
    tmp_path: Path, layer: CachedLayer
) -> None:
    fetch_layer(RecordingSource(), layer)
    [copy] = tmp_path.glob("synthetic/*/copy.parquet")
    half = copy.with_name(".copy.parquet.0123abcd.part")
    half.write_bytes(b"half a copy")
    fetch_layer(RecordingSource(), layer)
    assert not half.exists()
    assert copy.exists()


def test_a_damaged_page_is_downloaded_again(tmp_path: Path, layer: CachedLayer) -> None:
    pages = list(RecordingSource().harvest())
    with layer.begin_snapshot(STAMP, ORIGIN) as copy:
        for page in pages[:3]:
            copy.add(page)
    second = next(tmp_path.glob("synthetic/*/copying/*/000002.parquet"))
    second.write_bytes(b"half a page")
    source = RecordingSource()
    assert fetch_layer(source, layer).rows == 20
    assert source.after == [6]

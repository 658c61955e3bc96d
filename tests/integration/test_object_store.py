"""Objects in a folder and in a bucket of a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ObjectStoreError
from pipeline.store.objects import folder_or_bucket
from pipeline.store.objects.folder_or_bucket import ObjectStore, content_key, open_objects

Open = Callable[[], ObjectStore]


@pytest.fixture(params=["folder", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield open_objects(str(tmp_path / "objects"))
    else:
        yield open_objects(request.getfixturevalue("s3_bucket") + "/some/prefix")


def test_what_is_put_is_read_listed_and_replaced(opened: ObjectStore) -> None:
    assert opened.get("a/b.bin") is None
    assert opened.listed("a/") == {}
    opened.put("a/b.bin", b"one")
    opened.put("a/c/d.bin", b"")
    opened.put("ab/e.bin", b"x")
    assert opened.get("a/b.bin") == b"one"
    assert opened.get("a/c/d.bin") == b""
    assert set(opened.listed("a/")) == {"a/b.bin", "a/c/d.bin"}
    opened.put("a/b.bin", b"two")
    assert opened.get("a/b.bin") == b"two"
    assert opened.listed("a/")["a/b.bin"] > datetime.now(UTC) - timedelta(minutes=5)
    opened.delete("a/b.bin")
    opened.delete("a/b.bin")
    assert set(opened.listed("a/")) == {"a/c/d.bin"}


def test_a_new_object_never_replaces_another(opened: ObjectStore) -> None:
    assert opened.put_new("a/b.json", b"first")
    assert not opened.put_new("a/b.json", b"second")
    assert opened.get("a/b.json") == b"first"
    assert set(opened.listed("a/")) == {"a/b.json"}
    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(lambda n: opened.put_new("c", bytes([n])), range(8)))
    assert written.count(True) == 1
    assert opened.get("c") == bytes([written.index(True)])


def test_a_key_names_the_content() -> None:
    key = content_key("chips", b"pixels", ".tif")
    assert key == content_key("chips", b"pixels", ".tif") != content_key("chips", b"pixel", ".tif")
    assert key.startswith("chips/")
    assert len(folder_or_bucket.content_sha256(key)) == 64


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = open_objects(str(tmp_path))
    objects.put("a.json", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ObjectStoreError, match=r"a\.json cannot be written .*free some space"):
        objects.put("a.json", b"new")
    assert objects.get("a.json") == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ObjectStoreError, match="cannot be written"):
        open_objects(str(tmp_path / "file")).put("a", b"")


@pytest.mark.parametrize("address", ["gs://bucket/a", "https://user:secret@host/a"])
def test_another_kind_of_address(address: str) -> None:
    with pytest.raises(ObjectStoreError, match="neither a folder nor s3") as caught:
        open_objects(address)
    assert "secret" not in str(caught.value)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ObjectStoreError, match="AWS_ACCESS_KEY_ID"):
        open_objects("s3://bucket/prefix")


def test_a_bucket_that_does_not_exist(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = open_objects(s3_bucket + "-other")
    with pytest.raises(ObjectStoreError, match=r"s3://corrections-other/a cannot be written"):
        objects.put("a", b"")


def test_a_server_that_is_away(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_or_bucket, "_RETRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    objects = open_objects(s3_bucket)
    with pytest.raises(ObjectStoreError, match="cannot be read"):
        objects.get("a")


def test_values_of_the_environment_are_not_told(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects: Any = open_objects(s3_bucket + "-other")
    with pytest.raises(ObjectStoreError) as caught:
        objects.listed("a/")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)

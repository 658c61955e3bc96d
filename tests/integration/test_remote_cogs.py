"""COGs by https and s3, and STAC: pixels, ranges, bands, dates; and what fails how."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.shutil import copy as raster_copy
from rasters import LEFT, TOP, boundary, noise, pixel_grid, write_tiff
from servers.bucket import Bucket, bucket_server
from servers.scripted import Reply, ScriptedServer
from shapely import box

from detection import open_imagery
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelWindow
from detection.imagery.remote.object_store import Target, headers_for, target_of
from detection.imagery.remote.range_reader import forget_blocks
from detection.registry.imagery_entry import ImageryEntry
from parcels.arcgis.http import byte_client

LOT = boundary(box(LEFT + 100, TOP - 150, LEFT + 150, TOP - 100)).geometry


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cached blocks, no waits, no credentials."""
    forget_blocks()
    real = byte_client.ByteClient.__init__

    def quick(self: byte_client.ByteClient, **more: Any) -> None:
        real(self, **{**more, "sleep": lambda _: None, "calls_per_second": 1e6})

    monkeypatch.setattr(byte_client.ByteClient, "__init__", quick)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
                 "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_HTTPS",
                 "AWS_S3_ENDPOINT", "AWS_NO_SIGN_REQUEST", "AWS_REQUEST_PAYER"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


PIXELS = noise(4, 2000, 2000)


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """16 MB that no compression makes smaller."""
    folder = tmp_path_factory.mktemp("cog")
    tiff = write_tiff(folder / "a.tif", PIXELS)
    raster_copy(tiff, folder / "cog.tif", driver="COG", BLOCKSIZE=128, COMPRESS="NONE")
    return (folder / "cog.tif").read_bytes()


@pytest.fixture
def bucket(cog: bytes) -> Bucket:
    return Bucket({"naip/m_2020_20200531.tif": cog})


@pytest.fixture
def server(bucket: Bucket) -> Iterator[ScriptedServer]:
    with bucket_server(bucket) as running:
        yield running


def opened(**keys: Any) -> ImagerySource:
    return open_imagery(ImageryEntry.model_validate(keys), allow_private=True)


def read(imagery: ImagerySource) -> Any:
    grid = imagery.grid_for(LOT)
    corner = pixel_grid().window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
    return imagery.read(grid, PixelWindow(corner.column + 200, corner.row + 200, 100, 100))


def item(href: str, **properties: Any) -> dict[str, Any]:
    bands = [{"name": name, "common_name": name} for name in ("red", "green", "blue", "nir")]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "m_2020",
        "properties": {"datetime": "2020-05-31T00:00:00Z", "gsd": 0.5, **properties},
        "assets": {
            "metadata": {"href": "a.xml", "type": "text/xml"},
            "thumbnail": {"href": "a.jpg", "type": "image/jpeg"},
            "image": {"href": href, "type": "image/tiff; application=geotiff", "eo:bands": bands},
        },
    }


class TestRanges:
    def test_only_ranges_are_read(self, server: ScriptedServer, bucket: Bucket, cog: bytes) -> None:
        imagery = opened(url=f"{server.address}/naip/m_2020_20200531.tif")
        assert server.calls == []  # opening sends no request
        chip = read(imagery)
        assert np.array_equal(chip.pixels, PIXELS[:, 200:300, 200:300])
        assert chip.captured_on == "2020-05-31"
        assert chip.sources == (f"{server.address}/naip/m_2020_20200531.tif",)
        assert bucket.sent < 2_000_000 < len(cog) / 8
        assert {call.path for call in server.calls} == {"/naip/m_2020_20200531.tif"}

    def test_a_second_chip_beside_it_needs_little(
        self, server: ScriptedServer, bucket: Bucket
    ) -> None:
        imagery = opened(url=f"{server.address}/naip/m_2020_20200531.tif")
        read(imagery)
        before = bucket.sent
        read(imagery)
        assert bucket.sent == before

    def test_a_server_without_ranges_is_refused(
        self, server: ScriptedServer, bucket: Bucket
    ) -> None:
        bucket.ranges = False
        with pytest.raises(ImageryError, match=r"no HTTP ranges.*write its `path:`"):
            read(opened(url=f"{server.address}/naip/m_2020_20200531.tif"))

    def test_a_redirect_keeps_the_range(self, server: ScriptedServer, bucket: Bucket) -> None:
        target = f"{server.address}/naip/m_2020_20200531.tif"
        bucket.always = lambda call: (
            Reply(status=302, headers={"Location": target}) if call.path == "/a.tif" else None
        )
        assert read(opened(url=f"{server.address}/a.tif")).valid.all()


class TestFailures:
    def test_an_outage_is_unavailable(self, server: ScriptedServer, bucket: Bucket) -> None:
        imagery = opened(url=f"{server.address}/naip/m_2020_20200531.tif")
        bucket.always = lambda _: Reply(b"", 503)
        with pytest.raises(ImageryUnavailable, match="503"):
            imagery.grid_for(LOT)

    def test_an_outage_while_reading_is_not_missing_imagery(
        self, server: ScriptedServer, bucket: Bucket
    ) -> None:
        imagery = opened(url=f"{server.address}/naip/m_2020_20200531.tif")
        imagery.grid_for(LOT)
        bucket.always = lambda _: Reply(b"", 503)
        with pytest.raises(ImageryUnavailable, match="503"):
            read(imagery)
        bucket.always = lambda _: None

    @pytest.mark.parametrize(
        ("reply", "text"),
        [
            (None, r"error 404 \(NoSuchKey: No key\): no such file"),
            (Reply(b"<Error><Code>AccessDenied</Code></Error>", 403), "AWS_REQUEST_PAYER"),
            (Reply(b"<html>", 206, {"Content-Range": "bytes 0-5/6"}), "only GeoTIFF .* HTML page"),
        ],
        ids=["404", "403", "page"],
    )
    def test_a_wrong_address_is_an_error(
        self, server: ScriptedServer, bucket: Bucket, reply: Reply | None, text: str
    ) -> None:
        bucket.always = lambda _: reply
        with pytest.raises(ImageryError, match=text):
            opened(url=f"{server.address}/missing.tif").grid_for(LOT)

    def test_a_private_address_is_refused(self, server: ScriptedServer) -> None:
        entry = ImageryEntry(url=f"{server.address}/naip/m_2020_20200531.tif")
        with pytest.raises(ImageryError, match="not a public address"):
            open_imagery(entry).grid_for(LOT)
        assert server.calls == []

    def test_a_document_cannot_reach_a_private_address(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "item.json"
        path.write_text(json.dumps(item(f"{server.address}/naip/m_2020_20200531.tif")))
        with pytest.raises(ImageryError, match="not a public address"):
            open_imagery(ImageryEntry(stac=str(path))).grid_for(LOT)
        assert server.calls == []


class TestBuckets:
    def test_s3_without_credentials(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        chip = read(opened(url="s3://naip/m_2020_20200531.tif"))
        assert np.array_equal(chip.pixels, PIXELS[:, 200:300, 200:300])
        assert not any("Authorization" in call.headers for call in server.calls)
        assert chip.sources == ("s3://naip/m_2020_20200531.tif",)

    def test_s3_with_credentials(
        self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_S3_ENDPOINT", server.address.removeprefix("http://"))
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
        assert read(opened(url="s3://naip/m_2020_20200531.tif")).valid.all()
        headers = server.calls[0].headers
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
        assert headers["x-amz-request-payer"] == "requester"

    def test_a_signature(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Against botocore's for the same request and time."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        target = Target("https://examplebucket.s3.us-east-1.amazonaws.com/test.txt", "us-east-1")
        made = headers_for(target, datetime(2013, 5, 24, tzinfo=UTC))
        assert made["Authorization"].split("Signature=")[1] == SIGNATURE

    @pytest.mark.parametrize(
        ("address", "url"),
        [
            ("s3://naip/a b.tif", "https://naip.s3.us-west-2.amazonaws.com/a%20b.tif"),
            ("s3://na.ip/a.tif", "https://s3.us-west-2.amazonaws.com/na.ip/a.tif"),
            ("https://x.org/a.tif", "https://x.org/a.tif"),
        ],
    )
    def test_addresses(self, monkeypatch: pytest.MonkeyPatch, address: str, url: str) -> None:
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        assert target_of(address).url == url

    def test_moto(self, cog: bytes, s3_bucket: str) -> None:
        import boto3

        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        client.put_object(Bucket=s3_bucket.removeprefix("s3://"), Key="m_2020.tif", Body=cog)
        chip = read(opened(url=f"{s3_bucket}/m_2020.tif"))
        assert np.array_equal(chip.pixels, PIXELS[:, 200:300, 200:300])


SIGNATURE = "588cf9c3120b5c570015c72b8e566ada1c4bd2f89d3e76f21ae120dd82affa75"


class TestStac:
    def test_a_local_item(self, server: ScriptedServer, tmp_path: Path) -> None:
        path = tmp_path / "item.json"
        path.write_text(
            json.dumps(item(f"{server.address}/naip/m_2020_20200531.tif", license="PDDL-1.0",
                            datetime="2021-06-01T10:00:00Z"))
        )  # fmt: skip
        imagery = opened(stac=str(path))
        chip = read(imagery)
        assert np.array_equal(chip.pixels, PIXELS[:, 200:300, 200:300])
        assert chip.bands == ("red", "green", "blue", "nir")
        assert chip.captured_on == "2021-06-01"
        assert any("PDDL-1.0" in note for note in imagery.notes)

    def test_a_local_item_of_a_local_file(self, tmp_path: Path) -> None:
        write_tiff(tmp_path / "a.tif", PIXELS)
        (tmp_path / "item.json").write_text(json.dumps(item("./a.tif")))
        chip = read(opened(stac=str(tmp_path / "item.json")))
        assert np.array_equal(chip.pixels, PIXELS[:, 200:300, 200:300])

    def test_a_catalog_of_a_server(self, server: ScriptedServer, bucket: Bucket) -> None:
        documents = {
            "catalog.json": {"type": "Catalog", "links": [
                {"rel": "root", "href": "catalog.json"}, {"rel": "child", "href": "./c/c.json"}]},
            "c/c.json": {"type": "Collection", "links": [{"rel": "item", "href": "../i/i.json"}]},
            "i/i.json": item("../naip/m_2020_20200531.tif"),
        }  # fmt: skip
        bucket.files |= {name: json.dumps(text).encode() for name, text in documents.items()}
        assert read(opened(stac=f"{server.address}/catalog.json")).valid.all()

    def test_pages_of_a_search(self, server: ScriptedServer, bucket: Bucket) -> None:
        far = item("far.tif")
        bucket.files["far.tif"] = b"none"
        page = {"type": "FeatureCollection", "features": [far],
                "links": [{"rel": "next", "href": "2.json"}]}  # fmt: skip
        last = {"type": "FeatureCollection", "features": [item("naip/m_2020_20200531.tif")]}
        bucket.files |= {"1.json": json.dumps(page).encode(), "2.json": json.dumps(last).encode()}
        assert read(opened(stac=f"{server.address}/1.json")).valid.all()
        page["links"] = [{"rel": "next", "href": "2.json", "method": "POST"}]
        bucket.files["1.json"] = json.dumps(page).encode()
        with pytest.raises(ImageryError, match="next page needs POST"):
            opened(stac=f"{server.address}/1.json").grid_for(LOT)

    def test_a_document_in_a_bucket(
        self, server: ScriptedServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        bucket.files["naip/i/item.json"] = json.dumps(item("../m_2020_20200531.tif")).encode()
        chip = read(opened(stac="s3://naip/i/item.json"))
        assert chip.sources == ("s3://naip/m_2020_20200531.tif",)

    @pytest.mark.parametrize(
        ("document", "text"),
        [
            ({"type": "FeatureCollection", "features": []}, "no STAC item"),
            ({"type": "Polygon"}, "is not STAC"),
            (item("gs://bucket/a.tif"), "storage.googleapis.com"),
            (item("/vsicurl/http://127.0.0.1/a.tif"), "which is not read"),
            ({**item("a.tif"), "assets": {"x": {"href": "a.jp2"}}}, "set `asset:`.*one of x"),
        ],
        ids=["empty", "geometry", "gs", "vsi", "asset"],
    )
    def test_what_is_not_imagery(self, tmp_path: Path, document: dict[str, Any], text: str) -> None:
        (tmp_path / "a.json").write_text(json.dumps(document))
        with pytest.raises(ImageryError, match=text):
            opened(stac=str(tmp_path / "a.json")).grid_for(LOT)

    def test_an_address_never_leads_to_local_files(
        self, server: ScriptedServer, bucket: Bucket, tmp_path: Path
    ) -> None:
        write_tiff(tmp_path / "a.tif", PIXELS)
        for href in (f"file://{tmp_path}/a.tif", f"file:{tmp_path}/a.tif", f"{tmp_path}/a.tif"):
            bucket.files["a.json"] = json.dumps(item(href)).encode()
            with pytest.raises(ImageryError):
                opened(stac=f"{server.address}/a.json").grid_for(LOT)

    @pytest.mark.parametrize("content", ["", "[]", "<html>"])
    def test_no_json(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(ImageryError, match="is not a STAC document"):
            opened(stac=str(tmp_path / "a.json")).grid_for(LOT)
        with pytest.raises(ImageryError, match="cannot be read"):
            opened(stac=str(tmp_path / "b.json")).grid_for(LOT)

    def test_a_lot_outside(self, server: ScriptedServer, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(
            json.dumps(item(f"{server.address}/naip/m_2020_20200531.tif"))
        )
        with pytest.raises(NoImagery):
            opened(stac=str(tmp_path / "a.json")).grid_for(box(-80, 30, -79.9, 30.1))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"url": "s3://bucket/a.jp2"}, "must end with /ImageServer|not a web address"),
        ({"url": "s3://B/a.tif"}, "write s3://bucket/key"),
        ({"url": "https://x.org/a.tif?sig=abc"}, "contains a secret"),
        ({"stac": "ftp://x.org/a.json"}, "not a web address"),
        ({"stac": "/vsicurl/http://127.0.0.1/a.json"}, "not a web address"),
        ({"stac": "a.json", "path": "a.tif"}, "write either 'path'"),
        ({"url": "https://x.org/a.tif", "zoom": 3}, "'zoom' has no meaning"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_entry(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ImageryEntry.model_validate(keys)


class TestFill:
    def test_fill_is_found_by_ranges(self, tmp_path: Path) -> None:
        pixels = noise(3, 2000, 2000)
        pixels[:, :, 1100:] = 255
        tiff = write_tiff(tmp_path / "a.tif", pixels)
        raster_copy(tiff, tmp_path / "cog.tif", driver="COG", BLOCKSIZE=128, COMPRESS="NONE")
        bucket = Bucket({"naip/a.tif": (tmp_path / "cog.tif").read_bytes()})
        at = pixel_grid().window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
        with bucket_server(bucket) as server:
            imagery = opened(url=f"{server.address}/naip/a.tif")
            grid = imagery.grid_for(LOT)
            chip = imagery.read(grid, PixelWindow(at.column + 1050, at.row + 900, 100, 100))
            assert chip.valid[:, :50].all()
            assert not chip.valid[:, 50:].any()
            assert bucket.sent < 2_000_000
            # Away from it overviews stand for the pixels, a sixty-fourth of them.
            before = bucket.sent
            coarse = PixelWindow(at.column // 8 + 10, at.row // 8 + 10, 60, 60)
            assert imagery.read(grid.zoom_out(8), coarse).valid.all()
            assert bucket.sent - before < 400_000

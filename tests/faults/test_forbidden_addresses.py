"""SSRF: no packet is sent to a forbidden address of an entry, a redirect or a DNS response.

Every connection attempt and every DNS lookup is recorded. GDAL has its own network code, so a
server on loopback detects its requests.
"""

from __future__ import annotations

import json
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import shapely
import yaml
from faketime import FakeTime
from servers.scripted import Call, Reply, ScriptedServer, scripted

from detection import open_imagery
from detection.errors import ImageryError, ImageryUnavailable
from detection.imagery.pixel_grid import PixelWindow
from detection.registry.county import DetectionCounty
from detection.registry.imagery_entry import ImageryEntry
from parcels import County, ParcelBoundaryService, Property, load_registry
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http import address_guard
from parcels.arcgis.http.client import ArcGISClient
from parcels.boundary import Unavailable
from parcels.errors import AddressRefused, RegistryError, SourceMisconfigured, SourceUnavailable
from parcels.files import FileSource

SERVICE = "/arcgis/rest/services/P/MapServer"
COUNTY, COUNTY_IS_AT = "gis.county.gov", "93.184.216.34"
LAYER = {
    "name": "Parcels",
    "type": "Feature Layer",
    "geometryType": "esriGeometryPolygon",
    "capabilities": "Query",
    "fields": [{"name": "OBJECTID", "type": "esriFieldTypeOID"}],
    "extent": {
        "xmin": -91,
        "ymin": 34,
        "xmax": -89,
        "ymax": 36,
        "spatialReference": {"wkid": 4326},
    },
}


@dataclass
class Network:
    """The network activity of this process: `connects` to addresses, `lookups` of names.

    `names` has the DNS responses: the addresses for each lookup of a name in turn, the last ones
    repeated. Only the county's public address has a server.
    """

    connects: list[str] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    names: dict[str, list[list[str]]] = field(default_factory=dict)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Network:
    seen = Network(names={COUNTY: [[COUNTY_IS_AT]]})
    real_connect = socket.socket.connect

    def lookup(host: str, port: int | None, *_: object, **__: object) -> list[Any]:
        seen.lookups.append(host)
        answers = seen.names.get(host, [[host]])
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (
                socket.AF_INET6 if ":" in at else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (at, port),
            )
            for at in addresses
        ]

    def connect(self: socket.socket, address: tuple[str, int]) -> None:
        seen.connects.append(address[0])
        if address[0] != COUNTY_IS_AT:
            raise ConnectionRefusedError("nobody listens there")
        real_connect(self, ("127.0.0.1", address[1]))

    monkeypatch.setattr(address_guard.socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return seen


@contextmanager
def countys_server(reply: Callable[[Call], Reply]) -> Iterator[ScriptedServer]:
    """A server at the county's public address."""
    with scripted(reply) as server:
        server.address = server.address.replace("127.0.0.1", COUNTY)
        yield server


def source(url: str, **more: object) -> ArcGISSource:
    there = County.model_validate({"key": "test", "url": url, "layer": 0, **more})
    time = FakeTime()
    return ArcGISSource(there, ArcGISClient.for_county(there, sleep=time.sleep, clock=time.clock))


REFUSED = "is not a public address|which cannot be a county server"
HOSTS = {
    "169.254.169.254": ["169.254.169.254"],
    "127.0.0.1": ["127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "10.0.0.5": ["10.0.0.5"],
    "2130706433": ["127.0.0.1"],  # as the resolver reads it
    "0177.0.0.1": ["127.0.0.1"],
    "0.0.0.0": ["0.0.0.0"],
    "[::1]": ["::1"],
    "[::ffff:169.254.169.254]": ["::ffff:169.254.169.254"],
    "[2002:a9fe:a9fe::]": ["2002:a9fe:a9fe::"],
    "[64:ff9b::a9fe:a9fe]": ["64:ff9b::a9fe:a9fe"],
    "metadata.google.internal": ["169.254.169.254"],
    "one-of-two.example.gov": ["8.8.8.8", "192.168.1.1"],
}


LICENCE = {"licence": "a test"}
IMAGERY: dict[str, tuple[str, dict[str, object]]] = {
    "xyz": ("{z}/{x}/{y}.png", {**LICENCE, "zoom": 19}),
    "wmts": ("WMTSCapabilities.xml", {**LICENCE, "zoom": 19}),
    "wms": ("wms", {**LICENCE, "layers": "a"}),
    "cog": ("a.tif", {}),
}


@pytest.mark.parametrize("host", HOSTS)
class TestPrivateAddresses:
    def test_of_parcels(self, watched: Network, host: str) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        arcgis_source = source(f"http://{host}{SERVICE}")
        with pytest.raises(AddressRefused, match=REFUSED):
            arcgis_source.check()
        there = County(key="test", url=f"http://{host}{SERVICE}", layer=0)
        answer = ParcelBoundaryService(there, arcgis_source).look_up(Property("a", -90.0, 35.0))
        assert isinstance(answer, Unavailable)
        assert answer.reason == "misconfigured"
        assert watched.connects == []

    def test_of_imagery(self, watched: Network, host: str) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        imagery = open_imagery(
            ImageryEntry(url=f"https://{host}/arcgis/rest/services/I/ImageServer")
        )
        with pytest.raises(ImageryError, match=REFUSED) as caught:
            imagery.grid_for(shapely.box(-90.0, 35.0, -89.9996, 35.0004))
        assert not isinstance(caught.value, ImageryUnavailable)
        assert watched.connects == []

    @pytest.mark.parametrize("kind", IMAGERY)
    def test_of_tiles_and_cogs(self, watched: Network, host: str, kind: str) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        url, keys = IMAGERY[kind]
        imagery = open_imagery(
            ImageryEntry.model_validate({**keys, "url": f"https://{host}/{url}"})
        )

        def read() -> None:
            grid = imagery.grid_for(shapely.box(-90.0, 35.0, -89.9996, 35.0004))
            imagery.read(grid, PixelWindow(1_000_000, -16_000_000, 9, 9))

        with pytest.raises(ImageryError, match=REFUSED) as caught:
            read()
        assert not isinstance(caught.value, ImageryUnavailable)
        assert watched.connects == []

    def test_of_a_bucket(
        self, watched: Network, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{host}")
        with pytest.raises(ImageryError, match=REFUSED):
            open_imagery(ImageryEntry(url="s3://bucket/a.tif")).grid_for(
                shapely.box(-90, 35, -89, 36)
            )
        assert watched.connects == []

    def test_as_a_redirect_target(self, watched: Network, host: str) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        elsewhere = Reply(status=302, headers={"Location": f"http://{host}/latest/meta-data/"})
        with countys_server(lambda _: elsewhere) as server:
            with pytest.raises(AddressRefused, match=rf"http://{COUNTY}.*({REFUSED})"):
                source(server.url).check()
            assert len(server.calls) == 1
        assert watched.connects == [COUNTY_IS_AT]

    def test_with_allow_private(self, watched: Network, host: str) -> None:
        watched.names[host.strip("[]")] = [HOSTS[host]]
        never = any("169.254" in at or "a9fe" in at or at == "0.0.0.0" for at in HOSTS[host])
        with pytest.raises(AddressRefused if never else SourceUnavailable):
            source(f"http://{host}{SERVICE}", allow_private=True).check()
        assert (watched.connects == []) == never


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/_x", "dict://127.0.0.1/",
     "https://ada:hunter2@127.0.0.1/", "http://[::1", "data:application/json,{}"],
)  # fmt: skip
def test_a_redirect_to_an_invalid_url(watched: Network, target: str) -> None:
    elsewhere = Reply(status=302, headers={"Location": target})
    with countys_server(lambda _: elsewhere) as server, pytest.raises(AddressRefused):
        source(server.url).check()
    assert watched.connects == [COUNTY_IS_AT]
    assert watched.lookups == [COUNTY]


class TestDnsRebinding:
    def test_the_checked_address_is_the_connected_one(self, watched: Network) -> None:
        """A second lookup would get the loopback address, and there is no second lookup."""
        watched.names[COUNTY] = [[COUNTY_IS_AT], ["127.0.0.1"]]
        with countys_server(lambda _: Reply(json.dumps(LAYER).encode())) as server:
            source(server.url).check()
            assert server.calls[0].headers["Host"].startswith(f"{COUNTY}:")
        assert watched.lookups == [COUNTY]
        assert watched.connects == [COUNTY_IS_AT]

    def test_a_new_connection_is_checked_again(self, watched: Network) -> None:
        watched.names[COUNTY] = [[COUNTY_IS_AT], ["169.254.169.254"]]
        with countys_server(lambda _: Reply(status=0)) as server:
            with pytest.raises(AddressRefused, match=r"is at 169\.254\.169\.254"):
                source(server.url).check()
            assert len(server.calls) == 1
        assert watched.connects == [COUNTY_IS_AT]

    def test_each_connection_has_its_own_dns_lookup(self, watched: Network) -> None:
        watched.names[COUNTY] = [["8.8.8.8"], ["8.8.4.4", "1.1.1.1"], ["127.0.0.1"]]
        with pytest.raises(AddressRefused):
            source(f"https://{COUNTY}{SERVICE}").check()
        assert watched.connects == ["8.8.8.8", "8.8.4.4", "1.1.1.1"]
        assert len(watched.lookups) == 3


WEB = "https://gis.example.gov/arcgis/rest/services"
URLS = [
    "file:///etc/passwd", "/vsicurl/http://169.254.169.254/x", "vsicurl/http://169.254.169.254/x",
    "ftp://gis.example.gov/MapServer", "/etc/passwd/MapServer", "s3://bucket/MapServer",
    "file:///x/MapServer", "file:///x/ImageServer", "//127.0.0.1/MapServer", "a.vrt",
]  # fmt: skip
PATHS = [
    "/vsicurl/http://169.254.169.254/a.gpkg", "/vsis3/bucket/a.tif", "file:///etc/passwd",
    "http://169.254.169.254/a.vrt", "/vsizip//vsicurl/http://x/a.zip", "WFS:http://127.0.0.1/",
    "/vsisubfile/0,/vsicurl/http://127.0.0.1/x", "/./vsis3/bucket/a.tif", "//vsigs/bucket/a.tif",
]  # fmt: skip


@pytest.mark.parametrize(
    "entry",
    [{"url": url, "layer": 0} for url in URLS]
    + [{"url": f"{WEB}/P/MapServer", "layer": 0, "imagery": {"url": url}} for url in URLS]
    + [
        {"url": f"{WEB}/P/MapServer", "layer": 0, "alternates": [{"url": url, "layer": 0}]}
        for url in URLS
    ]
    + [{"url": f"{WEB}/P/MapServer", "layer": 0, "geocode_server": url} for url in URLS]
    + [{"path": path} for path in PATHS]
    + [{"url": f"{WEB}/P/MapServer", "layer": 0, "imagery": {"path": path}} for path in PATHS],
    ids=str,
)
def test_an_entry_with_an_invalid_url_or_path_is_refused(
    watched: Network, tmp_path: Path, entry: dict[str, object]
) -> None:
    file = tmp_path / "registry.yaml"
    file.write_text(yaml.safe_dump({"counties": {"here": entry}}))
    with pytest.raises(RegistryError, match="here"):
        _ = load_registry(file, DetectionCounty)["here"]
    assert (watched.connects, watched.lookups) == ([], [])


@pytest.mark.parametrize("path", ["WFS:x", "PG:host=127.0.0.1", "GPSBABEL:x:y", "MVT:x"])
def test_gdal_connection_strings_are_missing_files(path: str) -> None:
    there = County(key="here", path=Path(path))
    assert str(there.path).startswith("/")
    with pytest.raises(SourceMisconfigured, match="no such file"):
        FileSource(there).check()


@pytest.fixture
def bait() -> Iterator[ScriptedServer]:
    """The target of remote references in files; it must get no request."""
    with scripted(lambda _: Reply(b'{"type": "FeatureCollection", "features": []}')) as server:
        yield server


def ogr_vrt(url: str) -> str:
    return (
        '<OGRVRTDataSource><OGRVRTLayer name="a"><GeometryType>wkbPolygon</GeometryType>'
        f"<SrcDataSource>/vsicurl/{url}/a.geojson</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )


def gdalg(url: str) -> str:
    command = f"gdal vector pipeline read /vsicurl/{url}/a.geojson ! write x"
    return json.dumps({"type": "gdal_streamed_alg", "command_line": command})


VECTORS: dict[str, Callable[[str], str]] = {
    "lots.vrt": ogr_vrt,
    "lots.geojson": ogr_vrt,
    "lots.gml": lambda url: f"<?xml version='1.0'?>\n<!-- lots -->\n{ogr_vrt(url)}",
    "lots.xml": lambda url: f"<OGRWFSDataSource><URL>{url}/wfs</URL></OGRWFSDataSource>",
    "lots.gdalg.json": gdalg,
}


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_parcel_file_with_remote_references_is_refused(
    bait: ScriptedServer, tmp_path: Path, name: str, zipped: bool
) -> None:
    file = tmp_path / name
    file.write_text(VECTORS[name](bait.address))
    if zipped:
        with zipfile.ZipFile(tmp_path / "lots.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, name)
        file = tmp_path / "lots.zip"
    with pytest.raises(AddressRefused, match="refers to other data; save the parcels"):
        FileSource(County(key="here", path=file)).check()
    assert bait.calls == []


def raster_vrt(url: str) -> str:
    return (
        '<VRTDataset rasterXSize="9" rasterYSize="9"><SRS>EPSG:32616</SRS><GeoTransform>500000,1,0,'
        '3880000,0,-1</GeoTransform><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">/vsicurl/{url}/a.tif</SourceFilename>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def wms(url: str) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl>'
        "</Service><DataWindow><UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY>"
        "<LowerRightX>20037508</LowerRightX><LowerRightY>-20037508</LowerRightY><TileLevel>3"
        "</TileLevel></DataWindow><Projection>EPSG:3857</Projection><BandsCount>3</BandsCount>"
        "</GDAL_WMS>"
    )


@pytest.mark.parametrize("content", [raster_vrt, wms])
@pytest.mark.parametrize("name", ["a.vrt", "a.tif"])
def test_imagery_with_remote_references_is_not_a_geotiff(
    bait: ScriptedServer, tmp_path: Path, name: str, content: Callable[[str], str]
) -> None:
    (tmp_path / name).write_text(content(bait.address))
    with pytest.raises(ImageryError, match=r"none of the 1 imagery files .* can be read"):
        open_imagery(ImageryEntry(path=str(tmp_path / name)))
    assert bait.calls == []

"""Imagery that refers to other data: each writes its files and returns the path to name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import rasterio
from canary import Canary
from rasterio.shutil import copy as raster_copy
from rasters import CRS_NAME, LEFT, TOP, noise, write_tiff

Attack = Callable[[Path, Canary], Path]

SIDE = 64
# The canary's pixels, which no own file has.
CANARY_PIXEL = 251
ATTACKS: dict[str, Attack] = {}


def own(path: Path, driver: str = "GTiff") -> Path:
    """The file's own pixels, below the canary's."""
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = (noise(3, SIDE, SIDE) % 200).astype("uint8") + 1
    if driver == "GTiff":
        return write_tiff(path, pixels)
    made = write_tiff(path.with_suffix(".made"), pixels)
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    raster_copy(made, path, driver=driver, **options)
    for file in path.parent.glob(f"{path.stem}.made*"):
        file.unlink()
    return path


def pixels_elsewhere(bait: Canary, name: str = "c.tif") -> Path:
    path = bait.folder / name
    write_tiff(path, (noise(3, SIDE, SIDE) * 0 + CANARY_PIXEL).astype("uint8"))
    bait.forget()
    return path


def vrt(there: str, side: int = SIDE, bands: int = 3) -> str:
    band = (
        '<VRTRasterBand dataType="Byte" band="{0}"><SimpleSource><SourceFilename relativeToVRT="0">'
        "{1}</SourceFilename><SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"
    )
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{CRS_NAME}</SRS>'
        f"<GeoTransform>{LEFT},0.5,0,{TOP},0,-0.5</GeoTransform>"
        + "".join(band.format(number, there) for number in range(1, bands + 1))
        + "</VRTDataset>"
    )


def wms(bait: Canary) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{bait.url}/${{z}}/${{x}}/${{y}}.png</ServerUrl>'
        "</Service><DataWindow><UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY>"
        "<LowerRightX>20037508</LowerRightX><LowerRightY>-20037508</LowerRightY><TileLevel>3"
        "</TileLevel></DataWindow><Projection>EPSG:3857</Projection><BandsCount>3</BandsCount>"
        "</GDAL_WMS>"
    )


def pam(inside: str, doctype: str = "") -> str:
    return f"{doctype}<PAMDataset>{inside}</PAMDataset>"


def metadata(domain: str, **items: object) -> str:
    inside = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in items.items())
    return f'<Metadata domain="{domain}">{inside}</Metadata>'


# What is written beside a file, and refers to the canary.
SIBLINGS: dict[str, Callable[[Canary], str]] = {
    "vrt of a file": lambda bait: vrt(str(pixels_elsewhere(bait)), SIDE // 2),
    "vrt of a url": lambda bait: vrt(f"/vsicurl/{bait.url}/c.tif", SIDE // 2),
    "wms": wms,
}
FILES = {"a.tif": "GTiff", "a.jp2": "JP2OpenJPEG", "a.img": "HFA", "a.vrt": "VRT"}
ENDINGS = (".ovr", ".msk", ".OVR", ".aux", ".rrd", ".aux.xml", ".ovr.ovr", ".msk.ovr", ".ovr.msk")


def base(folder: Path, name: str) -> Path:
    """An ordinary file of that name; of a VRT, with its source."""
    if name != "a.vrt":
        return own(folder / name, FILES[name])
    own(folder / "source.tif")
    text = vrt("source.tif").replace('relativeToVRT="0"', 'relativeToVRT="1"')
    (folder / name).write_text(text)
    return folder / name


def _beside(name: str, ending: str, kind: str) -> Attack:
    def attack(folder: Path, bait: Canary) -> Path:
        path = base(folder, name)
        beside = Path(f"{path}{ending}")
        if ending.count(".") > 1 and ending != ".aux.xml":
            first = Path(f"{path}{ending[:4]}")
            write_tiff(first, (noise(3, SIDE // 2, SIDE // 2) % 200).astype("uint8"), crs=None)
        beside.unlink(missing_ok=True)
        if kind == "a pipe":
            os.mkfifo(beside)
        elif kind == "a link":
            beside.symlink_to(pixels_elsewhere(bait, "small.tif"))
        else:
            beside.write_text(SIBLINGS[kind](bait))
        return path

    return attack


for _name in FILES:
    for _ending in ENDINGS:
        for _kind in (*SIBLINGS, "a pipe", "a link"):
            ATTACKS[f"{_name}: {_ending} is {_kind}"] = _beside(_name, _ending, _kind)

# Files that GDAL looks for in place of the suffix.
for _ending in (
    ".tfw", ".tifw", ".wld", ".TFW", ".tab", ".prj", ".aux", ".rrd", ".ovr", ".msk", ".rpb", ".RPB",
    "_rpc.txt", "_RPC.TXT", ".imd", ".IMD", ".xml", ".XML", ".pvl", ".j2w", ".ige", ".gcp", ".att",
):  # fmt: skip
    for _name in ("a.tif", "a.jp2", "a.img"):
        for _kind in ("a pipe", "a link", "vrt of a file"):

            def _instead(
                folder: Path, bait: Canary, name: str = _name, end: str = _ending, kind: str = _kind
            ) -> Path:
                path = base(folder, name)
                beside = path.with_name(f"a{end}")
                if kind == "a pipe":
                    os.mkfifo(beside)
                elif kind == "a link":
                    beside.symlink_to(bait.file("x", "0.5\n0\n0\n-0.5\n500000\n3880000\n"))
                else:
                    beside.write_text(SIBLINGS[kind](bait))
                return path

            ATTACKS[f"{_name}: a{_ending} is {_kind}"] = _instead

# Metadata beside a file.
GRID_WKT = (
    "PROJCS[&quot;x&quot;,GEOGCS[&quot;x&quot;,DATUM[&quot;x&quot;,SPHEROID[&quot;Clarke 1866&quot;"
    ",6378206.4,294.98],EXTENSION[&quot;PROJ4_GRIDS&quot;,&quot;{0}&quot;]],PRIMEM[&quot;Greenwich"
    "&quot;,0],UNIT[&quot;degree&quot;,0.0174532925199433]],PROJECTION[&quot;Transverse_Mercator"
    "&quot;],PARAMETER[&quot;central_meridian&quot;,-87],PARAMETER[&quot;false_easting&quot;,500000]"
    ",UNIT[&quot;metre&quot;,1]]"
)
PAM: dict[str, Callable[[Canary], str]] = {
    "OVERVIEW_FILE": lambda b: pam(
        metadata("OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{b.url}/a.ovr")
    ),
    "OVERVIEW_FILE of a file": lambda b: pam(
        metadata("OVERVIEWS", OVERVIEW_FILE=pixels_elsewhere(b))
    ),
    "overview_file in small letters": lambda b: pam(
        metadata("Overviews", overview_file=pixels_elsewhere(b))
    ),
    "OVERVIEW_FILE of a band": lambda b: pam(
        f'<PAMRasterBand band="1">{metadata("OVERVIEWS", OVERVIEW_FILE=pixels_elsewhere(b))}'
        "</PAMRasterBand>"
    ),
    "OVERVIEW_FILE of this file": lambda b: pam(
        metadata("OVERVIEWS", OVERVIEW_FILE=":::BASE:::../../others/small.tif")
        + f"<!-- {pixels_elsewhere(b, 'small.tif').name} -->"
    ),
    "mask overview": lambda b: pam(
        metadata("OVERVIEWS", OVERVIEW_MASK_FILE=pixels_elsewhere(b))
    ),
    "geolocation": lambda b: pam(
        metadata(
            "GEOLOCATION", X_DATASET=pixels_elsewhere(b), Y_DATASET=pixels_elsewhere(b), X_BAND=1,
            Y_BAND=1,
        )
    ),
    "geolocation by a url": lambda b: pam(
        metadata("GEOLOCATION", X_DATASET=f"/vsicurl/{b.url}/a", Y_DATASET=f"/vsicurl/{b.url}/b")
    ),
    "subdatasets": lambda b: pam(
        metadata("SUBDATASETS", SUBDATASET_1_NAME=pixels_elsewhere(b))
    ),
    "a DOCTYPE": lambda b: pam(
        metadata("", a="&x;"),
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{b.file("a.txt", "CANARY-7F3A")}">]>',
    ),
    "a CRS with grids": lambda b: pam(
        f"<SRS>{GRID_WKT.format(b.file('g.gsb', '0' * 500))}</SRS>"
    ),
    "a CRS that is a url": lambda b: pam(f"<SRS>{b.url}/crs</SRS>"),
    "a CRS that is a file": lambda b: pam(f"<SRS>{b.file('crs.prj', 'CANARY-7F3A')}</SRS>"),
    "a CRS with init": lambda b: pam(f"<SRS>+init={b.file('crs', 'CANARY-7F3A')}:1</SRS>"),
    "GCPs with a CRS of a url": lambda b: pam(
        f'<GCPList Projection="{b.url}/crs"><GCP Id="" Pixel="0" Line="0" X="1" Y="1"/></GCPList>'
    ),
    "a mask of a band": lambda b: pam(
        f'<PAMRasterBand band="1"><MaskBand>{vrt(str(pixels_elsewhere(b)))}</MaskBand>'
        "</PAMRasterBand>"
    ),
    "an attribute table of a url": lambda b: pam(
        f'<PAMRasterBand band="1"><GDALRasterAttributeTable><x>{b.url}</x>'
        "</GDALRasterAttributeTable></PAMRasterBand>"
    ),
    "a vrt": lambda b: vrt(str(pixels_elsewhere(b))),
}  # fmt: skip
for _name in FILES:
    for _kind, _content in PAM.items():

        def _with_pam(
            folder: Path, bait: Canary, name: str = _name,
            content: Callable[[Canary], str] = _content,
        ) -> Path:  # fmt: skip
            path = base(folder, name)
            text = content(bait)
            bait.forget()
            Path(f"{path}.aux.xml").write_text(text)
            return path

        ATTACKS[f"{_name}: .aux.xml with {_kind}"] = _with_pam

# A CRS inside a file, replaced by a text of the same length.
for _name in ("a.tif", "a.jp2", "a.img"):
    for _new in ("+init={there}:1", "{there}", "file://{there}", "{url}/crs"):

        def _replaced(folder: Path, bait: Canary, name: str = _name, new: str = _new) -> Path:
            path = base(folder, name)
            content = path.read_bytes()
            there = bait.file("g", "CANARY-7F3A" * 40)
            text = new.format(there=there, url=bait.url).encode()
            for old in (b"urn:ogc:def:crs:EPSG::32616", b"WGS 84 / UTM zone 16N", b"PROJCS["):
                at = content.find(old)
                while at >= 0:
                    content = content[:at] + text + content[at + len(text) :]
                    at = content.find(old, at + 1)
            path.write_bytes(content)
            Path(f"{path}.aux.xml").unlink(missing_ok=True)
            return path

        ATTACKS[f"{_name}: its CRS is {_new}"] = _replaced

# Metadata inside a TIFF.
TAGS: dict[str, Callable[[Canary], tuple[str, dict[str, str]]]] = {
    "OVERVIEW_FILE": lambda b: ("OVERVIEWS", {"OVERVIEW_FILE": f"/vsicurl/{b.url}/a.ovr"}),
    "OVERVIEW_FILE of a file": lambda b: ("OVERVIEWS", {"OVERVIEW_FILE": str(pixels_elsewhere(b))}),
    "geolocation": lambda b: (
        "GEOLOCATION", {"X_DATASET": str(pixels_elsewhere(b)), "Y_DATASET": f"/vsicurl/{b.url}/b"}
    ),
    "an xml:VRT": lambda b: ("xml:VRT", {"xml:VRT": vrt(str(pixels_elsewhere(b)))}),
    "subdatasets": lambda b: ("SUBDATASETS", {"SUBDATASET_1_NAME": str(pixels_elsewhere(b))}),
}  # fmt: skip
for _kind, _tags in TAGS.items():
    for _inner in (False, True):

        def _tagged(
            folder: Path, bait: Canary, make: Callable[..., tuple[str, dict[str, str]]] = _tags,
            inner: bool = _inner,
        ) -> Path:  # fmt: skip
            path = own(folder / "a.tif")
            target = path
            if inner:
                target = write_tiff(
                    folder / "a.tif.ovr",
                    (noise(3, SIDE // 2, SIDE // 2) % 200).astype("uint8"),
                    crs=None,
                )
            domain, items = make(bait)
            with rasterio.open(target, "r+", driver="GTiff") as dataset:
                dataset.update_tags(ns=domain, **items)
            bait.forget()
            return path

        ATTACKS[f"a.tif: {_kind} in {'its .ovr' if _inner else 'itself'}"] = _tagged

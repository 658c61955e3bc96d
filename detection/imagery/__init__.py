"""Aerial imagery, read window by window.

interface       ImagerySource: what every kind of source implements; how to add one (WMS, …)
open_imagery    (below) chooses the kind of source from a county's `imagery:` entry
geotiff_mosaic  local files: a folder or a glob is one mosaic
geotiff         one file: header, pixels on a grid, warp
raster_file     opens GeoTIFF, JPEG 2000, .img and checked VRTs (vrt_check), and nothing else
georeference    the CRS of a file, or what to type to give it one
placement       whether its geotransform can be that of imagery
file_list       the files that a path means (path_pattern: a glob); unsupported_imagery: what to
                type for the others
imageserver     an ArcGIS ImageServer, by exportImage
tiles/          XYZ, WMTS and WMS
remote/         COGs on servers and in buckets, and STAC: range reads
remote_calls    circuit breaker and typed errors of the calls to a server
pixel_grid      PixelGrid and PixelWindow: the grid that all chips of an area share
band_choice     which band is what, for a whole mosaic, and what was decided
  band_layout, band_names         from a file's marks
  band_samples                    a few windows of some files
  band_evidence, band_order       what their pixels say
palette         a file with a palette, read as red, green and blue
bands           alpha band and date of a file
nodata          valid pixels: masks (declared), fill at the edge (undeclared; fill_survey,
                fill_cells, fill_colours, fill_view, fill_notes) and holes inside (drawn)
file_surveys    what is found out about a file once
blocks          downsampling by block means and overviews
"""

from __future__ import annotations

from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.imageserver import ImageServer
from detection.imagery.interface import ImagerySource
from detection.imagery.remote.stac_imagery import StacImagery
from detection.imagery.tiles.open_tiles import open_tiles
from detection.registry.imagery_entry import ImageryEntry, parse_imagery
from parcels.arcgis.http.byte_client import ByteClient
from parcels.arcgis.http.client import ArcGISClient
from parcels.installation import check_installation
from parcels.registry.unparsed_value import UnparsedValue

__all__ = ["GeoTiffMosaic", "ImageServer", "ImagerySource", "open_imagery"]


def open_imagery(
    source: ImageryEntry | UnparsedValue | None, *, allow_private: bool = False
) -> ImagerySource:
    """Choose and open the imagery source of `county.imagery`; None is USGS NAIP.

    `url` is an ImageServer, XYZ tiles, a WMTS, a WMS or a COG; `stac` a STAC document; `path` is
    a file, a folder or a glob of local files. A new kind of source is added here; see
    `detection.imagery.interface`. A server gets its first request at the first read.

    Args:
        allow_private: the county's setting: whether a server may have a private address.

    Raises:
        ImageryError: local files that are missing, unreadable or not georeferenced; the
            environment variable of a token is not set.
        InstallationError: PROJ or GDAL would use the data of another installation.
        RegistryError: the county was loaded without `DetectionCounty`, and its entry is wrong.
    """
    if not isinstance(source, ImageryEntry):
        source = parse_imagery(source)
    check_installation()
    if source.kind in ("stac", "cog"):
        return _open_remote(source, allow_private=allow_private)
    if source.url is not None:
        if source.kind != "imageserver":
            return open_tiles(source, allow_private=allow_private)
        client = ArcGISClient(allow_private=allow_private)
        return ImageServer(
            source.url,
            source.bands,
            source.gsd_m,
            source.captured_on,
            client=client,
            nodata=source.nodata,
        )
    if source.path is None:
        raise ValueError("an imagery entry needs a path or a url")
    return GeoTiffMosaic(
        source.path, source.bands, source.captured_on, source.crs, nodata=source.nodata
    )


def _open_remote(source: ImageryEntry, *, allow_private: bool) -> ImagerySource:
    # Range reads are many and small: object stores allow far more than county servers.
    client = ByteClient(allow_private=allow_private, calls_in_flight=8, calls_per_second=64.0)
    return StacImagery(
        source.stac or source.url or "",
        client,
        is_stac=source.kind == "stac",
        bands=source.bands,
        captured_on=source.captured_on,
        crs=source.crs,
        nodata=source.nodata,
        asset=source.asset,
        licence=source.licence,
    )

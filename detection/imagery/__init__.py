"""Pictures of the ground: local GeoTIFFs and ImageServers, read by windows."""

from __future__ import annotations

from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.imageserver import ImageServer
from detection.imagery.interface import ImagerySource
from detection.registry.imagery_entry import ImageryEntry, parse_imagery
from parcels.arcgis.http.client import ArcGISClient
from parcels.registry.unparsed_value import UnparsedValue

__all__ = ["GeoTiffMosaic", "ImageServer", "ImagerySource", "open_imagery"]


def open_imagery(
    source: ImageryEntry | UnparsedValue | None, *, allow_private: bool = False
) -> ImagerySource:
    """The imagery of `county.imagery`: local GeoTIFFs, or an ImageServer. None is USGS NAIP.

    An ImageServer is first asked when it is first looked at. `allow_private` is the county's:
    whether it may lie on a private or loopback address.

    Raises:
        ImageryError: local files that are missing, unreadable or not georeferenced.
        RegistryError: the county was loaded without `DetectionCounty`, and its entry is wrong.
    """
    if not isinstance(source, ImageryEntry):
        source = parse_imagery(source)
    if source.url is not None:
        client = ArcGISClient(allow_private=allow_private)
        return ImageServer(
            source.url, source.bands, source.gsd_m, source.captured_on, client=client
        )
    if source.path is None:
        raise ValueError("an imagery entry has a path or a url")
    return GeoTiffMosaic(source.path, source.bands, source.captured_on)
